"""The expected results of the other pipelines with loops, worked out by reading their source."""

from __future__ import annotations

from typing import Any

from argo_runs import LOG, Case, artifact
from expected_essential import PAIRS

Steps = dict[str, dict[str, Any]]


def doubles(loop: str, task: str, numbers: tuple[int, ...] = (1, 2, 3), *, output: str = "Output") -> Steps:
    """Return the steps of a loop that doubles each item."""
    return {f"{loop}[{n}].{task}": {output: 2 * number} for n, number in enumerate(numbers)}


def repeat_in_loop(outer: int, inner: dict[str, Steps] | Steps, prefix: str) -> Steps:
    """Return the same steps in each iteration of an outer loop."""
    return {f"{prefix}[{n}].{path}": step for n in range(outer) for path, step in inner.items()}


def nested_with_parameters() -> Steps:
    """Return the steps that double and add both numbers of each pair from 1, 2, 3. The last step adds all sums: 72."""
    steps: Steps = {"add": {"Output": 72}}
    for x in (1, 2, 3):
        for y in (1, 2, 3):
            loop = f"for-loop-2[{x - 1}].for-loop-4[{y - 1}]"
            steps |= {f"{loop}.double": {"Output": 2 * x}, f"{loop}.double-2": {"Output": 2 * y}}
            steps[f"{loop}.add-two-nums"] = {"Output": 2 * x + 2 * y}
    return steps


def parameters_complex() -> Steps:
    """Return the steps of loops whose results are collected in a loop, after it, and in another loop.

    The last step gives 3 · (2 + 4 + 6) + 3 · 90 = 306.
    """
    steps = doubles("for-loop-2", "double")
    steps |= repeat_in_loop(3, doubles("for-loop-4", "double-2", (4, 5, 6)) | {"simple-add": {"Output": 30}}, "for-loop-2")
    steps |= {"nested-add": {"Output": 90}, "add-two-numbers": {"Output": 306}}
    return steps | repeat_in_loop(3, {"simple-add-2": {"Output": 12}, "nested-add-2": {"Output": 90}}, "for-loop-6")


def producer_consumer() -> Steps:
    """Return the steps of a pipeline that adds 2 + 4 + 6 three times, and that collects a nested pipeline's loop."""
    steps = repeat_in_loop(3, doubles("for-loop-4", "double-pipeline.double"), "for-loop-2")
    steps |= {"add-pipeline.add": {"Output": 36}, "join-and-print": {LOG: "math"}}
    return steps | {f"add-pipeline.for-loop-2[{n}].echo-and-return": {"Output": each} for n, each in enumerate("math")}


def parallelism() -> Steps:
    """Return the steps of loops over a parameter, constants and outputs. Some have a limit, and some are nested."""
    steps: Steps = {f"for-loop-1[{n}].print-text": {LOG: text} for n, text in enumerate("ab")}
    steps |= repeat_in_loop(2, {f"for-loop-2[{n}].print-text-2": {LOG: text} for n, text in enumerate("ab")}, "for-loop-1")
    for n, pair in enumerate(PAIRS):
        steps |= {f"for-loop-4[{n}].print-text-3": {LOG: pair["A_a"]}, f"for-loop-4[{n}].print-text-4": {LOG: pair["B_b"]}}
    inner: Steps = {}
    for n, (a, b) in enumerate((("10", "20"), ("100", "200"))):
        inner |= {f"for-loop-6[{n}].print-text-5": {LOG: a}, f"for-loop-6[{n}].print-text-6": {LOG: b}}
    steps |= repeat_in_loop(2, inner, "for-loop-4")
    rows = [{"a": 1, "b": 2}, {"a": 2, "b": 3}, {"a": 3, "b": 4}]
    steps |= {f"list-dict-maker-{name}": {"Output": rows} for name in ("0", "1", "2", "3", "1-2")}
    loops = (("for-loop-8", ""), *((f"for-loop-{n}", f"-{n - 7}") for n in range(9, 14)))
    return steps | {f"{loop}[{n}].print-int{suffix}": {LOG: str(n + 1)} for loop, suffix in loops for n in range(3)}


def pipeline_parameters() -> Steps:
    """Return the steps that put a prefix before each item. The prefix comes from the pipeline or from a step."""
    steps: Steps = {"make-prefix": {"Output": "dynamic-prefix"}}
    for n, item in enumerate("ab"):
        steps[f"for-loop-1[{n}].print-with-prefix"] = {"Output": f"p: {item}"}
        steps[f"for-loop-2[{n}].print-with-prefix-2"] = {"Output": f"dynamic-prefix: {item}"}
        steps |= {f"for-loop-4[{m}].for-loop-5[{n}].print-with-prefix-3": {"Output": f"p: {item}"} for m in range(2)}
    return steps


def list_artifacts() -> Steps:
    """Return the steps that make artifacts in a nested pipeline's loop, and that loop over them outside it.

    The name of an artifact is the name of the output.
    """
    steps: Steps = {}
    for n, text in enumerate(("Hello", ",", " ", "world!")):
        steps[f"make-artifacts.for-loop-1[{n}].make-artifact"] = {"Output": artifact("Artifact", length=len(text))}
        steps[f"make-datasets.for-loop-1[{n}].make-dataset"] = {"Output": artifact("Dataset", length=len(text))}
        steps[f"for-loop-1[{n}].print-artifact-name"] = {"Output": "Output"}
        steps[f"for-loop-2[{n}].print-artifact-name-2"] = {"Output": "Output"}
    return steps


def are_datasets(count: int) -> Any:
    """Return a check that a value is a list of this many data sets."""
    return lambda found: len(found) == count and all(artifact("Dataset")(each) for each in found)


LOOPS = [
    Case(
        "artifacts_simple.yaml",
        {f"for-loop-2[{n}].double": {"out_dataset": artifact("Dataset")} for n in range(3)}
        | {"add": {"out_dataset": artifact("Dataset")}, "add-container": {"out_dataset": artifact("Dataset")}},
        outputs={"Output": are_datasets(3)},
    ),
    Case(
        "conditional_producer_and_consumers.yaml",
        {
            "for-loop-2[1].condition-3.double": {"Output": 4},
            "for-loop-2[2].condition-3.double": {"Output": 6},
            "condition-4.add": {"Output": 10},
        },
        outputs={"Output": 10},
    ),
    Case(
        "local_execution/pipeline_with_collected_artifacts.yaml",
        {f"for-loop-2[{n}].write-artifact": {"out": artifact("Artifact")} for n in range(3)}
        | {"read-and-join": {"Output": "0,1,2"}},
        outputs={"Output": "0,1,2"},
    ),
    Case(
        "nested_with_parameters.yaml",
        nested_with_parameters(),
        outputs={"Output": [[4, 6, 8], [6, 8, 10], [8, 10, 12]]},
    ),
    Case("parameters_complex.yaml", parameters_complex(), outputs={"Output": 306}),
    Case("pipeline_producer_consumer.yaml", producer_consumer(), outputs={"Output": 36}),
    Case("pipeline_with_parallelfor_list_artifacts_GH-12033.yaml", list_artifacts()),
    Case("pipeline_with_parallelfor_parallelism.yaml", parallelism(), {"loop_parameter": '["a", "b"]'}),
    Case(
        "pipeline_with_parallelfor_pipeline_param.yaml",
        pipeline_parameters(),
        {"loop_parameter": '["a", "b"]', "prefix": "p"},
    ),
    Case(
        "pythonic_artifacts_with_list_of_artifacts.yaml",
        {
            f"for-loop-1[{n}].make-dataset": {"Output": artifact("Dataset", length=len(text))}
            for n, text in enumerate(("Hello", ",", " ", "world!"))
        }
        | {"join-datasets": {"Output": artifact("Dataset")}},
        outputs={"Output": artifact("Dataset")},
    ),
]
