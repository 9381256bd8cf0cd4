"""Test the cache, display names, a WorkflowTemplate and a CronWorkflow on a real Argo."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from argo_cluster import GROUP, LABEL, VERSION
from argo_runs import Case, compile_pipeline, wait
from expected_values import MAKE_TEXTS, TAGS
from pipelines_of_cases import CONFORMANCE, read_pipeline

if TYPE_CHECKING:
    from argo_cluster import Cluster
    from conftest import RunPool

TEXTS = Case("texts_from_step_to_step", MAKE_TEXTS | {"check-texts": {"Output": TAGS}}, outputs={"Output": TAGS})


def test_a_second_run_takes_its_steps_from_the_cache(cluster: Cluster, pool: RunPool) -> None:
    pipeline = read_pipeline(Case("steps_that_are_cached", None))
    options = {"cache": True, "cache_ttl": "1h", "name": f"cached-{cluster.session}"}
    first = pool.run(compile_pipeline(pipeline, cluster, **options))
    second = pool.run(compile_pipeline(pipeline, cluster, **options))
    assert (first.phase, second.phase) == ("Succeeded", "Succeeded"), second.describe_problems()
    assert (first.pods, second.pods) == (2, 0)
    assert second.outputs == first.outputs, "the second run must not read the clock again"


@pytest.mark.skipif(not CONFORMANCE.is_dir(), reason="$SLUICE_CONFORMANCE names no folder with KFP's pipelines")
@pytest.mark.parametrize("name", ["critical/parameter_cache.yaml", "critical/artifact_cache.yaml"])
def test_the_second_run_of_kfps_cached_pipelines_needs_no_pod(name: str, cluster: Cluster, pool: RunPool) -> None:
    pipeline = read_pipeline(Case(name, None))
    options = {"cache": True, "name": f"{pipeline.name}-{cluster.session}"}
    first = pool.run(compile_pipeline(pipeline, cluster, **options))
    second = pool.run(compile_pipeline(pipeline, cluster, **options))
    assert (first.phase, second.phase) == ("Succeeded", "Succeeded"), second.describe_problems()
    assert (first.pods, second.pods) == (2, 0)


NAMED = Case(
    "names_for_people", {"inner-named.echo-text": {"Output": "a"}, "echo-text": {"Output": "a"}}, outputs={"Output": "a"}
)


def test_display_names_become_the_names_of_the_nodes(cluster: Cluster, pool: RunPool) -> None:
    run = pool.run(compile_pipeline(read_pipeline(NAMED), cluster))
    NAMED.verify(run)
    shown = {run.path(node): node["displayName"] for node in run.nodes if run.path(node) != run.name}
    assert shown["inner-named"] == "The-inner-one"
    assert shown["inner-named.echo-text"] == "echo-text"
    assert shown["echo-text"] == "Shown-to-people"


def create(cluster: Cluster, plural: str, document: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = cluster.custom.create_namespaced_custom_object(GROUP, VERSION, cluster.namespace, plural, document)
    return made


def test_a_run_of_a_workflow_template_gives_the_expected_outputs(cluster: Cluster, pool: RunPool) -> None:
    name = f"template-{cluster.session}"
    document = compile_pipeline(read_pipeline(TEXTS), cluster, kind="WorkflowTemplate", name=name)
    create(cluster, "workflowtemplates", document)
    TEXTS.verify(
        pool.run(
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "Workflow",
                "metadata": {"generateName": f"{name}-", "labels": {LABEL: cluster.session}},
                "spec": {"workflowTemplateRef": {"name": name}},
            }
        )
    )


def test_a_cron_workflow_starts_runs(cluster: Cluster) -> None:
    name = f"cron-{cluster.session}"
    document = compile_pipeline(
        read_pipeline(TEXTS),
        cluster,
        kind="CronWorkflow",
        name=name,
        schedules=("* * * * *",),
        timezone="Europe/Zurich",
        concurrency="Forbid",
    )
    create(cluster, "cronworkflows", document)
    end = time.monotonic() + 130
    started: list[str] = []
    while not started and time.monotonic() < end:
        time.sleep(2)
        listed = cluster.custom.list_namespaced_custom_object(
            GROUP, VERSION, cluster.namespace, "workflows", label_selector=f"workflows.argoproj.io/cron-workflow={name}"
        )
        started = [each["metadata"]["name"] for each in listed["items"]]
    cluster.custom.delete_namespaced_custom_object(
        GROUP, VERSION, cluster.namespace, "cronworkflows", name, propagation_policy="Orphan"
    )
    assert started, "the CronWorkflow started no run within 130 s"
    TEXTS.verify(wait(cluster, started[0], timeout=300))
