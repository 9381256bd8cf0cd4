"""A DAG of the graph as a DAG of Argo's: one task each, conditions as ``when``, loops as ``withItems`` or ``withParam``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sluice.argo.compilation import Call
from sluice.argo.dags.scopes import Scope
from sluice.argo.expressions.argo_names import DISPLAY_NAME, display_name, input_of, label, names_of
from sluice.argo.expressions.values import Value, dynamic, has_placeholder, to_items
from sluice.argo.expressions.when_conditions import lower_condition
from sluice.argo.expressions.wire_json import NULL, Tag, wire
from sluice.argo.refusals import InexpressibleError
from sluice.argo.steps.claims_and_approvals import lower_special
from sluice.argo.steps.container_templates import lower_container
from sluice.argo.steps.retries import retry_strategy
from sluice.ir.graph import Constant, Dag, Importer, Parameter, ParameterType, Task, Unknown

if TYPE_CHECKING:
    from sluice.argo.compilation import Lowering
    from sluice.argo.dags.artifact_origins import Known
    from sluice.ir.graph import Component

_ENDED = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted")
_ITEM = Value("item", "{{=item}}")


def lower_dag(
    lowering: Lowering, component: Component, *, known: Known, path: str = "", default: str = "", task: Task | None = None
) -> str:
    """Lower a component's DAG and everything in it.

    Args:
        lowering: The compilation.
        component: A component whose body is a DAG.
        known: What is known of its inputs.
        path: Task names from the outermost DAG inwards, for messages.
        default: What its outputs are where it does not run; empty where it always does.
        task: The task that runs it; none for the pipeline itself.

    Returns:
        The template's name.
    """
    key = (component.name, known.key, default, task and task.retry, bool(task and display_name(task)))
    name = lowering.dags.get(key)
    if name is None:
        name = lowering.dags[key] = _Dag(lowering, component, known, path).lower(default, task)
    return name


class _Dag:
    """One DAG being lowered."""

    def __init__(self, lowering: Lowering, component: Component, known: Known, path: str) -> None:
        assert isinstance(component.body, Dag)  # noqa: S101 - the caller chose by this
        self.lowering = lowering
        self.component = component
        self.dag = component.body
        self.path = path
        self.scope = Scope(lowering, component, known, self.dag)
        self.names = self.scope.task_names
        self.has_cleanup = any(task.when_all_ended for task in self.dag.tasks.values())

    def lower(self, default: str, task: Task | None) -> str:
        """The template's name."""
        for each in self.dag.tasks.values():
            body = self.lowering.pipeline.component(each).body
            if isinstance(body, Importer):
                self._check_importer(each, body)
        lowered = [self._task(inner) for inner in self.dag.tasks.values() if inner.name in self.names]
        tasks = [each for each in lowered if each] or [self._nothing()]
        template: dict[str, Any] = {}
        names = names_of(self.component)
        root = self.component is self.lowering.pipeline.root
        if names.inputs and not root:
            template["inputs"] = {"parameters": [{"name": name} for name in names.inputs.values()]}
        outputs = self._outputs(default)
        if outputs:
            template["outputs"] = {"parameters": outputs}
        template["dag"] = {"tasks": tasks}
        if self.has_cleanup:
            # Every task is a target: a cleanup that succeeds must not make a failed run succeed (argo-workflows#11405).
            template["dag"] = {"failFast": False, "target": " ".join(each["name"] for each in tasks), "tasks": tasks}
        template |= retry_strategy(task) if task else {}
        name = self.lowering.pipeline.name if root else self.component.name.removeprefix("comp-")
        return self.lowering.add_template(template, name, task)

    def _nothing(self) -> dict[str, Any]:
        """A task without a pod that ends at once: a DAG of importers alone needs one, since Argo takes no empty DAG."""
        return {"name": "nothing", "template": self.lowering.add_template({"suspend": {"duration": "0"}}, "nothing")}

    def _outputs(self, default: str) -> list[dict[str, Any]]:
        found = []
        names = names_of(self.component)
        for name, sources in (*self.dag.parameters.items(), *self.dag.artifacts.items()):
            try:
                value_from: dict[str, Any] = {"expression": self.scope.first_of(sources)}
            except ValueError as error:
                self.lowering.findings.refuse_error(self.path or "pipeline", f"output {name}", error)
                continue
            if default:
                value_from["default"] = default
            found.append({"name": names.outputs.get(name, label(name)), "valueFrom": value_from})
        return found

    def _task(self, task: Task) -> dict[str, Any]:
        component = with_undeclared(self.lowering.pipeline.component(task), task)
        path = f"{self.path}.{task.name}" if self.path else task.name
        if isinstance(component.body, Unknown):
            self.lowering.findings.refuse(
                path,
                "executor",
                f"{component.body.kind} is run by Vertex AI alone",
                "Replace the task by a component with an image.",
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
            self.lowering.findings.refuse_error(path, "inputs", error)
            return {}
        arguments = arguments | dict(extra)
        found["template"] = template
        if task.iterator:
            self._loop(task, component, found, arguments)
        elif "annotations" in self.lowering.templates[template]:
            arguments[DISPLAY_NAME] = Value("", display_name(task))
        if arguments:
            found["arguments"] = {"parameters": [{"name": name, "value": value.text} for name, value in arguments.items()]}
        return found

    def _condition(self, task: Task) -> str:
        inputs = self.scope.inputs_of(task)
        try:
            return lower_condition(task.condition, inputs)
        except ValueError as error:
            hint = "Compare parameters and constants, joined by && and ||; decide the rest in a step, and compare its output."
            raise InexpressibleError("triggerPolicy.condition", str(error), hint) from error

    def _check_importer(self, task: Task, importer: Importer) -> None:
        """An importer has no pod: what would need one is refused."""
        path = f"{self.path}.{task.name}" if self.path else task.name
        if importer.to_workspace:
            self.lowering.findings.refuse(
                path,
                "importer.downloadToWorkspace",
                "an importer has no pod here that could copy the artifact into the workspace",
                "Leave it out: each step that takes the artifact finds it at its path, and may copy it.",
            )
        if task.condition or task.iterator:
            field = "triggerPolicy.condition" if task.condition else "iterator"
            self.lowering.findings.refuse(
                path, field, "an importer has no pod here that could be skipped or repeated", "Put it into a pipeline of its own."
            )

    def _order(self, task: Task, found: dict[str, Any]) -> None:
        """What the task waits for; what it reads of tasks without a pod, it waits for their own needs."""
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
        """Argo's name of each input that is given → its value."""
        names, given = names_of(component).inputs, {}
        leaf = not isinstance(component.body, Dag)
        for name in (*component.inputs, *component.input_artifacts):
            if task.iterator and name == task.iterator.item:
                value: Value | None = _ITEM
            elif name in task.parameters:
                value = self.scope.bound(task, name)
            elif name in task.artifacts:
                value = self.scope.artifact(task, name)
            else:
                value = self._default(task, component, name)
            if value is None:
                self.lowering.findings.refuse(path, f"input {name}", "it is required and not given", "Give it a value.")
            elif not (leaf and value.is_null):
                given[names[name]] = value
        return given

    def _default(self, task: Task, component: Component, name: str) -> Value | None:
        """What an input is where the task does not give it; None where it must."""
        nothing = self.scope.constant(None, ParameterType.STRUCT, task)
        leaf = not isinstance(component.body, Dag)
        if name in component.input_artifacts:
            return None if leaf and not component.input_artifacts[name].optional else nothing
        parameter = component.inputs[name]
        if parameter.type is ParameterType.TASK_CONFIG or (parameter.has_default and self.lowering.is_launched(component)):
            return nothing  # a Python component has the default in its own signature
        if parameter.has_default:
            return self.scope.constant(parameter.default, parameter.type, task)
        return None if leaf and not parameter.optional else nothing

    def _template(
        self, task: Task, component: Component, path: str, arguments: dict[str, Value]
    ) -> tuple[str, list[tuple[str, Value]]]:
        known = self.scope.origins.known_of(task)
        if isinstance(component.body, Dag):
            default = "[]" if task.iterator else NULL if task.condition or task.when_all_ended else ""
            return lower_dag(self.lowering, component, known=known, path=path, default=default, task=task), []
        names = names_of(component).inputs
        by_argo = {argo: name for name, argo in names.items()}
        call = Call(
            task=task,
            component=component,
            path=path,
            absent=frozenset(name for name, argo in names.items() if argo not in arguments),
            unsure=frozenset(by_argo[argo] for argo, value in arguments.items() if value.maybe_null),
            origins=known.origins,
            settle=lambda source, kind: self.scope.settle(source, kind, task),
        )
        special = lower_special(self.lowering, call)
        return (special, []) if special else lower_container(self.lowering, call)

    def _loop(self, task: Task, component: Component, found: dict[str, Any], arguments: dict[str, Value]) -> None:
        """Make a task a loop over its template; `found` and `arguments` are changed."""
        loop = task.iterator
        assert loop is not None  # noqa: S101 - the caller looked
        if isinstance(loop.items, Constant):
            items: dict[str, Any] = {"withItems": [self._item(item, task) for item in loop.items.value]}
            if not loop.items.value:
                items = {"withParam": "[]"}
        else:
            source = (
                self.scope.artifact(task, loop.items.name) if loop.over_artifacts else self.scope.bound(task, loop.items.name)
            )
            items = {"withParam": str(Tag(to_items(source)))}
        if loop.parallelism:
            found["template"] = self._limited(task, component, found["template"], items, arguments)
        else:
            found |= items

    def _item(self, item: Any, task: Task) -> str:  # noqa: ANN401 - any JSON value
        if not has_placeholder(item):
            return wire(item)
        return self.scope.constant(item, ParameterType.STRUCT, task).text

    def _limited(
        self, task: Task, component: Component, template: str, items: dict[str, Any], arguments: dict[str, Value]
    ) -> str:
        """A DAG around the loop, since Argo limits parallelism per template."""
        inner = self.names[task.name]
        passed = [name for name, value in arguments.items() if value is not _ITEM]
        inside = {name: (_ITEM if value is _ITEM else dynamic(input_of(name))) for name, value in arguments.items()}
        if "withParam" in items and items["withParam"] != "[]":
            loop_items = "loop_items"
            while loop_items in arguments:
                loop_items += "_"
            arguments[loop_items] = Value("", items["withParam"])
            items = {"withParam": str(Tag(input_of(loop_items)))}
            passed.append(loop_items)
        body: dict[str, Any] = {"name": inner, "template": template, **items}
        if inside:
            body["arguments"] = {"parameters": [{"name": name, "value": value.text} for name, value in inside.items()]}
        wrapper: dict[str, Any] = {}
        if passed:
            wrapper["inputs"] = {"parameters": [{"name": name} for name in passed]}
        outputs = [
            {"name": argo, "valueFrom": {"expression": self.scope.collected(inner, argo, component, name), "default": "[]"}}
            for name, argo in names_of(component).outputs.items()
        ]
        if outputs:
            wrapper["outputs"] = {"parameters": outputs}
        assert task.iterator is not None  # noqa: S101 - the caller looked
        wrapper |= {"parallelism": task.iterator.parallelism, "dag": {"tasks": [body]}}
        for name in [name for name, value in arguments.items() if value is _ITEM]:
            del arguments[name]
        return self.lowering.add_template(wrapper, f"{component.name.removeprefix('comp-')}-limited")


def with_undeclared(component: Component, task: Task) -> Component:
    """The component with the inputs that a task gives it and it does not declare: KFP reads resources from such."""
    missing = [name for name in task.parameters if name not in component.inputs]
    if not missing or isinstance(component.body, Dag):
        return component
    return replace(component, inputs={**component.inputs, **{name: Parameter(ParameterType.STRING) for name in missing}})
