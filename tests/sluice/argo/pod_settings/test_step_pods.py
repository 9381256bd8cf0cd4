"""Tests of the pod of a step: volumes, the workspace, security contexts, numbers and merged affinities."""

import json
from typing import Any

import pytest
from argo_components import say
from argo_pipelines import Lowered, launcher_input, lower
from kfp import dsl, kubernetes

from sluice.argo.compilation import Options
from sluice.argo.expressions.values import constant_value
from sluice.argo.objects.workflows import lower_pipeline
from sluice.argo.pod_settings.kubernetes_settings import apply_settings
from sluice.argo.pod_settings.step_pods import Pod, decimal
from sluice.ir.reading import parse_ir

TEMPORARY = "/tmp"  # noqa: S108 - a path in the container, not on this machine
TERM = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
REQUIRED, PREFERRED = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
SPACE = dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="1Gi"))


def flow_of(apply: Any) -> Lowered:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        apply(say(text="x"))

    return lower(flow)


@pytest.mark.parametrize("name", ["kfp", "tmp", "state", "model-text"])
def test_the_volume_of_a_user_may_have_any_name(name: str) -> None:
    found = flow_of(lambda task: kubernetes.empty_dir_mount(task, volume_name=name, mount_path="/mine"))
    assert found.inner("say")["volumes"] == [{"name": name, "emptyDir": {}}]
    assert name not in {volume["name"] for volume in found.spec["volumes"]}


@pytest.mark.parametrize("name", ["sluice-outputs", "kfp-workspace", "scratch"])
def test_a_volume_with_the_name_of_another_volume_is_refused(name: str) -> None:
    def apply(task: Any) -> None:
        kubernetes.add_ephemeral_volume(task, "scratch", "/scratch", ["ReadWriteOnce"], "1Gi")
        kubernetes.empty_dir_mount(task, volume_name=name, mount_path="/mine")

    (refusal,) = flow_of(apply).refusals
    assert (refusal.task, refusal.field) == ("say", "platforms.kubernetes")
    assert repr(name) in refusal.reason
    assert refusal.hint


def test_a_volume_may_be_mounted_twice() -> None:
    def apply(task: Any) -> None:
        kubernetes.empty_dir_mount(task, volume_name="mine", mount_path="/one")
        kubernetes.empty_dir_mount(task, volume_name="mine", mount_path="/other")

    template = flow_of(apply).inner("say")
    assert len(template["volumes"]) == 1
    assert {"/one", "/other"} <= {mount["mountPath"] for mount in template["container"]["volumeMounts"]}


def test_all_node_affinities_are_merged() -> None:
    other = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}

    values = iter([{REQUIRED: {"nodeSelectorTerms": [other]}}, {PREFERRED: [{"weight": 1, "preference": other}]}])
    entries = [{"nodeAffinityJson": {"a": 1}}, {"nodeAffinityJson": {"a": 2}}, TERM, {**TERM, "weight": 5}, {}]
    pod = Pod()
    apply_settings(pod, {"nodeAffinity": entries}, {}, lambda _: constant_value(next(values)))
    assert pod.template["affinity"]["nodeAffinity"] == {
        REQUIRED: {"nodeSelectorTerms": [other, TERM]},
        PREFERRED: [{"weight": 1, "preference": other}, {"weight": 5, "preference": TERM}],
    }


def test_a_node_affinity_that_only_the_run_knows_is_merged_with_a_constant_one() -> None:
    @dsl.pipeline(name="flow")
    def flow(where: dict) -> None:
        task = say(text="x")
        kubernetes.add_node_affinity_json(task, where)
        kubernetes.add_node_affinity(task, match_expressions=TERM["matchExpressions"])

    template = lower(flow).inner("say")
    assert "affinity" not in template
    assert "zone" in template["podSpecPatch"]
    assert f"fromJSON(inputs.parameters.setting_1)?.{REQUIRED}?.nodeSelectorTerms ?? []" in template["podSpecPatch"]


def mounts(template: dict[str, Any]) -> set[str]:
    return {mount["mountPath"] for mount in template["container"].get("volumeMounts", ())}


def test_only_a_step_that_may_use_the_workspace_mounts_it() -> None:
    @dsl.pipeline
    def inner(place: str) -> None:
        say(text=place)

    @dsl.pipeline(name="flow", pipeline_config=SPACE)
    def flow() -> None:
        say(text="plain")
        used = say(text=f"{dsl.WORKSPACE_PATH_PLACEHOLDER}/data")
        say(text=used.output)
        inner(place="a text of the run")

    found = lower(flow)
    assert "/kfp-workspace" not in mounts(found.inner("say"))
    for path in (("say-2",), ("say-3",), ("inner", "say")):
        assert "/kfp-workspace" in mounts(found.inner(*path)), path


def test_a_task_config_gets_the_workspace_with_the_other_volumes() -> None:
    @dsl.component(
        base_image="python:3.11",
        install_kfp_package=False,
        task_config_passthroughs=[dsl.TaskConfigField.KUBERNETES_VOLUMES],
    )
    def launch(place: str, config: dsl.TaskConfig) -> None:
        pass

    @dsl.pipeline(name="flow", pipeline_config=SPACE)
    def flow() -> None:
        launch(place=dsl.WORKSPACE_PATH_PLACEHOLDER)

    template = lower(flow).inner("launch")
    config = launcher_input(template)["executor"]["inputs"]["parameterValues"]["config"]
    assert config["volumes"] == [
        {"name": "kfp-workspace", "persistentVolumeClaim": {"claimName": "<workflow.name>-kfp-workspace"}}
    ]
    assert config["volumeMounts"] == [{"name": "kfp-workspace", "mountPath": "/kfp-workspace"}]
    assert "/kfp-workspace" not in mounts(template)


IR = """
components:
  comp-a: {executorLabel: exec-a}
deploymentSpec: {executors: {exec-a: {container: {image: x, command: [true], resources: {cpuLimit: 2000000.0}}}}}
pipelineInfo: {name: p}
root: {dag: {tasks: {a: {componentRef: {name: comp-a}}}}}
---
platforms:
  kubernetes:
    deploymentSpec:
      executors:
        exec-a: {initContainers: [{name: first, image: y}, {name: side, image: z, restartPolicy: Always}]}
"""


def test_the_security_context_applies_to_every_container_of_the_pod() -> None:
    document, _ = lower_pipeline(parse_ir(IR), Options(security="restricted", read_only=True))
    template = next(each for each in document["spec"]["templates"] if each["name"] == "a")
    for container in (template["container"], *template["initContainers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
        }
        assert {"name": "sluice-tmp", "mountPath": TEMPORARY} in container["volumeMounts"]


def test_the_init_container_of_a_model_has_the_security_context_too() -> None:
    @dsl.component(base_image="python:3.11", install_kfp_package=False)
    def score(model: dsl.Input[dsl.Model]) -> None:
        pass

    @dsl.pipeline(name="flow")
    def flow() -> None:
        score(model=dsl.importer(artifact_uri="oci://registry/model:1", artifact_class=dsl.Model).output)

    (copied,) = lower(flow, security="restricted").inner("score")["initContainers"]
    assert copied["securityContext"]["runAsNonRoot"] is True


def test_a_user_s_volume_at_tmp_replaces_sluice_s_volume() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        kubernetes.empty_dir_mount(say(text="x"), volume_name="mine", mount_path=TEMPORARY)

    mounted = lower(flow, read_only=True).inner("say")["container"]["volumeMounts"]
    places = [each for each in mounted if each["mountPath"] == TEMPORARY]
    assert places == [{"name": "mine", "mountPath": TEMPORARY}]


NUMBERS = {"2000000": 2_000_000.0, "0.1": 0.1, "0.0000001": 1e-7, "3": 3, "1.5": 1.5}


@pytest.mark.parametrize(("text", "number"), NUMBERS.items())
def test_a_number_has_no_exponent(number: float, text: str) -> None:
    assert decimal(number) == text


def test_many_cpus_in_an_old_ir_are_written_as_digits() -> None:
    assert '"cpu": "2000000"' in json.dumps(lower_pipeline(parse_ir(IR), Options())[0])


def test_an_affinity_that_is_null_is_left_out() -> None:
    pod = Pod()
    apply_settings(pod, {"nodeAffinity": [{"nodeAffinityJson": {}}, {}]}, {}, lambda _: constant_value(None))
    assert "affinity" not in pod.template
