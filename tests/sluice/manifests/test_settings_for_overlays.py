"""The settings of sluice.toml that a page and an overlay name are enough for the first step and for the namespace."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from manifest_objects import MANIFESTS, build, read_settings

from sluice.steps.before_training.places import PLACES


def read_page(engine: str) -> dict[str, Any]:
    """Return the settings in all TOML blocks of the page about an engine. A table that two blocks have is merged."""
    page = (MANIFESTS.parent / "docs" / "how-to" / f"{engine}.md").read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    for block in re.findall(r"^ *```toml\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE):
        for table, values in tomllib.loads(block).items():
            found.setdefault(table, {}).update(values)
    return found


@pytest.mark.parametrize("engine", ["argo", "kfp"])
def test_the_page_names_what_the_first_step_asks_for(engine: str) -> None:
    settings = read_page(engine)
    for key in PLACES:
        table, _, name = key.partition(".")
        assert settings.get(table, {}).get(name), f"docs/how-to/{engine}.md does not set {key}, so the first step fails"


@pytest.mark.parametrize("engine", ["argo", "kfp"])
def test_the_overlay_names_what_the_first_step_asks_for(engine: str) -> None:
    settings = read_settings(engine)
    text = (MANIFESTS / "overlays" / engine / "kustomization.yaml").read_text(encoding="utf-8")
    for key in PLACES:
        table, _, name = key.partition(".")
        assert settings.get(table, {}).get(name) or key in text, key


@pytest.mark.parametrize("engine", ["argo", "kfp"])
def test_the_page_has_the_settings_of_the_overlay(engine: str) -> None:
    page = read_page(engine)
    for table, values in read_settings(engine).items():
        assert values.items() <= page[table].items(), table


@pytest.mark.parametrize("engine", ["argo", "kfp"])
def test_the_page_names_the_overlay_the_step_image_and_where_production_is(engine: str) -> None:
    """Without these, no step starts, or the first one finds no champion."""
    settings = read_page(engine)
    assert settings["steps"]["image"]
    assert settings["rollout"]["splitter"] == "seldon"
    assert settings["seldon"]["namespace"] == "sluice-production"
    page = (MANIFESTS.parent / "docs" / "how-to" / f"{engine}.md").read_text(encoding="utf-8")
    assert f"kubectl apply -k manifests/overlays/{engine}`" in page


def test_pipelines_are_compiled_for_the_level_that_their_namespace_enforces() -> None:
    namespaces = {item["metadata"]["name"]: item["metadata"] for item in build("overlays/argo") if item["kind"] == "Namespace"}
    for settings in (read_settings("argo")["argo"], read_page("argo")["argo"]):
        labels = namespaces[settings["namespace"]]["labels"]
        assert settings["security"] == labels["pod-security.kubernetes.io/enforce"]
