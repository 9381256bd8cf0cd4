"""The Argo template of one DAG.

Each task becomes one task in Argo. A condition becomes ``when``, and a loop becomes ``withItems`` or ``withParam``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sluice.argo.compilation import Call
from sluice.argo.dags.scopes import Scope
from sluice.argo.expressions.argo_names import DISPLAY_NAME, display_name, input_expression, kubernetes_name, names_of
from sluice.argo.expressions.values import Value, has_placeholder, runtime_value, to_items
from sluice.argo.expressions.when_conditions import lower_condition
from sluice.argo.expressions.wire_json import NULL, Tag, to_wire
from sluice.argo.refusals import InexpressibleError
from sluice.argo.steps.claims_and_approvals import lower_without_image
from sluice.argo.steps.container_templates import lower_container
from sluice.argo.steps.retries import retry_strategy
from sluice.ir.graph import Constant, Dag, Importer, Parameter, ParameterType, Task, Unknown

if TYPE_CHECKING:
    from sluice.argo.compilation import Compilation
    from sluice.argo.dags.artifact_origins import KnownInputs
    from sluice.ir.graph import Component

_ENDED = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted")
"""All final states of a task in Argo."""

_ITEM = Value("item", "{{=item}}")


def lower_dag(
    compilation: Compilation,
    component: Component,
    *,
    known: KnownInputs,
    path: str = "",
    default: str = "",
    task: Task | None = None,
) -> str:
    """Lower the DAG of a component and everything in it.

    Args:
        compilation: The compilation.
        component: A component whose body is a DAG.
        known: The facts about the inputs of the DAG.
        path: Task names from the outermost DAG inwards, joined by dots, for messages.
        default: Value of the outputs if the DAG does not run. It is empty if the DAG always runs.
        task: The task that runs the DAG; None for the pipeline itself.

    Returns:
        The name of the template.
    """
    key = (component.name, known.key, default, task and task.retry, bool(task and display_name(task)))
    name = compilation.dags.get(key)
    if name is None:
        name = compilation.dags[key] = _Dag(compilation, component, known, path).lower(default, task)
    return name


class _Dag:
    """Lowers one DAG."""

    def __init__(self, compilation: Compilation, component: Component, known: KnownInputs, path: str) -> None:
        assert isinstance(component.body, Dag)  # noqa: S101 - the caller checks the type
        self.compilation = compilation
        self.component = component
        self.dag = component.body
        self.path = path
        self.scope = Scope(compilation, component, known, self.dag)
        self.names = self.scope.task_names
        self.has_cleanup = any(task.when_all_ended for task in self.dag.tasks.values())

    def lower(self, default: str, task: Task | None) -> str:
        """Lower the DAG and return the name of its template."""
        for each in self.dag.tasks.values():
            body = self.compilation.pipeline.component(each).body
            if isinstance(body, Importer):
                self._check_importer(each, body)
        lowered = [self._task(inner) for inner in self.dag.tasks.values() if inner.name in self.names]
        tasks = [each for each in lowered if each] or [self._nothing()]
        template: dict[str, Any] = {}
        names = names_of(self.component)
        root = self.component is self.compilation.pipeline.root
        if names.inputs and not root:
            template["inputs"] = {"parameters": [{"name": name} for name in names.inputs.values()]}
        outputs = self._outputs(default)
        if outputs:
            template["outputs"] = {"parameters": outputs}
        template["dag"] = {"tasks": tasks}
        if self.has_cleanup:
            # Every task is a target. Otherwise a cleanup that succeeds would make a failed run succeed (argo-workflows#11405).
            template["dag"] = {"failFast": False, "target": " ".join(each["name"] for each in tasks), "tasks": tasks}
        template |= retry_strategy(task) if task else {}
        name = self.compilation.pipeline.name if root else self.component.name.removeprefix("comp-")
        return self.compilation.add_template(template, name, task)

    def _nothing(self) -> dict[str, Any]:
        """Return a task that has no pod and ends at once.

        A DAG that contains only importers needs such a task, because Argo accepts no empty DAG.
        """
        return {"name": "nothing", "template": self.compilation.add_template({"suspend": {"duration": "0"}}, "nothing")}

    def _outputs(self, default: str) -> list[dict[str, Any]]:
        found = []
        names = names_of(self.component)
        for name, sources in (*self.dag.parameters.items(), *self.dag.artifacts.items()):
            try:
                value_from: dict[str, Any] = {"expression": self.scope.first_output(sources)}
            except ValueError as error:
                self.compilation.refusals.add_error(self.path or "pipeline", f"output {name}", error)
                continue
            if default:
                value_from["default"] = default
            found.append({"name": names.outputs.get(name, kubernetes_name(name)), "valueFrom": value_from})
        return found

    def _task(self, task: Task) -> dict[str, Any]:
        component = with_undeclared_inputs(self.compilation.pipeline.component(task), task)
        path = f"{self.path}.{task.name}" if self.path else task.name
        if isinstance(component.body, Unknown):
            self.compilation.refusals.add(
                path,
                "executor",
                f"only Vertex AI runs {component.body.kind}",
                "Use a component with an image instead.",
            )
            return {}
        found: dict[str, Any] = {"name": self.names[task.name], "template": ""}
        try:
            arguments = self._arguments(task, component, path)
            self._order(task, found)
            if task.condition:
                found["when"] = self._condition(task)
            template, extra = self._template(task, component, path, arguments)
        except ValueError as error:
            self.compilation.refusals.add_error(path, "inputs", error)
            return {}
        arguments = arguments | dict(extra)
        found["template"] = template
        if task.iterator:
            self._loop(task, component, found, arguments)
        elif "annotations" in self.compilation.templates[template]:
            arguments[DISPLAY_NAME] = Value("", display_name(task))
        if arguments:
            found["arguments"] = {"parameters": [{"name": name, "value": value.text} for name, value in arguments.items()]}
        return found

    def _condition(self, task: Task) -> str:
        inputs = self.scope.inputs_of(task)
        try:
            return lower_condition(task.condition, inputs)
        except ValueError as error:
            hint = "Compare parameters and constants, joined by && and ||. For anything else, compare the output of a step."
            raise InexpressibleError("triggerPolicy.condition", str(error), hint) from error

    def _check_importer(self, task: Task, importer: Importer) -> None:
        """Refuse everything that would need a pod, because an importer has none."""
        path = f"{self.path}.{task.name}" if self.path else task.name
        if importer.to_workspace:
            self.compilation.refusals.add(
                path,
                "importer.downloadToWorkspace",
                "an importer has no pod in Argo that could copy the artifact into the workspace",
                "Remove this option. Each step that takes the artifact finds it at its path, and can copy it from there.",
            )
        if task.condition or task.iterator:
            field = "triggerPolicy.condition" if task.condition else "iterator"
            self.compilation.refusals.add(
                path,
                field,
                "an importer has no pod in Argo that could be skipped or repeated",
                "Put the importer into a nested pipeline.",
            )

    def _order(self, task: Task, found: dict[str, Any]) -> None:
        """Set the tasks for which a task waits; `found` is changed."""
        waits = self.scope.waits_for(task)
        if not waits:
            return
        if task.when_all_ended:
            found["depends"] = " && ".join("(" + " || ".join(f"{name}.{end}" for end in _ENDED) + ")" for name in waits)
        elif self.has_cleanup:
            found["depends"] = " && ".join(waits)
        else:
            found["dependencies"] = waits

    def _arguments(self, task: Task, component: Component, path: str) -> dict[str, Value]:
        """Return Argo's name of each given input → its value."""
        names, given = names_of(component).inputs, {}
        has_executor = not isinstance(component.body, Dag)
        for name in (*component.inputs, *component.input_artifacts):
            if task.iterator and name == task.iterator.item:
                value: Value | None = _ITEM
            elif name in task.parameters:
                value = self.scope.bound_value(task, name)
            elif name in task.artifacts:
                value = self.scope.bound_artifact(task, name)
            else:
                value = self._default(task, component, name)
            if value is None:
                self.compilation.refusals.add(
                    path, f"input {name}", "the task does not give this required input", "Give it a value."
                )
            elif not (has_executor and value.is_null):
                given[names[name]] = value
        return given

    def _default(self, task: Task, component: Component, name: str) -> Value | None:
        """Return the value of an input that the task does not give. None means that the task must give it."""
        nothing = self.scope.constant(None, ParameterType.STRUCT, task)
        has_executor = not isinstance(component.body, Dag)
        if name in component.input_artifacts:
            return None if has_executor and not component.input_artifacts[name].optional else nothing
        parameter = component.inputs[name]
        if parameter.type is ParameterType.TASK_CONFIG or (parameter.has_default and self.compilation.is_launched(component)):
            return nothing  # A Python component has the default in the signature of its function.
        if parameter.has_default:
            return self.scope.constant(parameter.default, parameter.type, task)
        return None if has_executor and not parameter.optional else nothing

    def _template(
        self, task: Task, component: Component, path: str, arguments: dict[str, Value]
    ) -> tuple[str, list[tuple[str, Value]]]:
        known = self.scope.origins.known_of(task)
        if isinstance(component.body, Dag):
            default = "[]" if task.iterator else NULL if task.condition or task.when_all_ended else ""
            return lower_dag(self.compilation, component, known=known, path=path, default=default, task=task), []
        names = names_of(component).inputs
        by_argo = {argo: name for name, argo in names.items()}
        call = Call(
            task=task,
            component=component,
            path=path,
            not_given=frozenset(name for name, argo in names.items() if argo not in arguments),
            maybe_null=frozenset(by_argo[argo] for argo, value in arguments.items() if value.maybe_null),
            origins=known.origins,
            value_of=lambda source, kind: self.scope.value_of(source, kind, task),
        )
        special = lower_without_image(self.compilation, call)
        return (special, []) if special else lower_container(self.compilation, call)

    def _loop(self, task: Task, component: Component, found: dict[str, Any], arguments: dict[str, Value]) -> None:
        """Turn a task into a loop over its template; `found` and `arguments` are changed."""
        loop = task.iterator
        assert loop is not None  # noqa: S101 - the caller checks it
        if isinstance(loop.items, Constant):
            items: dict[str, Any] = {"withItems": [self._item(item, task) for item in loop.items.value]}
            if not loop.items.value:
                items = {"withParam": "[]"}
        else:
            source = (
                self.scope.bound_artifact(task, loop.items.name)
                if loop.over_artifacts
                else self.scope.bound_value(task, loop.items.name)
            )
            items = {"withParam": str(Tag(to_items(source)))}
        if loop.parallelism:
            found["template"] = self._with_limited_parallelism(task, component, found["template"], items, arguments)
        else:
            found |= items

    def _item(self, item: Any, task: Task) -> str:  # noqa: ANN401 - any JSON value
        if not has_placeholder(item):
            return to_wire(item)
        return self.scope.constant(item, ParameterType.STRUCT, task).text

    def _with_limited_parallelism(
        self, task: Task, component: Component, template: str, items: dict[str, Any], arguments: dict[str, Value]
    ) -> str:
        """Put a DAG around a loop, because Argo limits the parallelism of a template, not of a task.

        Returns:
            The name of the DAG's template.
        """
        inner = self.names[task.name]
        passed = [name for name, value in arguments.items() if value is not _ITEM]
        inside = {name: (_ITEM if value is _ITEM else runtime_value(input_expression(name))) for name, value in arguments.items()}
        if "withParam" in items and items["withParam"] != "[]":
            loop_items = "loop_items"
            while loop_items in arguments:
                loop_items += "_"
            arguments[loop_items] = Value("", items["withParam"])
            items = {"withParam": str(Tag(input_expression(loop_items)))}
            passed.append(loop_items)
        body: dict[str, Any] = {"name": inner, "template": template, **items}
        if inside:
            body["arguments"] = {"parameters": [{"name": name, "value": value.text} for name, value in inside.items()]}
        wrapper: dict[str, Any] = {}
        if passed:
            wrapper["inputs"] = {"parameters": [{"name": name} for name in passed]}
        outputs = [
            {
                "name": argo,
                "valueFrom": {"expression": self.scope.collected_output(inner, argo, component, name), "default": "[]"},
            }
            for name, argo in names_of(component).outputs.items()
        ]
        if outputs:
            wrapper["outputs"] = {"parameters": outputs}
        assert task.iterator is not None  # noqa: S101 - the caller checks it
        wrapper |= {"parallelism": task.iterator.parallelism, "dag": {"tasks": [body]}}
        for name in [name for name, value in arguments.items() if value is _ITEM]:
            del arguments[name]
        return self.compilation.add_template(wrapper, f"{component.name.removeprefix('comp-')}-limited")


def with_undeclared_inputs(component: Component, task: Task) -> Component:
    """Return the component with additional inputs: those that a task gives although the component does not declare them.

    KFP's compiler passes resources that only the run knows by such inputs.
    """
    missing = [name for name in task.parameters if name not in component.inputs]
    if not missing or isinstance(component.body, Dag):
        return component
    return replace(component, inputs={**component.inputs, **{name: Parameter(ParameterType.STRING) for name in missing}})
