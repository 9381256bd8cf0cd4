"""Tests of the settings of tasks and pipelines: retries, caching, resources, environment, names, TaskConfig and configuration."""

from typing import Any

import pytest
from argo_components import add, component, say
from argo_pipelines import arguments, launcher_input, lower, parse_with_tags
from kfp import dsl, kubernetes


def one(apply: Any, **options: Any) -> dict[str, Any]:
    """Return the template of a task after a function changed the task."""

    @dsl.pipeline(name="flow")
    def flow() -> None:
        apply(say(text="x"))

    return lower(flow, **options).inner("say")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"num_retries": 2}, {"limit": "2", "backoff": {"duration": "0s", "factor": "2", "maxDuration": "3600s"}}),
        (
            {"num_retries": 3, "backoff_duration": "90s", "backoff_factor": 1.5, "backoff_max_duration": "10m"},
            {"limit": "3", "backoff": {"duration": "90s", "factor": "1.5", "maxDuration": "600s"}},
        ),
    ],
)
def test_retries_become_argos_retry_strategy(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert one(lambda task: task.set_retry(**given))["retryStrategy"] == expected


def test_a_task_without_retries_has_no_retry_strategy() -> None:
    assert "retryStrategy" not in one(lambda task: task)


def test_a_cached_step_is_memoized_for_the_configured_time() -> None:
    found = one(lambda task: task, cache_ttl="24h")["memoize"]
    assert found["maxAge"] == "24h"
    assert found["cache"] == {"configMap": {"name": "flow-cache"}}
    assert "sprig.sha256sum(inputs.parameters.text)" in found["key"]
    assert one(lambda task: task)["memoize"]["maxAge"] == "", "Argo's schema requires the field, and an empty one means for ever"


def test_caching_can_be_disabled_for_one_task_or_for_all_tasks() -> None:
    assert "memoize" not in one(lambda task: task.set_caching_options(False))
    assert "memoize" not in one(lambda task: task, cache=False)


def test_a_cache_key_replaces_the_fingerprint() -> None:
    keys = [one(lambda task, key=key: task.set_caching_options(True, cache_key=key))["memoize"]["key"] for key in ("a", "a", "b")]
    assert keys[0] == keys[1] != keys[2]
    assert "{{" not in keys[0]


def test_the_fingerprint_changes_with_the_code() -> None:
    first = one(lambda task: task)["memoize"]["key"]
    assert first == one(lambda task: task)["memoize"]["key"]
    assert first != one(lambda task: task.set_env_variable("A", "1"))["memoize"]["key"]


def test_resources_that_are_known_when_compiling_are_fields_of_the_template() -> None:
    def apply(task: Any) -> None:
        task.set_cpu_request("1").set_cpu_limit("2").set_memory_request("1Gi").set_memory_limit("2G")
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(2)

    found = one(apply)
    assert found["container"]["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "2G", "nvidia.com/gpu": "2"},
    }
    assert "podSpecPatch" not in found


def test_resources_that_only_the_run_knows_go_into_the_pod_spec_patch() -> None:
    @dsl.pipeline(name="flow")
    def flow(cpu: str = "1", kind: str = "nvidia.com/gpu") -> None:
        memory = say(text="2Gi")
        task = add(a=1).set_cpu_limit(cpu).set_memory_limit(memory.output)
        task.set_accelerator_type(kind).set_accelerator_limit(1)

    found = lower(flow)
    assert found.task("add")["dependencies"] == ["say"]
    patch = parse_with_tags(found.inner("add")["podSpecPatch"])
    limits = patch["containers"][0]["resources"]["limits"]
    assert len(limits) == 3
    assert all(value == "1" or value.startswith("<=") for value in limits.values())
    assert "resources" not in found.inner("add")["container"]
    assert "{{{" not in found.inner("add")["podSpecPatch"]


def test_the_braces_in_an_environment_variable_reach_the_container_unchanged() -> None:
    found = one(lambda task: task.set_env_variable("A", "{{workflow.name}}").set_env_variable("B", "plain"))
    assert {each["name"]: each["value"] for each in found["container"]["env"]} == {
        "SLUICE_BRACE": "{",
        "A": "{$(SLUICE_BRACE)workflow.name}}",
        "B": "plain",
    }
    assert found["container"]["env"][0]["name"] == "SLUICE_BRACE", "Kubernetes expands only variables that are defined earlier"


def test_neither_argo_nor_kubernetes_replaces_anything_in_the_value_of_a_placeholder() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        say(text="$(HOME) {{workflow.name}}").set_env_variable("A", "a-{{$.inputs.parameters['text']}}")

    variables = {each["name"]: each["value"] for each in lower(flow).inner("say")["container"]["env"]}
    assert variables["SLUICE_BRACE"] == "{"
    assert variables["A"].startswith("{{=replace('a-' + replace(")
    assert variables["A"].endswith(", '$', '$$'), '\\u007b\\u007b', '\\u007b$(SLUICE_BRACE)')}}")


def test_an_image_can_come_from_a_parameter() -> None:
    @dsl.pipeline(name="flow")
    def flow(image: str = "python:3.12") -> None:
        say(text="x").set_container_image(image)

    found = lower(flow)
    assert found.inner("say")["container"]["image"].startswith("{{=")
    assert "workflow.parameters.image" in str(arguments(found.task("say")))


def test_display_names_are_shown_and_do_not_change_the_names_of_tasks() -> None:
    @component
    def watch(status: dsl.PipelineTaskFinalStatus) -> None:
        pass

    @dsl.pipeline(name="flow", display_name="The flow", description="what {{it}} does")
    def flow() -> None:
        with dsl.ExitHandler(watch(), name="the body"):
            say(text="x").set_display_name("Say it!")

    found = lower(flow)
    assert '"pipelineTaskName": "exit-handler-1"' in arguments(found.task("watch"))["status"]
    shown = found.document["metadata"]["annotations"]
    assert shown["workflows.argoproj.io/title"] == "The flow"
    assert shown["workflows.argoproj.io/description"] == "what { {it}} does"


def configured(*, apply_to_task: bool) -> Any:
    passed = [
        dsl.TaskConfigPassthrough(field=field, apply_to_task=apply_to_task)
        for field in (dsl.TaskConfigField.RESOURCES, dsl.TaskConfigField.ENV, dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
                      dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR, dsl.TaskConfigField.KUBERNETES_AFFINITY,
                      dsl.TaskConfigField.KUBERNETES_VOLUMES)
    ]  # fmt: skip

    @dsl.component(base_image="python:3.11", install_kfp_package=False, task_config_passthroughs=passed)
    def launch(config: dsl.TaskConfig) -> None:
        pass

    return launch


@pytest.mark.parametrize("apply_to_task", [True, False])
def test_the_task_config_gets_the_passed_fields_and_the_pod_keeps_them_only_if_apply_to_task_is_true(apply_to_task: bool) -> None:
    launch = configured(apply_to_task=apply_to_task)

    @dsl.pipeline(name="flow")
    def flow() -> None:
        task = launch().set_cpu_limit("2").set_env_variable("A", "1")
        kubernetes.add_toleration(task, "k", "Exists")
        kubernetes.add_node_selector(task, "disk", "ssd")
        kubernetes.mount_pvc(task, "claim", "/data")
        kubernetes.add_node_affinity(task, match_expressions=[{"key": "z", "operator": "In", "values": ["a"]}])

    template = lower(flow).inner("launch")
    config = launcher_input(template)["executor"]["inputs"]["parameterValues"]["config"]
    assert config["resources"] == {"limits": {"cpu": "2"}}
    assert config["env"] == [{"name": "A", "value": "1"}]
    assert config["tolerations"] == [{"key": "k", "operator": "Exists"}]
    assert config["nodeSelector"] == {"disk": "ssd"}
    assert config["volumes"][0]["persistentVolumeClaim"] == {"claimName": "claim"}
    assert config["volumeMounts"][0]["mountPath"] == "/data"
    assert "nodeAffinity" in config["affinity"]
    assert ("nodeSelector" in template) is apply_to_task
    assert ("tolerations" in template) is apply_to_task
    assert ("affinity" in template) is apply_to_task
    assert ("volumes" in template) is apply_to_task
    assert ("resources" in template["container"]) is apply_to_task
    assert ("env" in template["container"]) is apply_to_task


def test_the_configuration_of_the_pipeline_becomes_that_of_the_workflow() -> None:
    config = dsl.PipelineConfig(
        workspace=dsl.WorkspaceConfig(
            size="5Gi",
            kubernetes=dsl.KubernetesWorkspaceConfig(pvcSpecPatch={"accessModes": ["ReadWriteMany"], "storageClassName": "s"}),
        ),
        ttl_seconds_after_finished=60,
        ttl_seconds_after_success=30,
        ttl_seconds_after_failure=90,
        active_deadline_seconds=3600,
    )

    @dsl.pipeline(name="flow", pipeline_config=config)
    def flow() -> None:
        say(text=dsl.WORKSPACE_PATH_PLACEHOLDER)

    found = lower(flow)
    assert found.spec["activeDeadlineSeconds"] == 3600
    assert found.spec["ttlStrategy"] == {"secondsAfterCompletion": 60, "secondsAfterSuccess": 30, "secondsAfterFailure": 90}
    assert found.spec["volumeClaimTemplates"] == [
        {
            "metadata": {"name": "kfp-workspace"},
            "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "s", "resources": {"requests": {"storage": "5Gi"}}},
        }
    ]
    assert {"name": "kfp-workspace", "mountPath": "/kfp-workspace"} in found.inner("say")["container"]["volumeMounts"]
    assert "'/kfp-workspace'" in arguments(found.task("say"))["text"]


@pytest.mark.parametrize("kind", ["Workflow", "WorkflowTemplate", "CronWorkflow"])
def test_the_runs_of_every_kind_have_the_launcher_and_the_labels(kind: str) -> None:
    @dsl.pipeline(name="The Flow")
    def flow() -> None:
        say(text="x")

    options: dict[str, Any] = (
        {"schedules": ("0 6 * * *",), "timezone": "Europe/Berlin", "concurrency": "Forbid"} if kind == "CronWorkflow" else {}
    )
    found = lower(
        flow, kind=kind, service_account="runner", repository="repo/key", namespace="n", labels=(("team", "ml"),), **options
    )
    metadata = found.document["metadata"]
    assert metadata.get("generateName" if kind == "Workflow" else "name") == ("the-flow-" if kind == "Workflow" else "the-flow")
    assert (metadata["namespace"], metadata["labels"]) == ("n", {"team": "ml"})
    assert found.spec["serviceAccountName"] == "runner"
    assert found.spec["artifactRepositoryRef"] == {"configMap": "repo", "key": "key"}
    runs = metadata if kind == "Workflow" else found.document["spec"]["workflowMetadata"]
    assert "sluice-launcher" in runs["annotations"]
    assert runs["labels"] == {"team": "ml"}
    if kind == "CronWorkflow":
        spec = found.document["spec"]
        assert (spec["schedules"], spec["timezone"], spec["concurrencyPolicy"]) == (["0 6 * * *"], "Europe/Berlin", "Forbid")


def test_the_security_level_sets_the_security_context_of_the_container() -> None:
    assert one(lambda task: task, security="restricted")["container"]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsNonRoot": True,
    }
    assert "runAsNonRoot" not in one(lambda task: task, security="baseline")["container"]["securityContext"]
    assert "securityContext" not in one(lambda task: task)["container"]


def test_a_task_config_gets_values_that_only_the_run_knows_as_json() -> None:
    fields = [getattr(dsl.TaskConfigField, name) for name in ("RESOURCES", "ENV", "KUBERNETES_VOLUMES")]

    @dsl.component(base_image="python:3.11", install_kfp_package=False, task_config_passthroughs=fields)
    def launch(config: dsl.TaskConfig) -> None:
        pass

    @dsl.pipeline(name="flow", pipeline_config=dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="1Gi")))
    def flow(cpu: str, kind: str) -> None:
        named = say(text="x").output
        task = launch().set_cpu_limit(cpu).set_accelerator_type(kind).set_accelerator_limit(1)
        task.set_env_variable("A", "{{workflow.name}} $(HOME)").set_env_variable("B", "{{$.pipeline_job_uuid}}")
        kubernetes.mount_pvc(task, pvc_name=named, mount_path="/data")
        kubernetes.use_secret_as_env(task, secret_name=named, secret_key_to_env={"k": "K"})

    template = lower(flow).inner("launch")
    text = template["container"]["args"][0]
    assert "fromJSON(inputs.parameters.setting_1)" not in text, "a name inside JSON stays JSON"
    config = launcher_input(template)["executor"]["inputs"]["parameterValues"]["config"]
    assert config["volumes"] == [
        {"name": "persistentvolumeclaim-1", "persistentVolumeClaim": {"claimName": "<=inputs.parameters.setting_1>"}},
        {"name": "kfp-workspace", "persistentVolumeClaim": {"claimName": "<workflow.name>-kfp-workspace"}},
    ]
    assert config["volumeMounts"][1] == {"name": "kfp-workspace", "mountPath": "/kfp-workspace"}
    env = {each["name"]: each for each in config["env"]}
    assert env["K"]["valueFrom"]["secretKeyRef"]["name"] == "<=inputs.parameters.setting_1>"
    assert env["A"]["value"] == "{{workflow.name}} $(HOME)"
    assert env["B"]["value"].startswith("<=replace(replace(toJson(workflow.uid)")
    assert all(each.startswith(("1", "<=replace(replace(toJson(")) for each in config["resources"]["limits"].values())
    assert "volumes" not in template
    assert "podSpecPatch" not in template
