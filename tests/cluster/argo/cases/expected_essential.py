"""The expected results of the pipelines in `essential/` and `parallel_and_nested/`, worked out by reading their source."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from argo_runs import LOG, Case, artifact

if TYPE_CHECKING:
    from argo_runs import Run

PAIRS = [{"A_a": "1", "B_b": "2"}, {"A_a": "10", "B_b": "20"}]


def check_branch_of_the_container_coin(run: Run) -> None:
    """Check that only the drawn branch ran and printed its message. The containers write raw text.

    After heads, the pipeline draws 0 to 9 and compares with 5. After tails, it draws 10 to 19 and compares with 15.
    """
    side = run.text("flip-coin", "output")
    assert side in {"heads", "tails"}
    outer, draw, limit = (
        ("condition-1", "generate-random-number", 5) if side == "heads" else ("condition-4", "generate-random-number-2", 15)
    )
    number = int(run.text(f"{outer}.{draw}", "output"))
    assert limit - 5 <= number <= limit + 4
    branch = {
        ("heads", True): "condition-2.print",
        ("heads", False): "condition-3.print-2",
        ("tails", True): "condition-5.print-3",
        ("tails", False): "condition-6.print-4",
    }[side, number > limit]
    path = f"{outer}.{branch}"
    assert sorted(run.steps) == sorted(["flip-coin", f"{outer}.{draw}", path])
    assert f"{side} and {number} {'>' if number > limit else '<='} {limit}!" in run.log(path).splitlines()


def check_second_coin_after_heads(run: Run) -> None:
    """Check that the coin is printed, and after heads also a second coin and the pipeline's text."""
    first = run.value("flip-coin-op", "Output")
    expected = {"flip-coin-op": "", "print-op": first}
    if first == "heads":
        second = run.value("condition-1.flip-coin-op-2", "Output")
        assert second in {"heads", "tails"}
        expected |= {"condition-1.flip-coin-op-2": "", "condition-1.print-op-2": second}
        expected["condition-1.print-op-3"] = "condition test"
    assert sorted(run.steps) == sorted(expected)
    for path, line in expected.items():
        assert not line or line in run.log(path).splitlines()


def check_sequential(run: Run) -> None:
    """Check that the second step waits for the first one, and the third one for both."""
    spans = [run.step_times(path) for path in ("print-text", "print-text-2", "print-text-3")]
    assert spans[0][1] <= spans[1][0] <= spans[1][1] <= spans[2][0]


def check_no_overlap(run: Run) -> None:
    """Check that an iteration starts only when the previous one has ended, because the parallelism is 1."""
    spans = sorted(run.step_times(f"for-loop-2[{n}].example-component") for n in range(3))
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


def check_yapf_was_imported(run: Run) -> None:
    """Check that the component printed the names in the package yapf, which it installs."""
    (path,) = run.steps
    assert any(line.startswith("[") and "'__version__'" in line for line in run.log(path).splitlines())


def is_confusion_matrix(matrix: Any) -> bool:
    """Return whether the confusion matrix counts 39 training rows: 53 rows less a quarter (14, rounded up) for the test."""
    rows = [row["row"] for row in matrix["rows"]]
    names = [each["displayName"] for each in matrix["annotationSpecs"]]
    return sum(map(sum, rows)) == 39 and names == ["Iris-Setosa", "Iris-Versicolour", "Iris-Virginica"]


def is_accuracy(value: Any) -> bool:
    """Return whether a value is a whole number from 0 to 100, because the component draws one at random."""
    return type(value) is int and 0 <= value <= 100


ESSENTIAL = [
    Case(
        "essential/component_with_env_variable.yaml",
        {"read-env-var": {"Output": "env_var_value"}},
        outputs={"Output": "env_var_value"},
    ),
    Case("essential/component_with_pip_index_urls.yaml", {"component-op": {}}, check=check_yapf_was_imported),
    Case("essential/component_with_pip_install.yaml", {"component-with-pip-install": {}}, check=check_yapf_was_imported),
    Case("essential/component_with_pip_install_in_venv.yaml", {"component-with-pip-install": {}}, check=check_yapf_was_imported),
    Case(
        "essential/concat_message.yaml",
        {"concat-message": {"Output": "Hello, world"}},
        {"message1": "Hello, ", "message2": "world"},
        {"Output": "Hello, world"},
    ),
    Case("essential/container_no_input.yaml", {"container-no-input": {LOG: "hello world"}}),
    Case(
        "essential/dict_input.yaml",
        {"dict-input": {LOG: "{'A': 1, 'B': [True, None, 'x']}"}},
        {"struct": '{"A": 1, "B": [true, null, "x"]}'},
    ),
    Case(
        "essential/embedded_artifact.yaml",
        {"read-embedded-artifact-dir": {}, "read-embedded-artifact-file": {}},
        # The file pins a version of kfp without dsl.EmbeddedInput. KFP's own tests replace it with their current version.
        replace=(("kfp==2.14.3", "kfp==2.17.0"),),
    ),
    Case(
        "essential/iris_pipeline_compiled.yaml",
        {
            "create-dataset": {"iris_dataset": artifact("Dataset")},
            "normalize-dataset": {"normalized_iris_dataset": artifact("Dataset", state="Normalized")},
            "train-model": {
                "metrics": artifact("ClassificationMetrics", confusionMatrix=is_confusion_matrix),
                "model": artifact("Model", framework="scikit-learn"),
            },
        },
    ),
    Case(
        "essential/lightweight_python_functions_pipeline.yaml",
        {
            "preprocess": {
                "output_parameter_path": "message",
                "output_bool_parameter_path": True,
                "output_dict_parameter_path": {"A": 1, "B": 2},
                "output_list_parameter_path": ["a", "b", "c"],
                "output_dataset_one": artifact("Dataset"),
                "output_dataset_two_path": artifact("Dataset"),
            },
            "train": {"model": artifact("Model", accuracy=0.9)},
        },
        {"message": "message"},
    ),
    Case(
        "essential/lightweight_python_functions_with_outputs.yaml",
        {
            "add-numbers": {"Output": 5},
            "concat-message": {"Output": "onetwo"},
            "output-artifact": {"Output": artifact("Dataset")},
            "output-named-tuple": {"scalar": "123", "metrics": artifact("Metrics"), "model": artifact("Model")},
        },
        {"first_message": "one", "second_message": "two", "first_number": "2", "second_number": "3"},
    ),
    Case(
        "essential/pipeline_with_after.yaml",
        {"print-text": {LOG: "1st task"}, "print-text-2": {LOG: "2nd task"}, "print-text-3": {LOG: "3rd task"}},
        check=check_sequential,
    ),
    Case("essential/pipeline_with_condition.yaml", None, check=check_second_coin_after_heads),
    Case(
        "essential/pipeline_with_metrics_outputs.yaml",
        {
            path: {"metrics": artifact("Metrics", accuracy=is_accuracy)}
            for path in ("output-metrics", "for-loop-2[0].output-metrics-2", "for-loop-2[1].output-metrics-2")
        },
    ),
    Case(
        "essential/pipeline_with_nested_conditions_yaml.yaml",
        None,
        check=check_branch_of_the_container_coin,
        image="python:alpine3.9",
    ),
    Case(
        "essential/pipeline_with_outputs.yaml",
        {
            "print-op1": {"Output": "Hello"},
            "inner-pipeline.print-op1": {"Output": "world"},
            "inner-pipeline.print-op2": {"data": artifact("Artifact")},
        },
        outputs={"Output": artifact("Artifact")},
    ),
    Case(
        "essential/pipeline_with_params_containing_format.yaml",
        {
            "print-op": {"Output": "Hello KFP"},
            "print-op-2": {"Output": "Hello KFP, again."},
            "for-loop-2[0].print-op2": {"Output": "1 and KFP."},
            "for-loop-2[1].print-op2": {"Output": "2 and KFP."},
        },
    ),
    Case(
        "essential/pipeline_with_reused_component.yaml",
        {"add-numbers": {"Output": 5}, "add-numbers-2": {"Output": 10}, "add-numbers-3": {"Output": 17}},
    ),
]


def _steps_of(pipeline: str, names: str) -> dict[str, dict[str, Any]]:
    """Return the steps of a nested pipeline. They have no outputs, and they fail if an optional input has a wrong value."""
    return {f"{pipeline}.{name}": {} for name in names.split()}


LOOPS: dict[str, dict[str, Any]] = {"args-generator-op": {"Output": PAIRS}}
LOOPS |= {f"for-loop-1[{n}].print-text": {LOG: text} for n, text in enumerate("ab")}
for _loop, _struct, _first, _second in (
    ("for-loop-2", "print-struct", "print-text-2", "print-text-3"),
    ("for-loop-4", "print-struct-2", "print-text-4", "print-text-5"),
):
    for _n, _pair in enumerate(PAIRS):
        LOOPS[f"{_loop}[{_n}].{_struct}"] = {LOG: repr(_pair)}
        LOOPS[f"{_loop}[{_n}].{_first}"] = {LOG: _pair["A_a"]}
        LOOPS[f"{_loop}[{_n}].{_second}"] = {LOG: _pair["B_b"]}

PARALLEL = [
    Case(
        "parallel_and_nested/nested_pipeline_opt_input_child_level_compiled.yaml",
        _steps_of(
            "nested-pipeline",
            "component-a-bool component-a-int component-a-str component-b-bool component-b-int component-b-str",
        ),
    ),
    Case(
        "parallel_and_nested/nested_pipeline_opt_inputs_nil_compiled.yaml",
        _steps_of("nested-pipeline", "component-bool component-int component-str"),
    ),
    Case(
        "parallel_and_nested/nested_pipeline_opt_inputs_parent_level_compiled.yaml",
        _steps_of(
            "nested-pipeline-nil-defaults", "component-nil-bool-default component-nil-int-default component-nil-str-default"
        )
        | _steps_of("nested-pipeline-non-nil-defaults", "component-bool-default component-int-default component-str-default"),
    ),
    Case(
        "parallel_and_nested/parallel_for_mount_pvc.yaml",
        {"createpvc": {}, "for-loop-2[0].example-component": {"Output": "a"}},
    ),
    Case(
        "parallel_and_nested/parallel_for_secret.yaml",
        {f"for-loop-2[{n}].example-component": {"Output": "user1"} for n in range(3)},
        check=check_no_overlap,
    ),
    Case(
        "parallel_and_nested/pipeline_in_pipeline.yaml",
        {
            "print-op1": {"Output": "Hello"},
            "inner-pipeline.print-op1": {"Output": "world"},
            "inner-pipeline.print-op2": {LOG: "world"},
        },
    ),
    Case(
        "parallel_and_nested/pipeline_in_pipeline_loaded_from_yaml.yaml",
        {
            "pipeline-in-pipeline.print-op1": {"Output": "Hello"},
            "pipeline-in-pipeline.inner-pipeline.print-op1": {"Output": "world"},
            "pipeline-in-pipeline.inner-pipeline.print-op2": {"data": artifact("Artifact")},
            "print-op1": {LOG: "world"},
        },
    ),
    Case("parallel_and_nested/pipeline_with_loops.yaml", LOOPS),
]
