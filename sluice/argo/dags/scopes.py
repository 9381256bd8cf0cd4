"""The values that the tasks of one DAG can read: constants, inputs of the DAG, and outputs of its other tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.component_kinds import is_collected
from sluice.argo.dags.artifact_origins import ArtifactOrigins
from sluice.argo.expressions.argo_names import input_expression, kubernetes_name, names_of, output_expression, unused_name
from sluice.argo.expressions.values import (
    Value,
    collected_list,
    constant_value,
    constant_with_placeholders,
    fill_placeholders,
    has_placeholder,
    raw_value,
    runtime_value,
    selected_part,
)
from sluice.argo.expressions.wire_json import Tag, as_wire_json, json_with_tags, literal
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
from sluice.ir.reading import in_declared_type

if TYPE_CHECKING:
    from sluice.argo.compilation import Compilation
    from sluice.argo.dags.artifact_origins import KnownInputs
    from sluice.ir.graph import JSON, Artifact, Component

_STATES = "{'Succeeded': 'SUCCEEDED', 'Skipped': 'SKIPPED', 'Omitted': 'SKIPPED'}"
"""Final state of a task in Argo → final state in KFP, as a map of Argo's expression language. All other states are FAILED."""

_FAILED = 9
"""google.rpc.Code.FAILED_PRECONDITION, the code that Vertex AI reports for a failed task."""


class Scope:
    """The values that the tasks of one DAG can read.

    Attributes:
        compilation: The compilation.
        component: The component that contains the DAG.
        dag: The DAG.
        origins: Where the artifacts of the DAG come from.
        is_root: Whether the DAG is the pipeline itself.
        task_names: KFP's name → Argo's name of each task that needs a node in Argo. Importers need none.
    """

    def __init__(self, compilation: Compilation, component: Component, known: KnownInputs, dag: Dag) -> None:
        self.compilation = compilation
        self.component = component
        self.dag = dag
        self.origins = ArtifactOrigins(compilation, component, known)
        self.is_root = component is compilation.pipeline.root
        self.task_names: dict[str, str] = {}
        taken: set[str] = set()
        for task in dag.tasks.values():
            if not isinstance(compilation.pipeline.component(task).body, Importer):
                name = kubernetes_name(task.name)  # Argo accepts no name with a digit in front in `depends`.
                self.task_names[task.name] = unused_name(f"step-{name}" if name[0].isdigit() else name, taken)
                taken.add(self.task_names[task.name])

    # --- values

    def bound_value(self, task: Task, name: str) -> Value:
        """Return the value that a task gives to an input parameter."""
        binding = task.parameters[name]
        inputs = self.compilation.pipeline.component(task).inputs
        kind = inputs[name].type if name in inputs else ParameterType.STRUCT
        value = self.value_of(binding.source, kind, task)
        return selected_part(value, binding.selector) if binding.selector else value

    def bound_or_default(self, task: Task, name: str) -> Value:
        """Return the value that a task gives to an input parameter, or the parameter's default if the task gives none."""
        if name in task.parameters:
            return self.bound_value(task, name)
        parameter = self.compilation.pipeline.component(task).inputs[name]
        return self.constant(parameter.default, parameter.type, task)

    def bound_artifact(self, task: Task, name: str) -> Value:
        """Return the descriptor of the artifact that a task gives to an input."""
        return self.value_of(task.artifacts[name], ParameterType.STRUCT, task)

    def value_of(self, source: Source, kind: ParameterType, task: Task) -> Value:
        """Return the value of a source in this DAG.

        Args:
            source: Where the value comes from.
            kind: Type that the reader of the value declares.
            task: Task that reads the value.
        """
        match source:
            case Constant(value):
                return self.constant(value, kind, task)
            case FromInput(name):
                return self.input_value(name)
            case FromFinalStatus(name):
                return self._final_status(name)
            case FromTask():
                return self.output_value(source, may_have_failed=task.when_all_ended)

    def constant(self, value: JSON, kind: ParameterType, task: Task) -> Value:
        """Return the value of a constant. It may contain placeholders for the task's other inputs and for fields of the run."""
        if not has_placeholder(value):
            return constant_value(in_declared_type(value, kind))
        return constant_with_placeholders(value, self._plain_inputs(task), self.compilation.run, task.name)

    def inputs_of(self, task: Task) -> dict[str, tuple[Value, ParameterType]]:
        """Return the input parameters that a task gives, with their declared types."""
        inputs = self.compilation.pipeline.component(task).inputs
        return {name: (self.bound_value(task, name), inputs[name].type) for name in task.parameters if name in inputs}

    def _plain_inputs(self, task: Task) -> dict[str, tuple[Value, ParameterType]]:
        """Return those of a task's input parameters that contain no placeholders, with their declared types."""
        inputs = self.compilation.pipeline.component(task).inputs
        defaults = {name: Constant(parameter.default) for name, parameter in inputs.items() if parameter.has_default}
        sources = defaults | {name: binding.source for name, binding in task.parameters.items()}
        found = {}
        for name, source in sources.items():
            if not (isinstance(source, Constant) and has_placeholder(source.value)):
                kind = inputs[name].type if name in inputs else ParameterType.STRING
                found[name] = (self.bound_or_default(task, name), kind)
        return found

    def input_value(self, name: str) -> Value:
        """Return the value of an input of the DAG. A person submits the inputs of the pipeline itself as text."""
        if not self.is_root:
            # The declaration is not reliable: KFP's compiler declares all inputs of conditions and loops as required, although
            # optional inputs of the pipeline pass through them.
            return runtime_value(input_expression(names_of(self.component).inputs[name]), maybe_null=True)
        argo = names_of(self.component).inputs[name]
        if name in self.component.input_artifacts:
            return self._submitted(argo, self.component.input_artifacts[name])
        parameter = self.component.inputs[name]
        optional = parameter.optional and not parameter.has_default
        if parameter.type is ParameterType.STRING and parameter.has_default and "{{" in str(parameter.default):
            raise InexpressibleError(
                f"input {name}",
                f"the default of {name!r} contains two opening braces, which Argo would take for a tag",
                "Remove the braces from the default, or pass the text as a constant argument of a task.",
            )
        return raw_value(f"workflow.parameters.{argo}", parameter.type, maybe_null=optional)

    def _submitted(self, argo: str, artifact: Artifact) -> Value:
        """Return the descriptor of an artifact that a person submits by its URI."""
        if artifact.is_list:
            raise InexpressibleError(
                f"input {argo}",
                f"the pipeline's input {argo!r} is a list of artifacts, which a person cannot submit",
                "Let the pipeline take one artifact, or a list of URIs that a step reads.",
            )
        text = f"workflow.parameters.{argo}"
        content = {"name": argo, "type": dict(artifact.schema), "uri": Tag(f"toJson({text})"), "metadata": {}}
        expression = expression_of(content)
        if artifact.optional:
            expression = f"({text} == 'null' ? 'null' : {expression})"
        return runtime_value(expression, maybe_null=artifact.optional)

    def output_value(self, source: FromTask, *, may_have_failed: bool = False) -> Value:
        """Return the value of an output of a task in this DAG.

        Args:
            source: The task and its output.
            may_have_failed: Whether the reader runs even if the task failed. The value is null in that case.

        Raises:
            ValueError: The task has no such output.
        """
        task = self.dag.tasks[source.task]
        component = self.compilation.pipeline.component(task)
        if isinstance(component.body, Importer):
            return self._imported(task, component.body)
        names = names_of(component).outputs
        if source.key not in names:
            raise ValueError(f"task {source.task!r} has no output {source.key!r}")
        reference = output_expression(self.task_names[source.task], names[source.key])
        if task.iterator and not task.iterator.parallelism:
            return runtime_value(self.collected_output(self.task_names[source.task], names[source.key], component, source.key))
        if may_have_failed:
            reference = f"(tasks['{self.task_names[source.task]}']?.outputs?.parameters?.{names[source.key]} ?? 'null')"
        maybe = may_have_failed or bool(task.condition) or isinstance(component.body, Dag)
        parameter = component.outputs.get(source.key)
        if parameter is not None and self.compilation.gives_text(component):
            return raw_value(reference, parameter.type, maybe_null=maybe)
        return runtime_value(reference, maybe_null=maybe)

    def collected_output(self, task: str, argo: str, component: Component, key: str) -> str:
        """Return an expression that gives the outputs of a loop as one list.

        If the loop contains another loop, a list of parameters is a list of lists, as a component declares it by
        ``List[List[int]]`` and as kfp.local gives it. A list of artifacts is always flat, because IR and Python know no lists of
        lists of artifacts.

        Args:
            task: Argo's name of the task.
            argo: Argo's name of the output.
            component: The component that the loop repeats.
            key: KFP's name of the output.
        """
        flatten = key in component.output_artifacts and is_collected(self.compilation.pipeline, component, key)
        return collected_list(output_expression(task, argo), flatten=flatten)

    def first_output(self, sources: tuple[FromTask, ...]) -> str:
        """Return an expression that gives the output of the first of several tasks whose output is not null."""
        expressions = [self.output_value(source).expression for source in sources]
        result = expressions[-1]
        for expression in reversed(expressions[:-1]):
            result = f"({expression} != 'null' ? {expression} : {result})"
        return result

    def _imported(self, task: Task, importer: Importer) -> Value:
        """Return the descriptor of an imported artifact. No pod is needed for it."""
        inputs = self._plain_inputs(task)
        uri: Any
        if isinstance(importer.uri, FromInput):
            uri = Tag(self.bound_or_default(task, importer.uri.name).expression)
        else:
            uri = fill_placeholders(importer.uri.value, inputs, self.compilation.run, task.name)
        metadata = fill_placeholders(dict(importer.metadata), inputs, self.compilation.run, task.name)
        content = {"name": "artifact", "type": dict(importer.schema), "uri": uri, "metadata": metadata}
        return Value(expression_of(content), json_with_tags(content))

    def _final_status(self, name: str) -> Value:
        """Return the final status of a task, as KFP's ``PipelineTaskFinalStatus``."""
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
        return Value("", json_with_tags(content))

    # --- order

    def waits_for(self, task: Task) -> list[str]:
        """Return Argo's names of the tasks for which a task waits.

        An importer has no node in Argo. A task that waits for an importer waits for everything for which the importer waits.
        """
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
    """Return one expression that gives JSON with tags as wire JSON."""
    return as_wire_json(f"toJson({_object(content)})")


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
    return f"fromJSON({constant_value(content).expression})"
