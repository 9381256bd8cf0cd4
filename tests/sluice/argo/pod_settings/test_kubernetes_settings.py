"""Tests of the settings of kfp-kubernetes: each setting that its functions write and kfp compiles reaches the pod."""

from typing import Any

import pytest
from argo_pipelines import arguments, compile_flow, lower, parse_with_tags
from kfp import dsl, kubernetes
from kfp.kubernetes import kubernetes_executor_config_pb2 as proto

from sluice.argo.expressions.values import constant_value, runtime_value
from sluice.argo.pod_settings.kubernetes_settings import FIELDS, HANDLERS, PASSTHROUGHS, apply_settings
from sluice.argo.pod_settings.step_pods import Pod

component = dsl.component(base_image="python:3.11", install_kfp_package=False)


@component
def work() -> str:
    return "x"


@component
def choose() -> dict:
    return {}


@component
def name_it() -> str:
    return "named"


def pod_of(apply: Any) -> dict[str, Any]:
    """Return the template of a task after a function of kfp-kubernetes changed the task."""

    @dsl.pipeline(name="flow")
    def flow() -> None:
        apply(work())

    return lower(flow).inner("work")


def test_every_setting_that_kfp_kubernetes_can_write_has_a_handler() -> None:
    fields = {field.json_name for field in proto.KubernetesExecutorConfig.DESCRIPTOR.fields}
    assert fields <= set(HANDLERS) == set(FIELDS)
    assert set(PASSTHROUGHS) <= set(HANDLERS)


def test_the_handlers_know_every_field_of_every_setting() -> None:
    for setting in proto.KubernetesExecutorConfig.DESCRIPTOR.fields:
        inner = {field.json_name for field in setting.message_type.fields} if setting.message_type else set()
        assert inner <= FIELDS[setting.json_name], setting.json_name


def test_an_unknown_field_is_reported_with_its_setting() -> None:
    settings = {"securityContext": {"runAsUser": 5, "fsGroup": 7}, "tolerations": [{"key": "a"}, {"forever": True}]}
    assert apply_settings(Pod(), settings, {}, lambda _: constant_value("x")) == [
        "securityContext.fsGroup",
        "tolerations.forever",
    ]


def test_this_file_tests_every_function_of_kfp_kubernetes() -> None:
    functions = {name for name in kubernetes.__all__ if callable(getattr(kubernetes, name))}
    assert len(functions) == 22
    tested = open(__file__, encoding="utf-8").read()  # noqa: PTH123, SIM115
    assert [name for name in functions if f"kubernetes.{name}" not in tested] == []


def test_an_unknown_setting_is_reported() -> None:
    assert apply_settings(Pod(), {"colour": "red", "imagePullPolicy": "Always"}, {}, lambda _: constant_value("x")) == ["colour"]


def test_a_secret_becomes_an_environment_variable() -> None:
    found = pod_of(lambda task: kubernetes.use_secret_as_env(task, "s", {"k": "VARIABLE"}, optional=True))
    assert found["container"]["env"] == [
        {"name": "VARIABLE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}}
    ]


def test_a_secret_becomes_a_volume() -> None:
    found = pod_of(lambda task: kubernetes.use_secret_as_volume(task, "s", "/mnt"))
    assert found["volumes"] == [{"name": "secret-1", "secret": {"secretName": "s", "optional": False}}]
    assert {"name": "secret-1", "mountPath": "/mnt"} in found["container"]["volumeMounts"]


def test_a_config_map_becomes_environment_variables() -> None:
    found = pod_of(lambda task: kubernetes.use_config_map_as_env(task, "c", {"k": "A", "l": "B"}))
    assert [(each["name"], each["valueFrom"]["configMapKeyRef"]["key"]) for each in found["container"]["env"]] == [
        ("A", "k"),
        ("B", "l"),
    ]
    assert found["container"]["env"][0]["valueFrom"]["configMapKeyRef"]["name"] == "c"


def test_a_config_map_becomes_a_volume() -> None:
    found = pod_of(lambda task: kubernetes.use_config_map_as_volume(task, "c", "/mnt", optional=True))
    assert found["volumes"] == [{"name": "configmap-1", "configMap": {"name": "c", "optional": True}}]


def test_volumes_of_one_pod_have_different_names() -> None:
    def apply(task: Any) -> None:
        kubernetes.use_secret_as_volume(task, "s", "/a")
        kubernetes.use_secret_as_volume(task, "t", "/b")
        kubernetes.mount_pvc(task, "claim", "/c", sub_path="sub")

    found = pod_of(apply)
    assert len({each["name"] for each in found["volumes"]}) == 3
    assert {each.get("subPath") for each in found["container"]["volumeMounts"]} == {None, "sub"}


def test_a_claim_becomes_a_volume() -> None:
    found = pod_of(lambda task: kubernetes.mount_pvc(task, "claim", "/data"))
    assert found["volumes"] == [{"name": "persistentvolumeclaim-1", "persistentVolumeClaim": {"claimName": "claim"}}]


def test_an_ephemeral_volume_becomes_a_volume_claim_template() -> None:
    found = pod_of(
        lambda task: kubernetes.add_ephemeral_volume(
            task, "scratch", "/scratch", ["ReadWriteOnce"], "1Gi", "fast", labels={"a": "b"}, annotations={"c": "d"}
        )
    )
    assert found["volumes"] == [
        {
            "name": "scratch",
            "ephemeral": {
                "volumeClaimTemplate": {
                    "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                        "storageClassName": "fast",
                    },
                }
            },
        }
    ]


def test_an_empty_dir_becomes_a_volume() -> None:
    found = pod_of(lambda task: kubernetes.empty_dir_mount(task, "cache", "/cache", medium="Memory", size_limit="1Gi"))
    assert found["volumes"] == [{"name": "cache", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]


def test_node_selectors_become_labels_of_the_node() -> None:
    assert pod_of(lambda task: kubernetes.add_node_selector(task, "disk", "ssd"))["nodeSelector"] == {"disk": "ssd"}
    assert pod_of(lambda task: kubernetes.add_node_selector_json(task, {"disk": "ssd"}))["nodeSelector"] == {"disk": "ssd"}


def test_tolerations_become_fields_of_the_template() -> None:
    whole = {"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute", "tolerationSeconds": 30}
    found = pod_of(lambda task: kubernetes.add_toleration(task, "k", "Equal", "v", "NoExecute", 30))
    assert found["tolerations"] == [whole]
    found = pod_of(lambda task: kubernetes.add_toleration_json(task, {"key": "k", "operator": "Exists"}))
    assert found["tolerations"] == [{"key": "k", "operator": "Exists"}]


def test_node_affinities_become_one_affinity() -> None:
    expression = {"key": "zone", "operator": "In", "values": ["a"]}

    def apply(task: Any) -> None:
        kubernetes.add_node_affinity(task, match_expressions=[expression])
        kubernetes.add_node_affinity(task, match_expressions=[expression], weight=5)

    assert pod_of(apply)["affinity"]["nodeAffinity"] == {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "preference": {"matchExpressions": [expression]}}],
    }
    whole = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    found = pod_of(lambda task: kubernetes.add_node_affinity_json(task, whole))
    assert found["affinity"]["nodeAffinity"] == whole


def test_braces_in_labels_and_annotations_stay_unchanged() -> None:
    def apply(task: Any) -> None:
        kubernetes.add_pod_label(task, "team", "ml")
        kubernetes.add_pod_annotation(task, "note", "{{workflow.name}}")

    found = pod_of(apply)["metadata"]
    assert found["labels"] == {"team": "ml"}
    assert found["annotations"] == {"note": r"{{='\u007b\u007bworkflow.name\u007d\u007d'}}"}


def test_the_pull_policy_is_a_field_and_the_pull_secrets_are_a_patch() -> None:
    assert pod_of(lambda task: kubernetes.set_image_pull_policy(task, "Always"))["container"]["imagePullPolicy"] == "Always"
    found = pod_of(lambda task: kubernetes.set_image_pull_secrets(task, ["one", "two"]))
    assert parse_with_tags(found["podSpecPatch"]) == {"imagePullSecrets": [{"name": "one"}, {"name": "two"}]}


def test_a_timeout_becomes_a_deadline() -> None:
    assert pod_of(lambda task: kubernetes.set_timeout(task, 90))["activeDeadlineSeconds"] == 90


def test_a_security_context_becomes_that_of_the_container() -> None:
    found = pod_of(lambda task: kubernetes.set_security_context(task, run_as_user=0, run_as_group=7, run_as_non_root=False))
    assert found["container"]["securityContext"] == {"runAsUser": 0, "runAsGroup": 7, "runAsNonRoot": False}


def test_a_field_of_the_pod_becomes_an_environment_variable() -> None:
    found = pod_of(lambda task: kubernetes.use_field_path_as_env(task, "NODE", "spec.nodeName"))
    assert found["container"]["env"] == [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]


def test_argo_creates_and_deletes_a_claim_without_an_image() -> None:
    @dsl.pipeline(name="flow")
    def flow(size: str = "1Gi") -> None:
        made = kubernetes.CreatePVC(
            pvc_name_suffix="-data",
            access_modes=["ReadWriteMany"],
            size=size,
            storage_class_name="standard",
            annotations={"a": "b"},
        )
        task = work()
        kubernetes.mount_pvc(task, made.outputs["name"], "/data")
        kubernetes.DeletePVC(pvc_name=made.outputs["name"]).after(task)

    found = lower(flow)
    create, delete = found.inner("createpvc"), found.inner("deletepvc")
    assert create["resource"]["action"] == "create"
    manifest = parse_with_tags(create["resource"]["manifest"])
    assert manifest["metadata"]["name"] == "<=workflow.name + fromJSON(inputs.parameters.pvc_name_suffix)>"
    assert manifest["spec"]["resources"] == {"requests": {"storage": "<=inputs.parameters.size>"}}
    assert arguments(found.task("createpvc"))["access_modes"] == '["ReadWriteMany"]'
    assert (delete["resource"]["action"], delete["resource"]["flags"]) == ("delete", ["--wait=false"])
    assert "deletepvc" not in found.task("work")["dependencies"]
    assert found.task("work")["dependencies"] == ["createpvc"]
    assert found.inner("work")["volumes"][0]["persistentVolumeClaim"] == {
        "claimName": "{{=fromJSON(inputs.parameters.setting_1)}}"
    }


NAMED = {
    "secret as env": lambda task, name: kubernetes.use_secret_as_env(task, name, {"k": "V"}),
    "secret as volume": lambda task, name: kubernetes.use_secret_as_volume(task, name, "/mnt"),
    "config map as env": lambda task, name: kubernetes.use_config_map_as_env(task, name, {"k": "V"}),
    "config map as volume": lambda task, name: kubernetes.use_config_map_as_volume(task, name, "/mnt"),
    "pvc": lambda task, name: kubernetes.mount_pvc(task, name, "/mnt"),
    "pull secret": lambda task, name: kubernetes.set_image_pull_secrets(task, [name]),
}
STRUCTURED = {
    "node selector": kubernetes.add_node_selector_json,
    "toleration": kubernetes.add_toleration_json,
    "node affinity": kubernetes.add_node_affinity_json,
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_name_from_a_parameter_or_an_output_becomes_an_input(kind: str) -> None:
    apply = NAMED[kind]

    @dsl.pipeline(name="flow")
    def from_parameter(name: str = "s") -> None:
        apply(work(), name)

    @dsl.pipeline(name="flow")
    def from_output() -> None:
        apply(work(), name_it().output)

    for flow, source in (
        (from_parameter, "workflow.parameters.name"),
        (from_output, "tasks['name-it'].outputs.parameters.Output"),
    ):
        found = lower(flow)
        assert source in arguments(found.task("work"))["setting_1"]
        assert "inputs.parameters.setting_1" in str({**found.inner("work"), "inputs": {}, "memoize": {}})
    assert lower(from_output).task("work")["dependencies"] == ["name-it"]


@pytest.mark.parametrize("kind", STRUCTURED)
def test_a_structure_from_a_parameter_or_an_output_becomes_a_patch(kind: str) -> None:
    apply = STRUCTURED[kind]

    @dsl.pipeline(name="flow")
    def from_parameter(value: dict = {}) -> None:  # noqa: B006 - kfp's form of a default
        apply(work(), value)

    @dsl.pipeline(name="flow")
    def from_output() -> None:
        apply(work(), choose().output)

    for flow in (from_parameter, from_output):
        assert "inputs.parameters.setting_1" in lower(flow).inner("work")["podSpecPatch"]


@pytest.mark.parametrize("kind", [*NAMED, *STRUCTURED])
def test_a_setting_works_inside_a_condition_and_a_loop(kind: str) -> None:
    apply = (NAMED | STRUCTURED)[kind]
    source = name_it if kind in NAMED else choose

    @dsl.pipeline(name="flow")
    def flow() -> None:
        named = source()
        with dsl.If(name_it().output == "x"), dsl.ParallelFor(["a", "b"]):
            apply(work(), named.output)

    found = lower(flow)
    assert found.refusals == ()
    assert "inputs.parameters.setting_1" in str(found.inner("condition-1", "for-loop-3", "work"))


def test_a_setting_is_left_out_if_its_name_is_null() -> None:
    pod = Pod()
    handler = HANDLERS["secretAsEnv"]
    handler(pod, [{"secretNameParameter": {}, "keyToEnv": [{"secretKey": "k", "envVar": "V"}]}], lambda _: constant_value(None))
    assert pod.container == {}


HAND_WRITTEN: dict[str, tuple[Any, str]] = {
    "podAffinity": (
        [{"topologyKey": "zone", "matchPodLabels": {"a": "b"}, "weight": 3, "anti": True, "namespaces": ["n"]}],
        "podAntiAffinity",
    ),
    "enabledSharedMemory": ({"volumeName": "shm", "size": "1Gi"}, "/dev/shm"),  # noqa: S108 - the path that the kernel uses
    "initContainers": ([{"name": "first", "image": "i", "command": ["{{x}}"], "env": [{"name": "A", "value": "1"}]}], "first"),
}


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_settings_without_a_function_in_kfp_kubernetes_are_applied(name: str) -> None:
    raw, expected = HAND_WRITTEN[name]
    pod = Pod()
    assert apply_settings(pod, {name: raw}, {}, lambda _: runtime_value("x")) == []
    assert expected in str(pod.template) + str(pod.container)
    assert "{{x}}" not in str(pod.template)


def test_the_old_forms_of_a_name_are_read() -> None:
    pod = Pod()
    raw = {
        "secretAsVolume": [{"secretName": "s", "mountPath": "/s"}],
        "pvcMount": [{"constant": "p", "mountPath": "/p"}],
        "configMapAsEnv": [{"configMapName": "c", "keyToEnv": [{"configMapKey": "k", "envVar": "V"}]}],
    }
    apply_settings(pod, raw, {}, lambda spec: constant_value(spec["runtimeValue"]["constant"]))
    assert [next(iter(each.values())) for each in pod.template["volumes"]] == ["secret-1", "persistentvolumeclaim-2"]
    assert pod.container["env"][0]["valueFrom"]["configMapKeyRef"]["name"] == "c"


def test_a_setting_is_read_from_the_ir_that_kfp_writes() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        kubernetes.set_timeout(work(), 5)

    assert compile_flow(flow).components["comp-work"].platform == {"activeDeadlineSeconds": "5"}
