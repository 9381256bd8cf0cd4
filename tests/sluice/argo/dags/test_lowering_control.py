"""Tests of conditions, loops, alternatives, collections and exit handlers, which become features of Argo's DAGs without pods."""

import json

from argo_components import add, compare, fail, many, report, say, say_maybe, score, table, total, train
from argo_pipelines import arguments, lower, outputs
from kfp import dsl


def test_each_branch_is_a_dag_with_a_when() -> None:
    @dsl.pipeline(name="flow")
    def flow(n: int) -> None:
        flipped = say(text="heads")
        with dsl.If(flipped.output == "heads"):
            say(text="h")
            with dsl.If(n > 3):
                say(text="deep")
        with dsl.Elif(n <= 0):
            say(text="n")
        with dsl.Else():
            say(text="e")

    found = lower(flow)
    branches = found.inner("condition-branches*")["dag"]["tasks"]
    whens = [branch["when"] for branch in branches]
    assert len(whens) == 3
    assert whens[0].startswith("{{=(fromJSON(inputs.parameters.say_Output) == 'heads')")
    assert "!(" in whens[1]
    assert "float(trimPrefix(string(fromJSON(inputs.parameters.n)), '\\u0000#'))" in whens[1]
    assert whens[2].count("!(") == 2
    assert found.task("condition-branches*")["dependencies"] == ["say"]
    deep = found.inner("condition-branches*", "condition-*")["dag"]["tasks"]
    assert sorted("when" in task for task in deep) == [False, True]


def test_the_first_branch_that_ran_gives_the_parameter() -> None:
    @dsl.pipeline(name="flow")
    def flow(text: str) -> str:
        with dsl.If(text == "a"):
            one = say(text="one")
        with dsl.Elif(text == "b"):
            two = say(text="two")
        with dsl.Else():
            three = say(text="three")
        chosen = dsl.OneOf(one.output, two.output, three.output)
        say(text=chosen)
        return chosen

    found = lower(flow)
    branches = found.inner("condition-branches*")
    (given,) = outputs(branches).values()
    tasks = [task["name"] for task in branches["dag"]["tasks"]]
    places = [given["expression"].index(f"tasks['{name}']") for name in tasks]
    assert places == sorted(places)
    assert given["expression"].count("!= 'null'") == 2
    for name in tasks:
        assert [value["default"] for value in outputs(found.inner("condition-branches*", name)).values()] == ["null"]
    assert "tasks['condition-branches-" in arguments(found.task("say-*"))["text"]


def test_the_first_branch_that_ran_gives_the_artifact() -> None:
    @dsl.pipeline(name="flow")
    def flow(text: str) -> None:
        with dsl.If(text == "a"):
            one = train(rate=0.1)
        with dsl.Else():
            two = train(rate=0.2)
        score(model=dsl.OneOf(one.outputs["model"], two.outputs["model"]))

    found = lower(flow)
    assert "tasks['condition-branches-" in arguments(found.task("score"))["model"]
    assert len(found.inner("score")["inputs"]["artifacts"]) == 1


def test_a_loop_over_constants_contains_each_item_as_wire_json() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        with dsl.ParallelFor(["a", "{{workflow.name}}", "$(HOME)"]) as item:
            say(text=item)

    task = lower(flow).task("for-loop-2")
    assert task["withItems"] == ['"a"', '"\\u007b\\u007bworkflow.name}}"', '"\\u0024(HOME)"']
    assert set(arguments(task).values()) == {"{{=item}}"}


def test_a_loop_over_numbers_and_dicts_keeps_their_types() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        with dsl.ParallelFor([{"a": 1, "b": 3}, {"a": 2, "b": 4}]) as item:
            add(a=item.a, b=item.b)

    found = lower(flow)
    loop = (
        found.task("for-loop-1")
        if any(t["name"] == "for-loop-1" for t in found.entry["dag"]["tasks"])
        else found.task("for-loop-2")
    )
    assert [json.loads(item) for item in loop["withItems"]] == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    inside = found.inner(loop["name"])["dag"]["tasks"]
    texts = {task["name"]: str(arguments(task)) for task in inside}
    assert "['a']" in texts["add"]
    assert "['b']" in texts["add"]


def test_a_loop_over_a_parameter_and_an_output_runs_over_their_items() -> None:
    @dsl.pipeline(name="flow")
    def flow(items: list) -> None:
        with dsl.ParallelFor(items) as item:
            say(text=item)
        with dsl.ParallelFor(many().output) as item:
            say(text=item)

    found = lower(flow)
    loops = [task["withParam"] for task in found.entry["dag"]["tasks"] if "withParam" in task]
    assert len(loops) == 2
    assert "fromJSON(trim(workflow.parameters.items))" in loops[0]
    assert "fromJSON(tasks['many'].outputs.parameters.Output)" in loops[1]
    assert all(loop.startswith("{{=toJson(map(") for loop in loops)


def test_a_task_in_a_loop_reads_fields_of_the_item_by_their_keys() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        made = table()
        say(text="x").after(made)
        with dsl.ParallelFor(many().output) as item:
            say(text=item.key)

    found = lower(flow)
    loop = next(task for task in found.entry["dag"]["tasks"] if "withParam" in task)
    assert "['key']" in str(arguments(found.inner(loop["name"])["dag"]["tasks"][0]))


def test_a_nested_loop_is_a_loop_in_the_template_of_the_outer_loop() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        with dsl.ParallelFor(["a", "b"]) as one, dsl.ParallelFor(["c", "d"]) as two:
            say(text=one)
            say(text=two)

    found = lower(flow)
    outer = found.entry["dag"]["tasks"][0]
    inner = found.inner(outer["name"])["dag"]["tasks"][0]
    assert len(outer["withItems"]) == len(inner["withItems"]) == 2
    assert list(arguments(inner).values()).count("{{=item}}") == 1
    assert len(found.inner(outer["name"], inner["name"])["dag"]["tasks"]) == 2


def test_parallelism_limits_only_its_own_loop() -> None:
    @dsl.pipeline(name="flow")
    def flow(items: list) -> None:
        with dsl.ParallelFor(items, parallelism=2) as item:
            say(text=item)
        with dsl.ParallelFor(["a"]) as item:
            say(text=item)

    found = lower(flow)
    limited = [template for template in found.spec["templates"] if template.get("parallelism")]
    assert [template["parallelism"] for template in limited] == [2]
    (task,) = limited[0]["dag"]["tasks"]
    assert task["withParam"] == "{{=inputs.parameters.loop_items}}"
    assert "parallelism" not in found.spec


def test_inputs_may_have_the_same_name_as_the_items_of_a_loop() -> None:
    @dsl.pipeline(name="flow")
    def flow(loop_items: list, loop_items_2: str) -> None:
        with dsl.ParallelFor(loop_items, parallelism=2) as item:
            say(text=item)
            say(text=loop_items_2)

    found = lower(flow)
    (limited,) = [template for template in found.spec["templates"] if template.get("parallelism")]
    names = [each["name"] for each in limited["inputs"]["parameters"]]
    assert len(set(names)) == len(names)
    assert set(arguments(limited["dag"]["tasks"][0])) >= {"loop_items", "loop_items_2"}


def test_a_loop_over_an_empty_list_gives_an_empty_list() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> list:
        with dsl.ParallelFor(many().output) as item:
            said = say(text=item)
        total(numbers=dsl.Collected(said.output))
        return dsl.Collected(said.output)

    found = lower(flow)
    loop = next(task for task in found.entry["dag"]["tasks"] if "withParam" in task)
    assert [value["default"] for value in outputs(found.inner(loop["name"])).values()] == ["[]"]


def test_collected_parameters_become_one_list() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        with dsl.ParallelFor([1, 2, 3]) as item:
            summed = add(a=item)
        total(numbers=dsl.Collected(summed.output))

    given = arguments(lower(flow).task("total"))["numbers"]
    assert "map(fromJSON(tasks['for-loop-2'].outputs.parameters." in given
    assert "concat(#acc" not in given


def test_collected_artifacts_share_one_folder() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        with dsl.ParallelFor([0.1, 0.2]) as item:
            trained = train(rate=item)
        compare(models=dsl.Collected(trained.outputs["model"]))

    found = lower(flow)
    (artifact,) = found.inner("compare")["inputs"]["artifacts"]
    assert artifact["path"] == "/kfp/store/{{workflow.name}}/train.model"
    assert artifact["s3"] == {"key": "{{workflow.name}}/train.model"}
    loop = next(task for task in found.entry["dag"]["tasks"] if "withItems" in task)
    made = found.inner(loop["name"], "train")["outputs"]["artifacts"][0]
    assert made["s3"]["key"] == "{{workflow.name}}/train.model/{{pod.name}}/model"
    assert "memoize" not in found.inner(loop["name"], "train"), "a collected artifact must be in the folder of this run"


def test_a_list_of_artifacts_from_nested_loops_is_flat() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        with dsl.ParallelFor([1, 2]), dsl.ParallelFor([0.1, 0.2]) as rate:
            trained = train(rate=rate)
        compare(models=dsl.Collected(trained.outputs["model"]))

    assert "concat(#acc, #)" in arguments(lower(flow).task("compare"))["models"]


def test_a_list_of_parameters_from_nested_loops_has_one_level_for_each_loop() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        with dsl.ParallelFor([1, 2]), dsl.ParallelFor([3, 4]) as item:
            summed = add(a=item)
        total(numbers=dsl.Collected(summed.output))

    found = lower(flow)
    assert "concat(#acc" not in arguments(found.task("total"))["numbers"]
    assert "concat(#acc" not in str(outputs(found.inner("for-loop-*")))


def test_an_exit_task_runs_after_every_final_state_and_gets_the_final_status() -> None:
    @dsl.pipeline(name="flow")
    def flow(note: str = "n") -> None:
        with dsl.ExitHandler(report(note=note)):
            fail()
            say(text="x")

    found = lower(flow)
    handler = found.task("report")
    for end in ("Succeeded", "Failed", "Errored", "Skipped", "Omitted"):
        assert f"exit-handler-1.{end}" in handler["depends"]
    assert found.entry["dag"]["failFast"] is False
    assert set(found.entry["dag"]["target"].split()) == {"report", "exit-handler-1"}
    status = arguments(handler)["status"]
    assert '"pipelineTaskName": "exit-handler-1"' in status
    assert "tasks['exit-handler-1'].status" in status
    assert all(f'"{key}"' in status for key in ("state", "error", "code", "message", "pipelineJobResourceName"))


def test_an_exit_handler_may_contain_loops_and_conditions() -> None:
    @dsl.pipeline(name="flow")
    def flow(text: str) -> None:
        with dsl.ExitHandler(report(), name="watched"):
            with dsl.ParallelFor(["a"]) as item:
                say(text=item)
            with dsl.If(text == "x"):
                say(text="y")

    found = lower(flow)
    assert [task["name"] for task in found.inner("exit-handler-1")["dag"]["tasks"]] == ["condition-4", "for-loop-3"]
    assert '"pipelineTaskName": "exit-handler-1"' in arguments(found.task("report"))["status"]


def test_a_task_may_ignore_the_failure_of_an_upstream_task() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        failed = fail()
        say_maybe(text=failed.output).ignore_upstream_failure()

    found = lower(flow)
    assert "fail.Failed" in found.task("say-maybe")["depends"]
    assert "?? 'null'" in arguments(found.task("say-maybe"))["text"]


def test_after_adds_only_a_dependency() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        first = say(text="1")
        second = say(text="2").after(first)
        say(text="3").after(first, second)

    found = lower(flow)
    assert "dependencies" not in found.task("say")
    assert found.task("say-2")["dependencies"] == ["say"]
    assert found.task("say-3")["dependencies"] == ["say", "say-2"]
    assert len({task["template"] for task in found.entry["dag"]["tasks"]}) == 1, "equal steps share a template"
