"""A second run from the cache, and runs of a WorkflowTemplate and of a CronWorkflow, on a real Argo."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from argo_cluster import GROUP, LABEL, VERSION
from argo_runs import Case, compile_pipeline, wait
from expected_values import MADE, TAGS
from pipelines_of_cases import CONFORMANCE, pipeline_of

if TYPE_CHECKING:
    from argo_cluster import Cluster
    from conftest import Pool

TEXTS = Case("texts_from_step_to_step", MADE | {"check-texts": {"Output": TAGS}}, gives={"Output": TAGS})


def test_a_second_run_takes_its_steps_from_the_cache(cluster: Cluster, pool: Pool) -> None:
    pipeline = pipeline_of(Case("steps_that_are_cached", None))
    options = {"cache": True, "cache_ttl": "1h", "name": f"cached-{cluster.session}"}
    first = pool.run(compile_pipeline(pipeline, cluster, **options))
    second = pool.run(compile_pipeline(pipeline, cluster, **options))
    assert (first.phase, second.phase) == ("Succeeded", "Succeeded"), second.story()
    assert (first.pods, second.pods) == (2, 0)
    assert second.given == first.given, "the clock was read once"


@pytest.mark.skipif(not CONFORMANCE.is_dir(), reason="no folder of KFP's pipelines ($SLUICE_CONFORMANCE)")
@pytest.mark.parametrize("name", ["critical/parameter_cache.yaml", "critical/artifact_cache.yaml"])
def test_kfps_own_cached_pipelines_need_no_pod_the_second_time(name: str, cluster: Cluster, pool: Pool) -> None:
    pipeline = pipeline_of(Case(name, None))
    options = {"cache": True, "name": f"{pipeline.name}-{cluster.session}"}
    first = pool.run(compile_pipeline(pipeline, cluster, **options))
    second = pool.run(compile_pipeline(pipeline, cluster, **options))
    assert (first.phase, second.phase) == ("Succeeded", "Succeeded"), second.story()
    assert (first.pods, second.pods) == (2, 0)


NAMED = Case("names_for_people", {"inner-named.echo-text": {"Output": "a"}, "echo-text": {"Output": "a"}}, gives={"Output": "a"})


def test_names_for_people_are_those_of_the_nodes(cluster: Cluster, pool: Pool) -> None:
    run = pool.run(compile_pipeline(pipeline_of(NAMED), cluster))
    NAMED.judge(run)
    shown = {run.path(node): node["displayName"] for node in run.nodes if run.path(node) != run.name}
    assert shown["inner-named"] == "The-inner-one"
    assert shown["inner-named.echo-text"] == "echo-text"
    assert shown["echo-text"] == "Shown-to-people"


def create(cluster: Cluster, plural: str, document: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = cluster.custom.create_namespaced_custom_object(GROUP, VERSION, cluster.namespace, plural, document)
    return made


def test_a_run_of_a_template_carries_what_its_steps_need(cluster: Cluster, pool: Pool) -> None:
    name = f"template-{cluster.session}"
    document = compile_pipeline(pipeline_of(TEXTS), cluster, kind="WorkflowTemplate", name=name)
    create(cluster, "workflowtemplates", document)
    TEXTS.judge(
        pool.run(
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "Workflow",
                "metadata": {"generateName": f"{name}-", "labels": {LABEL: cluster.session}},
                "spec": {"workflowTemplateRef": {"name": name}},
            }
        )
    )


def test_a_schedule_starts_runs(cluster: Cluster) -> None:
    name = f"cron-{cluster.session}"
    document = compile_pipeline(
        pipeline_of(TEXTS),
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
    assert started, "no run within two minutes"
    TEXTS.judge(wait(cluster, started[0], timeout=300))
