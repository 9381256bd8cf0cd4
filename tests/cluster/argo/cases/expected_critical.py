"""The expected results of the pipelines in `critical/` and `failing/`, worked out by reading their source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from argo_runs import ATTEMPTS, LOG, PHASE, Case, RawText, artifact

if TYPE_CHECKING:
    from argo_runs import Run

MODEL_FILES = (
    "added_tokens.json, config.json, generation_config.json, merges.txt, model.safetensors, normalizer.json, "
    "preprocessor_config.json, special_tokens_map.json, tokenizer.json, tokenizer_config.json, vocab.json"
)


def check_branch_of_the_coin(run: Run) -> None:
    """Check that only the drawn branch ran and printed its message.

    After heads, the pipeline draws 0 to 9 and compares with 5. After tails, it draws 10 to 19 and compares with 15.
    """
    side = run.value("flip-coin", "Output")
    assert side in {"heads", "tails"}
    outer, draw, low, high, limit = (
        ("condition-1", "random-num", 0, 9, 5) if side == "heads" else ("condition-4", "random-num-2", 10, 19, 15)
    )
    number = run.value(f"{outer}.{draw}", "Output")
    assert type(number) is int
    assert low <= number <= high
    above = number > limit
    branch = {
        ("heads", True): "condition-2.print-msg",
        ("heads", False): "condition-3.print-msg-2",
        ("tails", True): "condition-5.print-msg-3",
        ("tails", False): "condition-6.print-msg-4",
    }[side, above]
    path = f"{outer}.{branch}"
    assert sorted(run.steps) == sorted(["flip-coin", f"{outer}.{draw}", path])
    assert f"{side} and {number} {'>' if above else '<='} {limit}!" in run.log(path).splitlines()


def check_tasks_after_the_loop(run: Run) -> None:
    """Check that the tasks after the loop start only when the last iteration has ended."""
    end = max(run.step_times(f"for-loop-2[{n}].print-op")[1] for n in range(3))
    assert all(end <= run.step_times(path)[0] for path in ("print-op-2", "print-op-3"))


POD_METADATA = {
    name: {"Output": True}
    for name in (
        "validate-no-pod-metadata",
        "validate-pod-metadata-task-a",
        "validate-pod-metadata-task-b",
        "validate-pod-metadata-task-c",
        "validate-pod-metadata-task-d",
    )
}

CRITICAL = [
    Case("critical/add_numbers.yaml", {"add-numbers": {"Output": 5}}, {"a": "2", "b": "3"}, {"Output": 5}),
    Case(
        "critical/artifact_cache.yaml",
        {"mantle.core.core-comp": {"dataset": artifact("Dataset")}, "crust-comp": {LOG: "input:  foo"}},
    ),
    Case(
        "critical/artifact_crust.yaml",
        {"mantle.core.core-comp": {"dataset": artifact("Dataset")}, "crust-comp": {LOG: "input:  foo"}},
    ),
    Case(
        "critical/component_with_optional_inputs.yaml",
        {
            "component-op": {
                LOG: (
                    "input1: Hello, type: <class 'str'>",
                    "input2: World, type: <class 'str'>",
                    "input3: None, type: <class 'NoneType'>",
                )
            }
        },
    ),
    Case("critical/container_component_with_no_inputs.yaml", {"hello-world-container": {LOG: "hello world"}}),
    Case("critical/flip_coin.yaml", None, check=check_branch_of_the_coin),
    Case("critical/mixed_parameters.yaml", {"mantle.core.core-comp": {"Output": 1}, "crust-comp": {LOG: "sum : 3"}}),
    Case(
        "critical/modelcar.yaml",
        {
            "build-model-car": {"model": lambda value: value["uri"] == "oci://registry.domain.local/org/repo:v1.0"},
            "get-model-files-list": {"Output": MODEL_FILES},
        },
        image="registry.domain.local/modelcar:test",
    ),
    Case(
        "critical/multiple_artifacts_namedtuple.yaml",
        {
            "mantle.core.core-comp": {"ds1": artifact("Dataset"), "ds2": artifact("Dataset")},
            "crust-comp": {LOG: ("ds1:  foo", "ds2:  bar")},
        },
    ),
    Case(
        "critical/multiple_parameters_namedtuple.yaml",
        {
            "mantle.core.core-comp": {"val1": "foo", "val2": "bar"},
            "crust-comp": {LOG: ("val1:  foo", "val2:  bar")},
        },
    ),
    Case(
        "critical/parallel_for_after_dependency.yaml",
        {f"for-loop-2[{n}].print-op": {"Output": "foo"} for n in range(3)}
        | {"print-op-2": {"Output": "bar"}, "print-op-3": {"Output": "baz"}},
        check=check_tasks_after_the_loop,
    ),
    Case(
        "critical/parameter_cache.yaml",
        {"mantle.core.core-comp": {"Output": "foo"}, "crust-comp": {LOG: "input : foo"}},
    ),
    Case(
        "critical/parameters_simple.yaml",
        {f"for-loop-2[{n}].double": {"Output": 2 * (n + 1)} for n in range(3)}
        | {"add": {"Output": 12}, "add-container": {"sum": RawText("12")}},
        outputs={"Output": [2, 4, 6]},
        image="jetbrainsinfra/jq",
    ),
    Case(
        "critical/pipeline_with_env.yaml",
        {"print-env": {LOG: ("val0", "val2", "val3")}, "print-env-op": {LOG: ("ENV1 val1", "ENV2 None")}},
    ),
    Case("critical/pipeline_with_placeholders.yaml", {"print-all-placeholders": {}}),
    Case("critical/pipeline_with_pod_metadata.yaml", POD_METADATA),
    Case("critical/pipeline_with_retry.yaml", {"add": {"Output": 8.0, ATTEMPTS: 1}}),
    Case(
        "critical/pipeline_with_secret_as_env.yaml",
        {"generate-secret-name": {"some_output": "test-secret-3"}, "comp": {}},
    ),
    Case("critical/pipeline_with_submit_request.yaml", {"submit-request": {}, "submit-request-2": {}}),
    Case(
        "critical/pipeline_with_volume_long_name.yaml",
        {"createpvc": {}, "dummy-task": {LOG: "hello"}},
        check=lambda run: _assert_equal(run.text("createpvc", "name"), f"{run.name}-my-pvc"),
    ),
    Case(
        "critical/pipeline_with_workspace.yaml",
        {
            "write-to-workspace": {"Output": "/kfp-workspace/data/test_file.txt"},
            "read-from-workspace": {"Output": "Hello from workspace!"},
        },
        outputs={"Output": "Hello from workspace!"},
    ),
    Case(
        "critical/producer_consumer_param_pipeline.yaml",
        {
            "producer": {"output_value": RawText("Hello world, this is an output parameter")},
            "consumer": {LOG: ("Read from an input parameter: ", "Hello world, this is an output parameter")},
        },
    ),
    Case(
        "critical/pythonic_artifacts_test_pipeline.yaml",
        {"gen-data": {"Output": artifact("Dataset", length=9)}, "train-model": {"Output": artifact("Model")}},
    ),
    Case(
        "critical/two_step_pipeline_containerized.yaml",
        {"component1": {"output_gcs": artifact("Dataset")}, "component2": {LOG: "Hello KFP Containerized!"}},
    ),
]

FAILING = [
    Case("failing/fail_v2.yaml", {"fail": {PHASE: "Failed"}}, phase="Failed"),
    Case(
        "failing/pipeline_with_exit_handler.yaml",
        {
            "exit-handler-1.fail-op": {PHASE: "Failed", LOG: "Task failed."},
            "exit-handler-1.print-op-2": {LOG: "Hello World!"},
            "print-op": {LOG: "Exit handler has worked!"},
        },
        phase="Failed",
    ),
]


def _assert_equal(one: str, other: str) -> None:
    assert one == other
