"""The state of one compilation: options, findings, and the templates that were made, equal ones once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.argo.component_kinds import collected_components, is_approval, is_python
from sluice.argo.expressions.argo_names import DISPLAY_NAME, Names, display_name, input_of, label, names_of, unused
from sluice.argo.expressions.artifact_keys import Origins, output_key
from sluice.argo.expressions.artifact_store import Store
from sluice.argo.expressions.values import Run, Value
from sluice.ir.graph import Component, Container, ParameterType, Pipeline, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.argo.refusals import Findings
    from sluice.ir.graph import Task


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


@dataclass(frozen=True, slots=True)
class Call:
    """A task that calls an executor.

    Attributes:
        task: The task.
        component: Its component.
        path: Task names from the outermost DAG inwards, for messages.
        absent: Inputs that are not given.
        unsure: Inputs that may turn out to be null.
        origins: Artifact input → where its artifacts come from.
        settle: Turns a source of the enclosing DAG into a value there.
    """

    task: Task
    component: Component
    path: str
    absent: frozenset[str]
    unsure: frozenset[str]
    origins: dict[str, Origins]
    settle: Callable[[Source, ParameterType], Value]


@dataclass(frozen=True, slots=True)
class Context:
    """What a text inside a template can speak of.

    Attributes:
        run: The run.
        store: Where artifacts lie.
        call: The task.
        names: Argo's names of its inputs and outputs.
        is_launched: Whether the launcher runs it.
        collected: Components whose artifacts a loop collects.
    """

    run: Run
    store: Store
    call: Call
    names: Names
    is_launched: bool = False
    collected: frozenset[str] = frozenset()

    def input(self, name: str) -> str:
        """An input of the template, as an expression of wire JSON."""
        return input_of(self.names.inputs[name])

    def key(self, name: str) -> str:
        """The key of an output artifact."""
        return output_key(self.call.component, name, collected=self.call.component.name in self.collected)

    def is_given(self, name: str) -> bool:
        """Whether an input is given, as far as compiling can tell."""
        return name not in self.call.absent


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
