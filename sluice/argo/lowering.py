"""The state of one compilation: options, findings, and the templates that were made, equal ones once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.argo.arguments import Context
from sluice.argo.containers import is_python
from sluice.argo.naming import DISPLAY_NAME, display_name, label, names_of, unused
from sluice.argo.store import Store
from sluice.argo.values import Run
from sluice.ir.graph import Component, Container, Dag, Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.argo.containers import Call
    from sluice.argo.refusals import Findings
    from sluice.ir.graph import Task


APPROVAL = "approval"
APPROVAL_BODY = "sluice.steps.production import wait_for_approval"


@dataclass(frozen=True, slots=True)
class Options:
    """What a cluster wants of a workflow.

    Attributes:
        kind: ``Workflow``, ``WorkflowTemplate`` or ``CronWorkflow``.
        name: Name of the object; empty for the pipeline's.
        namespace: Its namespace; empty for the one it is created in.
        schedules: Cron expressions, for a CronWorkflow.
        timezone: Their time zone; empty for the controller's.
        concurrency: ``Allow``, ``Forbid`` or ``Replace``.
        service_account: Account that the steps run as; empty for the namespace's default.
        repository: ConfigMap and key of the artifact repository, ``name`` or ``name/key``; empty for the default one.
        store: Kind and root of the artifact repository.
        cache: Whether steps that KFP would cache are memoized.
        cache_ttl: How long a memoized result holds, ``168h``; empty for ever.
        security: ``restricted``, ``baseline`` or empty: what the pods' security contexts ask for.
        state_claim: PersistentVolumeClaim that every step has as its project's state folder; empty for none.
        env: Environment variables that every step has.
        read_only: Whether the containers' root file systems are read-only; ``/tmp`` is a volume then.
        labels: Labels of the workflow.
        annotations: Annotations of the workflow.
    """

    kind: str = "Workflow"
    name: str = ""
    namespace: str = ""
    schedules: tuple[str, ...] = ()
    timezone: str = ""
    concurrency: str = ""
    service_account: str = ""
    repository: str = ""
    store: Store = field(default_factory=Store)
    cache: bool = True
    cache_ttl: str = ""
    security: str = ""
    state_claim: str = ""
    env: tuple[tuple[str, str], ...] = ()
    read_only: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Lowering:
    """One compilation.

    Attributes:
        pipeline: What is compiled.
        options: What the cluster wants.
        findings: What is refused.
        templates: Template name → template, in the order they were made.
        collected: Components whose output artifacts a loop collects: never memoized.
        uses_launcher: Whether any step needs the launcher.
    """

    pipeline: Pipeline
    options: Options
    findings: Findings
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    collected: frozenset[str] = frozenset()
    uses_launcher: bool = False
    dags: dict[Any, str] = field(default_factory=dict)
    _by_content: dict[str, str] = field(default_factory=dict)
    _launched: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find what loops collect: those artifacts lie under one folder, and are made anew in each run."""
        self.collected = frozenset(collected_components(self.pipeline))

    @property
    def name(self) -> str:
        """Name of the workflow object."""
        return self.options.name or label(self.pipeline.name)

    @property
    def store(self) -> Store:
        """Where artifacts lie."""
        return self.options.store

    @property
    def run(self) -> Run:
        """What is known of the run."""
        return Run(self.store.base, scheduled=self.options.kind == "CronWorkflow")

    def context(self, call: Call) -> Context:
        """What a text inside a task's template can speak of."""
        component = call.component
        return Context(self.run, self.store, call, names_of(component), self.is_launched(component), self.collected)

    def is_launched(self, component: Component) -> bool:
        """Whether a component's container is run by the launcher."""
        known = self._launched.get(component.name)
        if known is None:
            known = self._launched[component.name] = isinstance(component.body, Container) and is_python(component.body)
        return known

    def gives_text(self, component: Component) -> bool:
        """Whether a component's output parameters are raw text: what a plain container writes, or a person supplies."""
        return isinstance(component.body, Container) and (not self.is_launched(component) or is_approval(component))

    def add_template(self, template: dict[str, Any], name: str, task: Task | None = None) -> str:
        """Add a template, unless an equal one is there; gives its name. It takes the name for people of a task that has one."""
        if task and display_name(task):
            inputs = template.get("inputs", {})
            given = [*inputs.get("parameters", ()), {"name": DISPLAY_NAME}]
            shown = {"workflows.argoproj.io/display-name": f"{{{{inputs.parameters.{DISPLAY_NAME}}}}}"}
            template = {"annotations": shown, **template, "inputs": {**inputs, "parameters": given}}
        content = json.dumps(template)
        known = self._by_content.get(content)
        if known is None:
            known = self._by_content[content] = unused(label(name), self.templates)
            self.templates[known] = {"name": known, **template}
        return known


def is_approval(component: Component) -> bool:
    """Whether a component is sluice's approval step: its name says so, and its body is sluice's own."""
    return (
        component.name.removeprefix("comp-") == APPROVAL
        and isinstance(component.body, Container)
        and any(APPROVAL_BODY in part for part in component.body.command)
    )


def collected_components(pipeline: Pipeline) -> Iterator[str]:
    """Components that make artifacts which a loop collects."""
    for component in (pipeline.root, *pipeline.components.values()):
        if not isinstance(component.body, Dag):
            continue
        for task in component.body.tasks.values():
            if task.iterator is None:
                continue
            body = pipeline.component(task)
            for output in body.output_artifacts:
                yield from makers(pipeline, body, output)


def makers(pipeline: Pipeline, component: Component, output: str) -> Iterator[str]:
    """Components with an executor that make an output artifact."""
    if not isinstance(component.body, Dag):
        yield component.name
        return
    for source in component.body.artifacts.get(output, ()):
        yield from makers(pipeline, pipeline.component(component.body.tasks[source.task]), source.key)


def is_collected(pipeline: Pipeline, component: Component, output: str) -> bool:
    """Whether a DAG's output artifact is already a loop's list."""
    if not isinstance(component.body, Dag):
        return False
    for source in component.body.artifacts.get(output, ()):
        task = component.body.tasks[source.task]
        if task.iterator is not None or is_collected(pipeline, pipeline.component(task), source.key):
            return True
    return False
