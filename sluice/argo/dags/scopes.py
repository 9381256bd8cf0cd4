"""What the tasks of one DAG can read: its inputs, constants, and the outputs of its other tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.component_kinds import is_collected
from sluice.argo.dags.artifact_origins import ArtifactOrigins
from sluice.argo.expressions.argo_names import input_of, label, names_of, output_of, unused
from sluice.argo.expressions.values import (
    Value,
    collect,
    constant,
    constant_with_placeholders,
    dynamic,
    filled,
    has_placeholder,
    raw,
    select,
)
from sluice.argo.expressions.wire_json import Tag, dump, literal, safe
from sluice.argo.refusals import InexpressibleError
from sluice.ir.graph import (
    Constant,
    Dag,
    FromFinalStatus,
    FromInput,
    FromTask,
    Importer,
    ParameterType,
    Source,
    Task,
)
from sluice.ir.reading import typed

if TYPE_CHECKING:
    from sluice.argo.compilation import Lowering
    from sluice.argo.dags.artifact_origins import Known
    from sluice.ir.graph import JSON, Artifact, Component

_STATES = "{'Succeeded': 'SUCCEEDED', 'Skipped': 'SKIPPED', 'Omitted': 'SKIPPED'}"
_FAILED = 9
"""google.rpc.Code.FAILED_PRECONDITION: what Vertex AI reports of a failed task."""


class Scope:
    """The values of one DAG.

    Args:
        lowering: The compilation.
        component: The component whose DAG it is.
        known: What is known of its inputs.
        dag: The DAG.
    """

    def __init__(self, lowering: Lowering, component: Component, known: Known, dag: Dag) -> None:
        self.lowering = lowering
        self.component = component
        self.dag = dag
        self.origins = ArtifactOrigins(lowering, component, known)
        self.is_root = component is lowering.pipeline.root
        self.task_names: dict[str, str] = {}
        taken: set[str] = set()
        for task in dag.tasks.values():
            if not isinstance(lowering.pipeline.component(task).body, Importer):
                name = label(task.name)  # Argo takes no task that waits and begins with a digit
                self.task_names[task.name] = unused(f"step-{name}" if name[0].isdigit() else name, taken)
                taken.add(self.task_names[task.name])

    # --- values

    def bound(self, task: Task, name: str) -> Value:
        """What a task's input parameter is bound to."""
        binding = task.parameters[name]
        inputs = self.lowering.pipeline.component(task).inputs
        kind = inputs[name].type if name in inputs else ParameterType.STRUCT
        value = self.settle(binding.source, kind, task)
        return select(value, binding.selector) if binding.selector else value

    def given(self, task: Task, name: str) -> Value:
        """What a task's input parameter is bound to, or else its default."""
        if name in task.parameters:
            return self.bound(task, name)
        parameter = self.lowering.pipeline.component(task).inputs[name]
        return self.constant(parameter.default, parameter.type, task)

    def artifact(self, task: Task, name: str) -> Value:
        """What a task's input artifact is bound to, as a descriptor."""
        return self.settle(task.artifacts[name], ParameterType.STRUCT, task)

    def settle(self, source: Source, kind: ParameterType, task: Task) -> Value:
        """A source as a value in this DAG; `kind` is the type it is wanted in, `task` the one that wants it."""
        match source:
            case Constant(value):
                return self.constant(value, kind, task)
            case FromInput(name):
                return self.input(name)
            case FromFinalStatus(name):
                return self._final_status(name)
            case FromTask():
                return self.output(source, may_have_failed=task.when_all_ended)

    def constant(self, value: JSON, kind: ParameterType, task: Task) -> Value:
        """A constant, which may hold placeholders for the task's other inputs and for what the run knows of itself."""
        if not has_placeholder(value):
            return constant(typed(value, kind))
        return constant_with_placeholders(value, self._plain_inputs(task), self.lowering.run, task.name)

    def inputs_of(self, task: Task) -> dict[str, tuple[Value, ParameterType]]:
        """A task's input parameters with their types, for its condition."""
        inputs = self.lowering.pipeline.component(task).inputs
        return {name: (self.bound(task, name), inputs[name].type) for name in task.parameters if name in inputs}

    def _plain_inputs(self, task: Task) -> dict[str, tuple[Value, ParameterType]]:
        """Those of a task's inputs that hold no placeholder themselves."""
        inputs = self.lowering.pipeline.component(task).inputs
        defaults = {name: Constant(parameter.default) for name, parameter in inputs.items() if parameter.has_default}
        sources = defaults | {name: binding.source for name, binding in task.parameters.items()}
        found = {}
        for name, source in sources.items():
            if not (isinstance(source, Constant) and has_placeholder(source.value)):
                kind = inputs[name].type if name in inputs else ParameterType.STRING
                found[name] = (self.given(task, name), kind)
        return found

    def input(self, name: str) -> Value:
        """An input of the DAG; the pipeline's own inputs are what a person submitted, as text."""
        if not self.is_root:
            # Whatever is declared: KFP's compiler calls the inputs of conditions and loops required, and optional ones of the
            # pipeline go through them.
            return dynamic(input_of(names_of(self.component).inputs[name]), maybe_null=True)
        argo = names_of(self.component).inputs[name]
        if name in self.component.input_artifacts:
            return self._submitted(argo, self.component.input_artifacts[name])
        parameter = self.component.inputs[name]
        optional = parameter.optional and not parameter.has_default
        if parameter.type is ParameterType.STRING and parameter.has_default and "{{" in str(parameter.default):
            raise InexpressibleError(
                f"input {name}",
                f"the default of {name!r} holds two opening braces, which Argo takes for a tag",
                "Give the input no such default; a constant argument of a task may hold them.",
            )
        return raw(f"workflow.parameters.{argo}", parameter.type, maybe_null=optional)

    def _submitted(self, argo: str, artifact: Artifact) -> Value:
        """An artifact that the pipeline itself takes: a person gives its URI."""
        if artifact.is_list:
            raise InexpressibleError(
                f"input {argo}",
                f"the pipeline's input {argo!r}: a list of artifacts cannot be submitted",
                "Take one artifact, or a list of URIs and a step that reads them.",
            )
        text = f"workflow.parameters.{argo}"
        content = {"name": argo, "type": dict(artifact.schema), "uri": Tag(f"toJson({text})"), "metadata": {}}
        expression = expression_of(content)
        if artifact.optional:
            expression = f"({text} == 'null' ? 'null' : {expression})"
        return dynamic(expression, maybe_null=artifact.optional)

    def output(self, source: FromTask, *, may_have_failed: bool = False) -> Value:
        """An output of a task of this DAG."""
        task = self.dag.tasks[source.task]
        component = self.lowering.pipeline.component(task)
        if isinstance(component.body, Importer):
            return self._imported(task, component.body)
        names = names_of(component).outputs
        if source.key not in names:
            raise ValueError(f"task {source.task!r} has no output {source.key!r}")
        reference = output_of(self.task_names[source.task], names[source.key])
        if task.iterator and not task.iterator.parallelism:
            return dynamic(self.collected(self.task_names[source.task], names[source.key], component, source.key))
        if may_have_failed:
            reference = f"(tasks['{self.task_names[source.task]}']?.outputs?.parameters?.{names[source.key]} ?? 'null')"
        maybe = may_have_failed or bool(task.condition) or isinstance(component.body, Dag)
        parameter = component.outputs.get(source.key)
        if parameter is not None and self.lowering.gives_text(component):
            return raw(reference, parameter.type, maybe_null=maybe)
        return dynamic(reference, maybe_null=maybe)

    def collected(self, task: str, argo: str, component: Component, key: str) -> str:
        """A loop's output as one list.

        The list of a loop inside it is one entry of a list of parameters, as a component says by ``List[List[int]]`` and as
        kfp.local gives it; a list of artifacts has no levels, in IR and in Python: there it adds none.
        """
        flatten = key in component.output_artifacts and is_collected(self.lowering.pipeline, component, key)
        return collect(output_of(task, argo), flatten=flatten)

    def first_of(self, sources: tuple[FromTask, ...]) -> str:
        """The output of the first of several tasks that ran."""
        expressions = [self.output(source).expression for source in sources]
        result = expressions[-1]
        for expression in reversed(expressions[:-1]):
            result = f"({expression} != 'null' ? {expression} : {result})"
        return result

    def _imported(self, task: Task, importer: Importer) -> Value:
        """The descriptor of an artifact that exists already: no pod makes it."""
        inputs = self._plain_inputs(task)
        uri: Any
        if isinstance(importer.uri, FromInput):
            uri = Tag(self.given(task, importer.uri.name).expression)
        else:
            uri = filled(importer.uri.value, inputs, self.lowering.run, task.name)
        metadata = filled(dict(importer.metadata), inputs, self.lowering.run, task.name)
        content = {"name": "artifact", "type": dict(importer.schema), "uri": uri, "metadata": metadata}
        return Value(expression_of(content), dump(content))

    def _final_status(self, name: str) -> Value:
        task = self.task_names[name]
        status = f"tasks['{task}'].status"
        content: dict[str, Any] = {
            "state": Tag(f"{_STATES}[{status}] ?? 'FAILED'", quoted=True),
            "pipelineTaskName": name,
            "pipelineJobResourceName": Tag("workflow.name", quoted=True),
            "error": {
                "code": Tag(f"{status} in ['Failed', 'Error'] ? {_FAILED} : 0"),
                "message": Tag(
                    f"{status} in ['Failed', 'Error'] ? 'task ' + {literal(name)} + ' ended as ' + {status} : ''", quoted=True
                ),
            },
        }
        return Value("", dump(content))

    # --- order

    def waits_for(self, task: Task) -> list[str]:
        """Argo's names of the tasks that a task waits for; for one without a pod, what that one waits for."""
        found: dict[str, None] = {}
        read = [binding.source for binding in task.parameters.values()] + list(task.artifacts.values())
        sources = [source.task for source in read if isinstance(source, FromTask | FromFinalStatus)]
        for name in (*task.after, *sources):
            if name in self.task_names:
                found[self.task_names[name]] = None
            else:
                found |= dict.fromkeys(self.waits_for(self.dag.tasks[name]))
        return list(found)


def expression_of(content: JSON | Tag) -> str:
    """JSON with tags in it as one expression of wire JSON."""
    return safe(f"toJson({_object(content)})")


def _object(content: JSON | Tag) -> str:
    if isinstance(content, Tag):
        return content.expression if content.quoted else f"fromJSON({content.expression})"
    if isinstance(content, dict):
        pairs = (
            f"({_object(key)}): {_object(value)}" if isinstance(key, Tag) else f"{literal(key)}: {_object(value)}"
            for key, value in content.items()
        )
        return "{" + ", ".join(pairs) + "}"
    if isinstance(content, list):
        return "[" + ", ".join(_object(each) for each in content) + "]"
    return f"fromJSON({constant(content).expression})"
