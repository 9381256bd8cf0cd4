"""Random pipelines with nested DAGs, conditions, loops, alternatives, collections, artifacts, optional inputs and odd names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from sluice.ir.graph import (
    Artifact,
    Binding,
    Component,
    Constant,
    Container,
    Dag,
    Executor,
    FromFinalStatus,
    FromInput,
    FromTask,
    Importer,
    Iterator,
    Parameter,
    ParameterType,
    Pipeline,
    Retry,
    Task,
)

Kind = ParameterType | str
MODEL, MODELS = "model", "models"
SCHEMA = {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}
NAMES = [
    *("train", "Train", "TRAIN", "train!", "a b", "a-b", "a_b", "A B", "a", "é", "日本", "x" * 300, "X" * 300, "1st", "2", "-"),
    *("loop_items", "loop_items_2", "item", "in", "not", "workflow", "inputs", "tasks", "pipelinechannel--a", "setting_1"),
    *(
        "pipelinechannel--a-Output",
        "'quoted'",
        'say "x"',
        "{{x}}",
        "$(HOME)",
        "a.b",
        "executor_output.json",
        "nil",
        "main",
        "kfp",
    ),
]
CONSTANTS: dict[Kind, list[Any]] = {
    ParameterType.STRING: ["", "x", "{{workflow.name}}", "$(HOME) $$", "it's", "null", "{{$.pipeline_job_name}}", "é\n"],
    ParameterType.INTEGER: [0, -1, 2**60],
    ParameterType.DOUBLE: [0.5, 3.0],
    ParameterType.BOOLEAN: [True, False],
    ParameterType.LIST: [[], [1, "a", None], [{"a": "{{x}}"}]],
    ParameterType.STRUCT: [{}, {"a": [1.0], "{{": "$"}],
}
PLAIN = list(CONSTANTS)


@dataclass
class _Scope:
    """A DAG while it is generated: the sources that its tasks can read, and the tasks."""

    sources: dict[Kind, list[FromInput | FromTask]] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)

    def offer(self, source: FromInput | FromTask, kind: Kind) -> None:
        self.sources.setdefault(kind, []).append(source)


@dataclass
class _Maker:
    draw: Any
    components: dict[str, Component] = field(default_factory=dict)
    budget: int = 14

    def pick(self, options: list[Any]) -> Any:
        return self.draw(st.sampled_from(options))

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(0, 99)) < percent)

    def name(self, taken: Any) -> str:
        found = str(self.pick(NAMES))
        while found in taken:
            found += "~"
        return found

    def names(self, most: int) -> list[str]:
        found: list[str] = []
        for _ in range(self.draw(st.integers(0, most))):
            found.append(self.name(found))
        return found

    # --- components

    def executor_component(self) -> Component:
        known = [each for each in self.components.values() if not isinstance(each.body, Dag) and "status" not in each.inputs]
        if known and self.chance(40):
            return self.pick(known)
        inputs = {name: self.parameter() for name in self.names(3)}
        artifacts = {name: self.artifact() for name in self.names(2) if name not in inputs}
        outputs = {name: Parameter(self.pick(PLAIN)) for name in self.names(2)}
        made = {name: Artifact(SCHEMA) for name in self.names(2) if name not in outputs}
        body: Executor = self.container(inputs, outputs)
        if self.chance(10):
            inputs, artifacts, outputs, made = {}, {}, {}, {"artifact": Artifact(SCHEMA)}
            body = Importer(Constant("s3://bucket/key"), SCHEMA, {"k": {"{{x}}": {"b": 1}}})
        return self.add(body, inputs, artifacts, outputs, made)

    def container(self, inputs: dict[str, Parameter], outputs: dict[str, Parameter]) -> Container:
        command = [f"{{{{$.outputs.parameters['{name}'].output_file}}}}" for name in outputs if "'" not in name]
        command += [f"x{{{{$.inputs.parameters['{name}']}}}}" for name in inputs if "'" not in name and "{" not in name]
        command += [
            f'{{"IfPresent": {{"InputName": "{name}", "Then": ["--a", {{"Concat": ["b", "c"]}}], "Else": ["{{{{x}}}}"]}}}}'
            for name, parameter in inputs.items()
            if parameter.optional and '"' not in name
        ]
        if self.chance(60):
            return Container("image:1", ("python3", "-m", "run"), ("--executor_input", "{{$}}", "{{workflow.name}}"))
        return Container("image:1", ("sh", "-c", "echo $0 {{x}}"), tuple(command) if '"' not in "".join(inputs) else ())

    def parameter(self) -> Parameter:
        kind = self.pick(PLAIN)
        form = self.draw(st.integers(0, 2))
        if form == 0:
            return Parameter(kind)
        return (
            Parameter(kind, optional=True)
            if form == 1
            else Parameter(kind, self.pick(CONSTANTS[kind]), has_default=True, optional=True)
        )

    def artifact(self) -> Artifact:
        return Artifact(SCHEMA, is_list=self.chance(30), optional=self.chance(30))

    def add(self, body: Any, inputs: Any, artifacts: Any, outputs: Any, made: Any) -> Component:
        name = f"comp-{self.name({each.removeprefix('comp-') for each in self.components})}"
        self.components[name] = Component(name, body, inputs, artifacts, outputs, made)
        return self.components[name]

    # --- DAGs

    def dag(self, scope: _Scope, depth: int) -> Dag:
        for _ in range(self.draw(st.integers(1, 4))):
            if self.budget <= 0 and scope.tasks:
                break
            self.budget -= 1
            self.group(scope, depth) if depth < 3 and self.chance(45) else self.call(scope)
        if self.chance(20):
            self.cleanup(scope)
        given = {FromTask: [(s, kind) for kind, found in scope.sources.items() for s in found if isinstance(s, FromTask)]}[
            FromTask
        ]
        chosen = self.draw(st.lists(st.sampled_from(given), max_size=3, unique=True)) if given else []
        parameters: dict[str, tuple[FromTask, ...]] = {}
        artifacts: dict[str, tuple[FromTask, ...]] = {}
        for source, kind in chosen:
            place = artifacts if kind in {MODEL, MODELS} else parameters
            others = [s for s, other in given if other == kind and s != source]
            more = (self.pick(others),) if others and self.chance(40) else ()
            place[self.name({*parameters, *artifacts})] = (source, *more)
        return Dag(scope.tasks, parameters, artifacts)

    def call(self, scope: _Scope) -> None:
        component = self.executor_component()
        parameters, artifacts = self.inputs(scope, component)
        if any(not artifact.optional and name not in artifacts for name, artifact in component.input_artifacts.items()):
            return  # No task in this DAG makes the required artifact.
        self.place(scope, component, parameters, artifacts)

    def inputs(self, scope: _Scope, component: Component) -> tuple[dict[str, Binding], dict[str, FromInput | FromTask]]:
        parameters = {
            name: self.bind(scope, parameter.type)
            for name, parameter in component.inputs.items()
            if not parameter.optional or self.chance(60)
        }
        artifacts = {
            name: self.pick(scope.sources[MODELS if artifact.is_list else MODEL])
            for name, artifact in component.input_artifacts.items()
            if scope.sources.get(MODELS if artifact.is_list else MODEL) and (not artifact.optional or self.chance(60))
        }
        return parameters, artifacts

    def bind(self, scope: _Scope, kind: Kind) -> Binding:
        known = scope.sources.get(kind, [])
        if known and self.chance(70):
            return Binding(self.pick(known))
        if scope.sources.get(ParameterType.STRUCT) and self.chance(15):
            return Binding(self.pick(scope.sources[ParameterType.STRUCT]), ("a", "b c"))
        return Binding(Constant(self.pick(CONSTANTS[kind])))

    def place(self, scope: _Scope, component: Component, parameters: Any, artifacts: Any, **fields: Any) -> Task:
        name = self.name(scope.tasks)
        after = (self.pick(list(scope.tasks)),) if scope.tasks and self.chance(30) else ()
        retry = Retry(2, 1.5, 2.0, 60.0) if self.chance(15) else None
        task = Task(name, name, component.name, parameters, artifacts, after, retry=retry, cached=self.chance(50), **fields)
        scope.tasks[name] = task
        looped = task.iterator is not None
        for output, parameter in component.outputs.items():
            scope.offer(FromTask(name, output), ParameterType.LIST if looped else parameter.type)
        for output, artifact in component.output_artifacts.items():
            scope.offer(FromTask(name, output), MODELS if looped or artifact.is_list else MODEL)
        return task

    def group(self, scope: _Scope, depth: int) -> None:
        """Add a nested DAG: a plain one, one with a condition, or a loop."""
        inside = _Scope()
        inputs: dict[str, Parameter] = {}
        input_artifacts: dict[str, Artifact] = {}
        parameters: dict[str, Binding] = {}
        artifacts: dict[str, FromInput | FromTask] = {}
        for name in self.names(3):
            inputs[name] = Parameter(kind := self.pick(PLAIN))
            parameters[name] = self.bind(scope, kind)
            inside.offer(FromInput(name), kind)
        for kind in (MODEL, MODELS):
            if scope.sources.get(kind):
                name = self.name({*inputs, *input_artifacts})
                input_artifacts[name] = Artifact(SCHEMA, is_list=kind == MODELS)
                artifacts[name] = self.pick(scope.sources[kind])
                inside.offer(FromInput(name), kind)
        fields: dict[str, Any] = {}
        if self.chance(40):
            fields["iterator"] = self.loop(inputs, input_artifacts, inside)
        usable = [name for name in inputs if name in parameters and "'" not in name]
        if usable and self.chance(40):
            fields["condition"] = f"inputs.parameter_values['{self.pick(usable)}'] == 'x' || 1 < 2"
        dag = self.dag(inside, depth + 1)
        outputs, made = self.declared(inside, dag)
        self.place(scope, self.add(dag, inputs, input_artifacts, outputs, made), parameters, artifacts, **fields)

    def declared(self, scope: _Scope, dag: Dag) -> tuple[dict[str, Parameter], dict[str, Artifact]]:
        return (
            {name: Parameter(self.kind_of(scope, found[0])) for name, found in dag.parameters.items()},
            {name: Artifact(SCHEMA, is_list=self.kind_of(scope, found[0]) == MODELS) for name, found in dag.artifacts.items()},
        )

    def kind_of(self, scope: _Scope, source: FromTask) -> Any:
        return next(kind for kind, found in scope.sources.items() if source in found)

    def loop(self, inputs: Any, input_artifacts: Any, inside: _Scope) -> Iterator:
        limit = self.pick([0, 0, 1, 3])
        item = self.name({*inputs, *input_artifacts})
        lists = [name for name, artifact in input_artifacts.items() if artifact.is_list]
        if lists and self.chance(50):
            input_artifacts[item] = Artifact(SCHEMA)
            inside.offer(FromInput(item), MODEL)
            return Iterator(item, FromInput(lists[0]), over_artifacts=True, parallelism=limit)
        inputs[item] = Parameter(ParameterType.STRUCT)
        inside.offer(FromInput(item), ParameterType.STRUCT)
        held = [name for name, parameter in inputs.items() if parameter.type is ParameterType.LIST]
        if held:
            return Iterator(item, FromInput(held[0]), parallelism=limit)
        return Iterator(item, Constant(self.pick(CONSTANTS[ParameterType.LIST])), parallelism=limit)

    def cleanup(self, scope: _Scope) -> None:
        """Add a task that runs after every final state of another task and gets its final status."""
        if not scope.tasks:
            return
        watched = [name for name, task in scope.tasks.items() if not isinstance(self.components[task.component].body, Importer)]
        if not watched:
            return
        component = self.add(
            Container("image:1", ("python3",), ("{{$}}",)), {"status": Parameter(ParameterType.FINAL_STATUS)}, {}, {}, {}
        )
        name = self.name(scope.tasks)
        last = self.pick(watched)
        binding = Binding(FromFinalStatus(last))
        scope.tasks[name] = Task(name, name, component.name, {"status": binding}, after=(last,), when_all_ended=True)


@st.composite
def pipelines(draw: st.DrawFn, budget: int = 14) -> Pipeline:
    """Draw a pipeline in the form that `sluice.ir.reading` returns."""
    maker = _Maker(draw, budget=budget)
    scope = _Scope()
    inputs: dict[str, Parameter] = {}
    for name in maker.names(3):
        inputs[name] = Parameter(
            kind := maker.pick(PLAIN),
            default=1 if kind is ParameterType.INTEGER else None,
            has_default=kind is ParameterType.INTEGER,
        )
        scope.offer(FromInput(name), kind)
    made = {name: Artifact(SCHEMA) for name in maker.names(1) if name not in inputs}
    for name in made:
        scope.offer(FromInput(name), MODEL)
    dag = maker.dag(scope, 0)
    root = Component("root", dag, inputs, made, *maker.declared(scope, dag))
    return Pipeline(str(maker.pick(NAMES)), "", "{{x}}", root, maker.components)
