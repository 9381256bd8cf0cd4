"""What became of what: pods per run beside KFP's own, and the feature of Argo's that carries each of KFP's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.argo.component_kinds import CREATE, DELETE, collected_components, is_approval
from sluice.argo.expressions.argo_names import display_name
from sluice.ir.graph import Constant, Container, Dag, FromFinalStatus, Importer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.argo.compilation import Options
    from sluice.ir.graph import Component, Pipeline, Task


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a compiled pipeline is made of.

    Attributes:
        pods: Pods of a run in which every step runs once; a loop over what only the run knows counts as one iteration.
        kfp_pods: Pods that KFP's backend would start for the same: a driver and an executor a step, a driver for each DAG,
            condition and iteration.
        is_exact: Whether no loop had to be guessed.
        features: (KFP's feature, Argo's feature, how often), in a fixed order.
    """

    pods: int
    kfp_pods: int
    is_exact: bool
    features: tuple[tuple[str, str, int], ...]


def explain(pipeline: Pipeline, options: Options) -> Explanation:
    """Count pods and features."""
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
    """Pods of a DAG's tasks: here, and in KFP, without the driver of the DAG itself."""
    here = kfp = 0
    assert isinstance(component.body, Dag)  # noqa: S101 - the callers look
    for task in component.body.tasks.values():
        inner = pipeline.component(task)
        times = len(task.iterator.items.value) if task.iterator and isinstance(task.iterator.items, Constant) else 1
        if isinstance(inner.body, Dag):
            below = _count(pipeline, inner)
            here += times * below[0]
            kfp += (1 if task.iterator else 0) + times * (below[1] + 1)
        elif isinstance(inner.body, Importer):
            kfp += times
        elif _is_claim(inner):
            here += times
            kfp += times  # its driver makes and deletes claims by itself
        elif is_approval(inner):
            kfp += 2 * times
        else:
            here += times
            kfp += 2 * times
    return here, kfp


def _is_claim(component: Component) -> bool:
    return isinstance(component.body, Container) and component.body.image in {CREATE, DELETE}


def _body(task: Task, component: Component, options: Options, collected: frozenset[str]) -> Iterator[tuple[str, str]]:
    if isinstance(component.body, Importer):
        yield "importer", "a key or URL of the input artifact, no pod"
    elif is_approval(component):
        yield "approval", "suspend"
    elif _is_claim(component):
        yield "claim", "resource template with one pod"
    elif isinstance(component.body, Container):
        yield "step", "template with one pod"
        if task.cached and options.cache and component.name in collected:
            yield "cached step", "none: a loop collects its artifacts, which lie in the run's own folder"
        elif task.cached and options.cache:
            yield "cached step", "memoize"
        for setting in component.platform:
            yield f"kfp-kubernetes {setting}", "the pod's own field, or podSpecPatch"
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
            yield "loop with parallelism", "parallelism of a DAG template around it"
    if task.when_all_ended:
        yield "exit handler, ignored failure", "depends on every end, all tasks as targets"
    if any(isinstance(binding.source, FromFinalStatus) for binding in task.parameters.values()):
        yield "final status", "status of the task"
    if task.retry and task.retry.limit:
        yield "retries", "retryStrategy"
