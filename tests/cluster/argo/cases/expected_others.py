"""The expected results of KFP's other pipelines, worked out by reading their source, and the reason why some cannot run."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from argo_runs import LOG, PHASE, Case, artifact
from expected_essential import PAIRS, is_accuracy
from expected_loops import LOOPS

if TYPE_CHECKING:
    from argo_cluster import Cluster
    from argo_runs import Run


def stored_text(cluster: Cluster) -> str:
    """Return the URI of an object in the artifact repository."""
    from stored_objects import store_object

    return store_object(cluster)


def repository_as_secret(cluster: Cluster) -> str:
    """Return the settings of the artifact repository as the pipeline expects them: the `repr` of a dict of base64 texts."""
    store, data = cluster.repository.get("s3"), cluster.repository_secret()
    if not store or not data:
        pytest.skip("the artifact repository is not an S3 store with known credentials")
    host, _, port = store["endpoint"].partition(":")
    texts = {"host": host, "port": port or "9000", "secure": str(not store.get("insecure"))}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    keys = {name: data[store[f"{part}KeySecret"]["key"]] for name, part in (("accesskey", "access"), ("secretkey", "secret"))}
    return repr(encoded | keys)


def bucket(cluster: Cluster) -> str:
    """Return the name of the artifact repository's bucket."""
    store = cluster.repository.get("s3")
    return str(store["bucket"]) if store else pytest.skip("the artifact repository is not an S3 store")


def check_one_of_three_branches(run: Run) -> None:
    """Check that the die chose the branch, and that its text left the inner pipeline and went through the last step."""
    side = run.value("roll-die-pipeline.flip-three-sided-die", "Output")
    branch, output, text = {
        "heads": ("condition-2.print-and-return", "Output", "Got heads!"),
        "tails": ("condition-3.print-and-return-2", "Output", "Got tails!"),
        "draw": ("condition-4.special-print-and-return", "output_key", "Draw!"),
    }[side]
    path = f"roll-die-pipeline.condition-branches-1.{branch}"
    assert sorted(run.steps) == sorted(["roll-die-pipeline.flip-three-sided-die", path, "print-and-return"])
    assert run.value(path, output) == run.value("print-and-return", "Output") == run.outputs["Output"] == text


def check_one_of_two_branches(run: Run) -> None:
    """Check that the coin chose the branch, and that its text is the output of the pipeline."""
    side = run.value("flip-coin", "Output")
    number, name = (2, "print-and-return") if side == "heads" else (3, "print-and-return-2")
    path = f"condition-branches-1.condition-{number}.{name}"
    assert sorted(run.steps) == sorted(["flip-coin", path, "print-and-return-3"])
    assert run.value(path, "Output") == run.value("print-and-return-3", "Output") == run.outputs["Output"] == f"Got {side}!"


def check_log_contains(*parts: str) -> Any:
    """Return a check that one line in the log of the exit step contains all of these texts."""

    def check(run: Run) -> None:
        path = next(path for path in run.steps if path.startswith("exit-"))
        path = next((path for path in run.steps if path in {"exit-op", "exit-comp"}), path)
        assert any(all(part in line for part in parts) for line in run.log(path).splitlines()), run.log(path)

    return check


STATUS = {
    "state": "SUCCEEDED",
    "pipelineTaskName": "a-task",
    "pipelineJobResourceName": "a-job",
    "error": {"code": 0, "message": ""},
}
VOLUME = {
    "createpvc": {},
    "producer": {"Output": "Hello world"},
    "consumer": {"Output": "Hello world"},
    "deletepvc": {},
}
HELLO = {"echo": {LOG: "hello world"}}
NAP = {"take-nap": {"Output": "I'm awake now. Did I snore?"}, "wake-up": {LOG: "I'm awake now. Did I snore?"}}

OTHERS = [
    *LOOPS,
    Case("arguments_parameters.yaml", {"echo": {LOG: "hello-world"}}, {"param2": "world"}),
    Case(
        "component_with_metadata_fields.yaml",
        {"dataset-joiner": {"Output": "seededseeded", "out_dataset": artifact("Dataset")}},
        {"dataset_a": stored_text, "dataset_b": stored_text},
        {"Output": "seededseeded"},
    ),
    Case(
        "component_with_task_final_status_GH-12033.yaml",
        {"exit-comp": {}},
        {"status": json.dumps(STATUS)},
        check=check_log_contains("SUCCEEDED", "a-task", "a-job"),
    ),
    Case(
        "create_pod_metadata_complex.yaml",
        # The first step reads variables that the file does not set, and fails if they are not empty texts.
        {"validate-no-pod-metadata": {PHASE: "Failed"}}
        | {name: {"Output": True} for name in ("validate-pod-metadata", "validate-pod-metadata-2")},
        phase="Failed",
    ),
    Case(
        "env-var.yaml",
        # Kubernetes itself sets this variable in every container.
        {"comp": {"Output": "tcp"}},
        {"env_var": "KUBERNETES_PORT_443_TCP_PROTO"},
        {"Output": "tcp"},
    ),
    Case("hello_world.yaml", HELLO),
    Case("identity.yaml", {"identity": {"Output": 'a "b"\n{{c}}'}}, {"value": 'a "b"\n{{c}}'}, {"Output": 'a "b"\n{{c}}'}),
    Case("if_elif_else_with_oneof_parameters.yaml", None, check=check_one_of_three_branches),
    Case("if_else_with_oneof_parameters.yaml", None, check=check_one_of_two_branches),
    Case("input_artifact.yaml", {"input-artifact": {LOG: ("data", "{}")}}, {"data": stored_text}),
    Case(
        "local_execution/local_execution_pipeline_with_exit_handler.yaml",
        {"exit-handler-1.echo": {"Output": "hello"}, "record-exit": {"Output": "exit:SUCCEEDED"}},
    ),
    Case(
        "local_execution/local_execution_pipeline_with_oneof.yaml",
        {"condition-branches-1.condition-2.branch-a": {"Output": "A"}, "tag-selected": {"Output": "selected:A"}},
        outputs={"Output": "selected:A"},
    ),
    Case(
        "local_execution/local_execution_pipeline_with_oneof.yaml",
        {"condition-branches-1.condition-3.branch-b": {"Output": "B"}, "tag-selected": {"Output": "selected:B"}},
        {"pick_a": "false"},
        {"Output": "selected:B"},
        variant="other branch",
    ),
    Case("local_execution/pipeline_with_caching.yaml", {"add-one": {"Output": 2}}, outputs={"Output": 2}),
    Case(
        "metrics_visualization_v2.yaml",
        {
            "digit-classification": {"metrics": artifact("Metrics", accuracy=lambda percent: 80 <= percent <= 100)},
            "html-visualization": {"html_artifact": artifact("HTML")},
            "iris-sgdclassifier": {
                # 150 rows, less 30 % for the test.
                "metrics": artifact(
                    "ClassificationMetrics", confusionMatrix=lambda m: sum(sum(row["row"]) for row in m["rows"]) == 105
                )
            },
            "markdown-visualization": {"markdown_artifact": artifact("Markdown")},
            "wine-classification": {
                "metrics": artifact("ClassificationMetrics", confidenceMetrics=lambda points: len(points) > 2)
            },
        },
    ),
    Case("mounted_cabundle_configmap.yaml", HELLO),
    Case("mounted_cabundle_secret.yaml", HELLO),
    Case("nested_return.yaml", {"nested-return": {"Output": PAIRS}}, outputs={"Output": PAIRS}),
    Case(
        "notebook_component_mixed.yaml",
        {
            "preprocess": {"dataset": artifact("Dataset")},
            "train-model": {"model": artifact("Model")},
            # The score is the length of HELLO WORLD.
            "evaluate-model": {"metrics": artifact("Metrics", score=11.0)},
        },
    ),
    Case(
        "output_metrics.yaml",
        {"output-metrics": {"metrics": artifact("Metrics", accuracy=is_accuracy)}},
        outputs={"metrics": artifact("Metrics", accuracy=is_accuracy)},
    ),
    Case("pipeline_with_dynamic_importer_metadata.yaml", {"make-name": {"Output": "a-different-name"}}),
    Case(
        "pipeline_with_metadata_fields.yaml",
        {
            "str-to-dataset": {"dataset": artifact("Dataset")},
            "dataset-joiner": {"Output": "mine, seeded", "out_dataset": artifact("Dataset")},
        },
        {"string": "mine, ", "in_dataset": stored_text},
        {"Output": artifact("Dataset")},
    ),
    Case("pipeline_with_only_display_name.yaml", HELLO),
    Case("pipeline_with_secret_as_volume.yaml", {"comp": {LOG: "username: user1"}}),
    Case(
        "pipeline_with_string_machine_fields_pipeline_input.yaml",
        {"sum-numbers": {"Output": 3}},
        {"cpu_limit": "250m", "memory_limit": "300M", "accelerator_type": "nvidia.com/gpu", "accelerator_limit": "0"},
    ),
    Case(
        "pipeline_with_task_final_status.yaml",
        {
            "exit-handler-1.fail-op": {PHASE: "Failed", LOG: "Task failed."},
            "exit-handler-1.print-op": {LOG: "Hello World!"},
            "exit-op": {LOG: ("Pipeline status:  FAILED", "Pipeline task name:  exit-handler-1")},
        },
        phase="Failed",
    ),
    Case(
        "pipeline_with_task_final_status_yaml.yaml",
        {"exit-handler-1.print-op": {LOG: "Hello World!"}, "exit-op": {}},
        check=check_log_contains("user input: Hello World! pipeline status: {", '"SUCCEEDED"', '"exit-handler-1"'),
    ),
    Case(
        "pipeline_with_task_using_ignore_upstream_failure.yaml",
        {"fail-op": {PHASE: "Failed", LOG: "message"}, "print-op": {LOG: "default"}},
        phase="Failed",
    ),
    Case("pipeline_with_utils.yaml", {"echo": {}}),
    Case("pipeline_with_volume.yaml", VOLUME),
    Case("pipeline_with_volume_no_cache.yaml", VOLUME),
    Case(
        "preprocess.yaml",
        {
            "preprocess": {
                "output_parameter_path": "text",
                "output_bool_parameter_path": True,
                "output_dict_parameter_path": {"A": 1},
                "output_list_parameter_path": ["a", 'b"'],
                "output_dataset_one": artifact("Dataset"),
                "output_dataset_two_path": artifact("Dataset"),
            }
        },
        {"message": "text", "input_dict_parameter": '{"A": 1}', "input_list_parameter": '["a", "b\\""]'},
        {"output_dict_parameter_path": {"A": 1}, "output_bool_parameter_path": True},
    ),
    Case(
        "pvc_mount.yaml",
        {"producer": {"Output": "hello"}, "consumer": {LOG: "hello"}},
        {"pvc_name": lambda cluster: cluster.claim},
    ),
    Case(
        "pythonic_artifacts_with_multiple_returns.yaml",
        {
            "make-dataset": {"Output": artifact("Artifact")},
            "splitter-pipeline.dataset-splitter": {
                "dataset1": artifact("Dataset", original_data=lambda name: isinstance(name, str)),
                "dataset2": artifact("Dataset", original_data=lambda name: isinstance(name, str)),
            },
        },
        outputs={"Output": artifact("Dataset", original_data=lambda name: isinstance(name, str))},
    ),
    Case("run_as_user_cache_disabled.yaml", HELLO),
    Case("run_as_user_cache_enabled.yaml", HELLO),
    Case("sequential_v1.yaml", {"echo": {LOG: "one"}, "echo-2": {LOG: "two"}}, {"param1": "one", "param2": "two"}),
    Case("take_nap_compiled.yaml", NAP, {"naptime_secs": "2"}),
    Case("take_nap_pipeline_root_compiled.yaml", NAP, {"naptime_secs": "2"}),
    Case(
        "upload_download_compiled.yaml",
        {
            "send-file": {"outgoingfile": artifact("Artifact")},
            "receive-file": {"saveartifact": artifact("Artifact")},
            "test-uploaded-artifact": {},
        },
        {"bucket_name": bucket, "mlpipeline_minio_artifact_secret": repository_as_secret},
        options={"store_in_bucket": True},
    ),
]

_VERTEX = "it calls Vertex AI"
_PUBLIC = "it reads a public gs:// object, which needs the internet"
_NO_PROGRAM = "the image has no program of the name that it calls"
NOT_RUN = {
    "components_with_optional_artifacts.yaml": _PUBLIC,
    "container_io.yaml": _NO_PROGRAM,
    "container_with_artifact_output.yaml": "the image does not exist",
    "container_with_concat_placeholder.yaml": _NO_PROGRAM,
    "container_with_if_placeholder.yaml": _NO_PROGRAM,
    "container_with_placeholder_in_fstring.yaml": _NO_PROGRAM,
    "containerized_python_component.yaml": "the image does not exist",
    "critical/pipeline_with_artifact_upload_download.yaml": "it downloads a data set from Hugging Face",
    "gpu-scheduling/nvidia_gpu_scheduling_check.yaml": "it needs a GPU",
    "integration/ray_integration_compiled.yaml": "it needs KubeRay",
    "local_execution/local_execution_pipeline_with_k8s_only_methods.yaml": "it needs a GPU",
    "log_streaming_compiled.yaml": "it prints without a pause for a minute",
    "long-running.yaml": "it sleeps for ten minutes",
    "pipeline_with_condition_dynamic_task_output_custom_training_job.yaml": _VERTEX,
    "pipeline_with_dynamic_task_output_custom_training_job.yaml": _VERTEX,
    "pipeline_with_google_artifact_type.yaml": _PUBLIC,
    "pipeline_with_importer.yaml": _PUBLIC,
    "pipeline_with_importer_and_gcpc_types.yaml": _PUBLIC,
    "pipeline_with_string_machine_fields_task_output.yaml": "it asks for four CPUs and an accelerator",
    "pipeline_with_various_io_types.yaml": "the image does not exist",
    "pythonic_artifact_with_single_return.yaml": _PUBLIC,
    "sequential_v2.yaml": "it copies from gs:// with gsutil",
    "two_step_pipeline.yaml": "it copies from gs:// with gsutil",
    "xgboost_sample_pipeline.yaml": "it downloads from the web, and installs packages of 2020 for Python 3.7",
}
"""File → the reason why it does not run and is only compiled."""
