"""The data types that all parts of the Argo compiler share.

This module is below the modules that lower steps, DAGs and whole pipelines. They import it, and it imports none of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.argo.component_kinds import collected_components, is_approval, is_python
from sluice.argo.expressions.argo_names import (
    DISPLAY_NAME,
    display_name,
    input_expression,
    kubernetes_name,
    names_of,
    unused_name,
)
from sluice.argo.expressions.artifact_keys import output_key
from sluice.argo.expressions.artifact_store import Store
from sluice.argo.expressions.values import Run
from sluice.ir.graph import Container

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.argo.expressions.argo_names import Names
    from sluice.argo.expressions.artifact_keys import Origins
    from sluice.argo.expressions.values import Value
    from sluice.argo.refusals import Refusals
    from sluice.ir.graph import Component, ParameterType, Pipeline, Source, Task


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a compilation that depend on the cluster.

    Attributes:
        kind: ``Workflow``, ``WorkflowTemplate`` or ``CronWorkflow``.
        name: Name of the object. If it is empty, the object gets the name of the pipeline.
        namespace: Namespace of the object. If it is empty, the object gets the namespace in which it is created.
        schedules: Cron expressions of a CronWorkflow.
        timezone: Time zone of the schedules. If it is empty, Argo's controller uses its own.
        concurrency: ``Allow``, ``Forbid`` or ``Replace``: what a CronWorkflow does while its last run is still running.
        service_account: Service account of the steps. If it is empty, the steps run as the default account of the namespace.
        service_accounts: Service accounts of single components, as pairs of the component's name and the account.
        signing_secrets: Secrets with the private keys of the steps that sign, as pairs of the component's name and the Secret.
        step_tokens: Whether the main container of every step has the token of its account. If not, only that of the steps in
            `service_accounts` has one.
        repository: ConfigMap and key of the artifact repository, ``name`` or ``name/key``. If it is empty, Argo uses its default.
        store: Kind and root of the artifact repository.
        cache: Whether Argo memoizes the steps that KFP would cache.
        cache_ttl: How long Argo keeps a memoized result, for example ``168h``. If it is empty, Argo keeps it for ever.
        security: Pod Security level that the security contexts satisfy: ``restricted``, ``baseline``, or empty for none.
        read_only: Whether the containers' root file systems are read-only. If they are, ``/tmp`` is a volume.
        labels: Labels of the workflow, as pairs of key and value.
        annotations: Annotations of the workflow, as pairs of key and value.
    """

    kind: str = "Workflow"
    name: str = ""
    namespace: str = ""
    schedules: tuple[str, ...] = ()
    timezone: str = ""
    concurrency: str = ""
    service_account: str = ""
    service_accounts: tuple[tuple[str, str], ...] = ()
    signing_secrets: tuple[tuple[str, str], ...] = ()
    step_tokens: bool = True
    repository: str = ""
    store: Store = field(default_factory=Store)
    cache: bool = True
    cache_ttl: str = ""
    security: str = ""
    read_only: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One task whose component has an executor.

    Attributes:
        task: The task.
        component: The component of the task.
        path: Task names from the outermost DAG inwards, joined by dots. Messages name the task by this path.
        not_given: Inputs that the task does not give.
        maybe_null: Inputs whose value may be null in a run.
        origins: Input artifact → where its artifacts come from.
        value_of: Function that turns a source of the enclosing DAG into a value in that DAG.
    """

    task: Task
    component: Component
    path: str
    not_given: frozenset[str]
    maybe_null: frozenset[str]
    origins: dict[str, Origins]
    value_of: Callable[[Source, ParameterType], Value]


@dataclass(frozen=True, slots=True)
class Context:
    """What the placeholders in the texts of one step can refer to.

    Attributes:
        run: The facts about the run that are known when compiling.
        store: Where the artifacts are stored.
        call: The task.
        names: Argo's names of the component's inputs and outputs.
        is_launched: Whether the launcher runs the container.
        collected: Names of the components whose artifacts a loop collects.
    """

    run: Run
    store: Store
    call: Call
    names: Names
    is_launched: bool = False
    collected: frozenset[str] = frozenset()

    def input(self, name: str) -> str:
        """Return an expression that gives an input of the template as wire JSON."""
        return input_expression(self.names.inputs[name])

    def key(self, name: str) -> str:
        """Return the key of an output artifact in the artifact repository."""
        return output_key(self.call.component, name, collected=self.call.component.name in self.collected)

    def is_given(self, name: str) -> bool:
        """Return whether the task gives an input. The value can still be null in a run."""
        return name not in self.call.not_given


@dataclass(slots=True)
class Compilation:
    """The state of one compilation.

    Attributes:
        pipeline: The pipeline that is compiled.
        options: The settings of the compilation.
        refusals: The constructs that Argo cannot express.
        templates: Template name → template, in the order in which they were added.
        collected: Names of the components whose output artifacts a loop collects. Their steps are never memoized, because all
            artifacts that a loop collects must be in one folder of the same run.
        uses_launcher: Whether any step needs the launcher.
        dags: Key of a DAG that was already lowered → name of its template.
    """

    pipeline: Pipeline
    options: Options
    refusals: Refusals
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    collected: frozenset[str] = frozenset()
    uses_launcher: bool = False
    dags: dict[Any, str] = field(default_factory=dict)
    _by_content: dict[str, str] = field(default_factory=dict)
    _launched: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the components whose artifacts a loop collects."""
        self.collected = frozenset(collected_components(self.pipeline))

    @property
    def name(self) -> str:
        """Name of the workflow object."""
        return self.options.name or kubernetes_name(self.pipeline.name)

    @property
    def store(self) -> Store:
        """Where the artifacts are stored."""
        return self.options.store

    @property
    def run(self) -> Run:
        """The facts about the run that are known when compiling."""
        return Run(self.store.base, scheduled=self.options.kind == "CronWorkflow")

    def context(self, call: Call) -> Context:
        """Return what the placeholders in the texts of a step can refer to."""
        component = call.component
        return Context(self.run, self.store, call, names_of(component), self.is_launched(component), self.collected)

    def is_launched(self, component: Component) -> bool:
        """Return whether the launcher runs the component's container."""
        known = self._launched.get(component.name)
        if known is None:
            known = self._launched[component.name] = isinstance(component.body, Container) and is_python(component.body)
        return known

    def gives_text(self, component: Component) -> bool:
        """Return whether the component's output parameters are raw text instead of wire JSON.

        They are if a container without the launcher writes them, or if a person supplies them when approving.
        """
        return isinstance(component.body, Container) and (not self.is_launched(component) or is_approval(component))

    def add_template(self, template: dict[str, Any], name: str, task: Task | None = None) -> str:
        """Add a template. If an equal template exists already, use that one.

        If the task has a display name, the template gets one more input for it and shows it in Argo's user interface.

        Returns:
            The name of the template.
        """
        if task and display_name(task):
            inputs = template.get("inputs", {})
            given = [*inputs.get("parameters", ()), {"name": DISPLAY_NAME}]
            shown = {"workflows.argoproj.io/display-name": f"{{{{inputs.parameters.{DISPLAY_NAME}}}}}"}
            template = {"annotations": shown, **template, "inputs": {**inputs, "parameters": given}}
        content = json.dumps(template)
        known = self._by_content.get(content)
        if known is None:
            known = self._by_content[content] = unused_name(kubernetes_name(name), self.templates)
            self.templates[known] = {"name": known, **template}
        return known
