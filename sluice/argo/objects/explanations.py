"""The explanation of a compiled pipeline: how many pods a run has, and which feature of Argo stands for each feature of KFP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.argo.component_kinds import collected_components, is_approval, is_claim
from sluice.argo.expressions.argo_names import display_name
from sluice.ir.graph import Constant, Container, Dag, FromFinalStatus, Importer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.argo.compilation import Options
    from sluice.ir.graph import Component, Pipeline, Task


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a compiled pipeline.

    Attributes:
        pods: Number of pods in a run in which every step runs once. If only the run knows the items of a loop, the loop counts as
            one iteration.
        kfp_pods: Number of pods that KFP's backend would start for the same run: a driver and an executor for each step, and a
            driver for each DAG, condition and iteration.
        is_exact: Whether the number of iterations of every loop is known.
        features: KFP's feature, Argo's feature, and how often the pipeline uses it, in alphabetical order.
    """

    pods: int
    kfp_pods: int
    is_exact: bool
    features: tuple[tuple[str, str, int], ...]


def explain(pipeline: Pipeline, options: Options) -> Explanation:
    """Count the pods and the features of a pipeline."""
    counts = _count(pipeline, pipeline.root)
    seen: dict[tuple[str, str], int] = {}
    collected = frozenset(collected_components(pipeline))
    exact = True
    for task, component in _tasks(pipeline, pipeline.root):
        exact = exact and not (task.iterator and not isinstance(task.iterator.items, Constant))
        for feature in _features(task, component, options, collected):
            seen[feature] = seen.get(feature, 0) + 1
    config = pipeline.config
    for key, kfp, argo in (
        ("workspace", "workspace", "volumeClaimTemplates"),
        ("activeDeadlineSeconds", "deadline", "activeDeadlineSeconds"),
    ):
        if config.get(key):
            seen[kfp, argo] = 1
    if any(key.startswith("resourceTtl") for key in config):
        seen["time to live", "ttlStrategy"] = 1
    return Explanation(counts[0], counts[1] + 1, exact, tuple((kfp, argo, count) for (kfp, argo), count in sorted(seen.items())))


def _tasks(pipeline: Pipeline, component: Component) -> Iterator[tuple[Task, Component]]:
    if isinstance(component.body, Dag):
        for task in component.body.tasks.values():
            inner = pipeline.component(task)
            yield task, inner
            yield from _tasks(pipeline, inner)


def _count(pipeline: Pipeline, component: Component) -> tuple[int, int]:
    """Return the number of pods of a DAG's tasks, in Argo and in KFP. KFP's driver of the DAG itself is not included."""
    argo = kfp = 0
    assert isinstance(component.body, Dag)  # noqa: S101 - the callers check the type
    for task in component.body.tasks.values():
        inner = pipeline.component(task)
        times = len(task.iterator.items.value) if task.iterator and isinstance(task.iterator.items, Constant) else 1
        if isinstance(inner.body, Dag):
            below = _count(pipeline, inner)
            argo += times * below[0]
            kfp += (1 if task.iterator else 0) + times * (below[1] + 1)
        elif isinstance(inner.body, Importer):
            kfp += times
        elif is_claim(inner):
            argo += times
            kfp += times  # KFP's driver creates and deletes claims. It starts no second pod.
        elif is_approval(inner):
            kfp += 2 * times
        else:
            argo += times
            kfp += 2 * times
    return argo, kfp


def _body(task: Task, component: Component, options: Options, collected: frozenset[str]) -> Iterator[tuple[str, str]]:
    if isinstance(component.body, Importer):
        yield "importer", "key or URL of the input artifact, without a pod"
    elif is_approval(component):
        yield "approval", "suspend"
    elif is_claim(component):
        yield "claim", "resource template with one pod"
    elif isinstance(component.body, Container):
        yield "step", "template with one pod"
        if task.cached and options.cache and component.name in collected:
            yield "cached step", "none, because a loop collects its artifacts from the folder of the run"
        elif task.cached and options.cache:
            yield "cached step", "memoize"
        for setting in component.platform:
            yield f"kfp-kubernetes {setting}", "field of the pod, or podSpecPatch"
    elif not task.condition and not task.iterator:
        yield "nested pipeline", "DAG template"


def _features(task: Task, component: Component, options: Options, collected: frozenset[str]) -> Iterator[tuple[str, str]]:
    yield from _body(task, component, options, collected)
    if display_name(task) and not is_approval(component) and not isinstance(component.body, Importer):
        yield "display name", "annotation of the template"
    if task.condition:
        yield "condition", "when"
    if task.iterator:
        yield "loop", "withItems" if isinstance(task.iterator.items, Constant) else "withParam"
        if task.iterator.parallelism:
            yield "loop with parallelism", "parallelism of a DAG template around the loop"
    if task.when_all_ended:
        yield "exit handler, ignored failure", "depends on every final state; all tasks are targets"
    if any(isinstance(binding.source, FromFinalStatus) for binding in task.parameters.values()):
        yield "final status", "status of the task"
    if task.retry and task.retry.limit:
        yield "retries", "retryStrategy"
