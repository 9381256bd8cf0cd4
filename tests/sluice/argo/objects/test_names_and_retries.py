"""Tests of display names in Argo, and of the retries of nested pipelines and claims."""

from typing import Any

import pytest
from argo_components import say
from argo_pipelines import arguments, lower
from kfp import dsl, kubernetes

from sluice.argo.expressions.argo_names import display_name
from sluice.ir.graph import Constant, Iterator, Task

SHOWN = {"workflows.argoproj.io/display-name": "{{inputs.parameters._display_name}}"}


@dsl.pipeline
def inner(text: str) -> str:
    return say(text=text).output


def test_tasks_that_differ_only_in_their_display_names_share_one_template() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        say(text="a").set_display_name("Fold 1")
        say(text="b").set_display_name("Fold 2")
        say(text="c")

    found = lower(flow)
    named = found.inner("say")
    assert found.inner("say-2") is named
    assert named["annotations"] == SHOWN
    assert [arguments(found.task(name)).get("_display_name") for name in ("say", "say-2", "say-3")] == ["Fold-1", "Fold-2", None]
    assert "annotations" not in found.inner("say-3")
    assert named["memoize"] == found.inner("say-3")["memoize"], "a display name must not change the cache key"


def test_nested_pipelines_have_display_names_too() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        inner(text="a").set_display_name("The inner one")

    found = lower(flow)
    assert found.inner("inner")["annotations"] == SHOWN
    assert arguments(found.task("inner"))["_display_name"] == "The-inner-one"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Say it!", "Say-it"),
        ("step", ""),
        ("x", ""),
        ("模型", ""),
        ("{{workflow.name}}", "workflow.name"),
        ("a" * 70, "a" * 63),
        ("v1.2 (final)", "v1.2-final"),
    ],
)
def test_a_display_name_contains_only_characters_that_argo_accepts(name: str, shown: str) -> None:
    assert display_name(Task("step", name, "comp-step")) == shown
    assert display_name(Task("step", name, "comp-step", iterator=Iterator("x", Constant([])))) == "", "Argo shows its item"


def test_argo_retries_a_nested_pipeline_as_a_whole() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        again = inner(text="a").set_retry(3, backoff_duration="10s", backoff_factor=2, backoff_max_duration="100s")
        say(text=again.output)
        inner(text="b")

    found = lower(flow)
    assert found.inner("inner")["retryStrategy"] == {
        "limit": "3",
        "backoff": {"duration": "10s", "factor": "2", "maxDuration": "100s"},
    }
    assert "dag" in found.inner("inner")
    assert "retryStrategy" not in found.inner("inner-2")


def test_argo_retries_the_creation_of_a_claim() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        claim: Any = kubernetes.CreatePVC(pvc_name="c", access_modes=["ReadWriteOnce"], size="1Gi")
        claim.set_retry(2)

    assert lower(flow).inner("createpvc")["retryStrategy"]["limit"] == "2"
