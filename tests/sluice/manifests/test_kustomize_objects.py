"""The objects that kustomize builds are complete, and the controller runs with minimal rights."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from manifest_objects import BUILDS, MANIFESTS, build, find, read_files
from typer.testing import CliRunner

from sluice.cli import app
from sluice.project.settings import Settings
from sluice.rollout.platforms.seldon.metrics_server import HEALTH_PATH

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER_WIDE = {
    "CustomResourceDefinition", "Namespace", "PriorityClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
}  # fmt: skip
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


@pytest.mark.parametrize("name", BUILDS)
def test_kustomize_builds_each_folder(name: str) -> None:
    found = build(name)
    assert found
    seen = set()
    for item in found:
        assert item["apiVersion"]
        assert NAME.fullmatch(item["metadata"]["name"]), item["metadata"]
        namespace = item["metadata"].get("namespace")
        assert (namespace is None) == (item["kind"] in CLUSTER_WIDE), f"{item['kind']} {item['metadata']['name']}: {namespace}"
        assert item["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") == "sluice" or item["kind"] == "Namespace"
        seen.add((item["kind"], namespace, item["metadata"]["name"]))
    assert len(seen) == len(found), "an object occurs twice"


def test_every_folder_is_built() -> None:
    folders = {str(path.parent.relative_to(MANIFESTS)) for path in MANIFESTS.rglob("kustomization.yaml")}
    roots = {name for name in folders if not name.startswith("components/")}
    inside = {f"overlays/{engine}/{part}" for engine in ("argo", "kfp") for part in ("pipelines", "trials")}
    assert roots == {*BUILDS, *inside, "overlays/triggers/pipelines", "overlays/triggers/services"}


@pytest.mark.parametrize("name", ["overlays/production", "overlays/argo", "overlays/kfp", "overlays/triggers"])
def test_bound_accounts_and_roles_exist(name: str) -> None:
    found = [item for overlay in {name, "overlays/production"} for item in build(overlay)]
    roles = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found if item["kind"] == "Role"}
    accounts = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found if item["kind"] == "ServiceAccount"}
    for item in found:
        if item["kind"] == "RoleBinding":
            assert (item["metadata"]["namespace"], item["roleRef"]["name"]) in roles
            for subject in item["subjects"]:
                if subject["kind"] == "ServiceAccount":
                    assert (subject["namespace"], subject["name"]) in accounts


@pytest.mark.parametrize("name", ["base", "overlays/production/serving"])
def test_an_overlay_in_another_namespace_binds_the_controller_there(name: str, tmp_path: Path) -> None:
    copied = shutil.copytree(MANIFESTS, tmp_path / "manifests")
    (tmp_path / "kustomization.yaml").write_text(f"namespace: elsewhere\nresources: [{copied.name}/{name}]\n")
    found = build(tmp_path)
    (binding,) = [one for one in found if one["kind"] == "RoleBinding" and one["metadata"]["name"] == "sluice-controller"]
    assert [one["namespace"] for one in binding["subjects"]] == ["elsewhere"]
    assert {one["metadata"]["namespace"] for one in found if one["kind"] not in CLUSTER_WIDE} == {"elsewhere"}


def test_the_component_trust_gives_the_controller_the_public_keys_of_an_overlay(tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    for name in ("gate.pub", "provenance.pub"):
        (tmp_path / name).write_text("a key")
    generator = "configMapGenerator: [{name: sluice-trust-keys, files: [gate.pub, provenance.pub]}]\n"
    where = "resources: [manifests/overlays/production/serving]\ncomponents: [manifests/components/trust]\n"
    (tmp_path / "kustomization.yaml").write_text(f"namespace: sluice-production\n{where}{generator}")
    found = build(tmp_path)
    (keys,) = [one for one in found if one["metadata"]["name"].startswith("sluice-trust-keys-")]
    (controller,) = [one for one in found if (one["kind"], one["metadata"]["name"]) == ("Deployment", "sluice-controller")]
    spec = controller["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (volume,) = [one for one in spec["volumes"] if one["name"] == "trust-keys"]
    assert volume["configMap"] == {"name": keys["metadata"]["name"]}, "an optional volume would turn the verification off"
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "trust-keys"]
    assert mount["readOnly"] is True
    named = {one["name"]: json.loads(one["value"]) for one in container["env"] if one["name"].startswith("SLUICE_")}
    assert set(named) == {"SLUICE_TRUST__GATE_KEYS", "SLUICE_TRUST__PROVENANCE_KEYS"}
    assert {file for files in named.values() for file in files} == {f"{mount['mountPath']}/{name}" for name in keys["data"]}
    assert "tmp" in {one["name"] for one in container["volumeMounts"]}, "the patch adds and replaces nothing"


def deployment() -> dict[str, Any]:
    return find("Deployment", "sluice-controller")


def pod() -> dict[str, Any]:
    found: dict[str, Any] = deployment()["spec"]["template"]["spec"]
    return found


def test_the_controller_can_run_in_a_restricted_namespace() -> None:
    (container,) = pod()["containers"]
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(set(volume) <= {"name", "emptyDir", "secret"} for volume in pod()["volumes"])  # the level "restricted" allows both


def test_the_controller_has_resource_limits_and_probes() -> None:
    (container,) = pod()["containers"]
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    (port,) = container["ports"]
    paths = {"startupProbe": "/metrics", "livenessProbe": HEALTH_PATH, "readinessProbe": "/metrics"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
    scraped = deployment()["spec"]["template"]["metadata"]["annotations"]
    assert scraped["prometheus.io/port"] == str(port["containerPort"]) == container["command"][-1]
    assert scraped["prometheus.io/path"] == "/metrics"


def test_the_controller_leaves_a_failed_node_soon() -> None:
    waits = {one["key"].rpartition("/")[2]: one["tolerationSeconds"] for one in pod()["tolerations"]}
    assert set(waits) == {"not-ready", "unreachable"}
    assert max(waits.values()) <= 30


def test_a_second_controller_waits_on_another_node_and_the_draining_of_nodes_leaves_one() -> None:
    assert deployment()["spec"]["replicas"] == 2
    (budget,) = [item["spec"] for item in build("base") if item["kind"] == "PodDisruptionBudget"]
    assert budget["minAvailable"] == 1
    labels = deployment()["spec"]["template"]["metadata"]["labels"].items()
    assert budget["selector"]["matchLabels"].items() <= labels
    (preferred,) = pod()["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert preferred["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= labels


def test_the_controllers_command_is_a_command_of_sluice() -> None:
    command = pod()["containers"][0]["command"]
    assert command[:3] == ["python3", "-m", "sluice"]
    ended = CliRunner().invoke(app, [*command[3:5], "--help"])
    assert ended.exit_code == 0, ended.output
    assert "--port" in ended.output


def test_the_controllers_environment_names_existing_settings() -> None:
    (settings,) = [item for item in build("base") if item["kind"] == "ConfigMap"]
    assert settings["data"]["SLUICE_ROLLOUT__SPLITTER"] == "seldon"
    for name in settings["data"]:
        table, _, key = name.removeprefix("SLUICE_").lower().partition("__")
        model: Any = Settings.model_fields[table].annotation
        assert key in model.model_fields, name


@pytest.mark.parametrize("name", BUILDS)
def test_no_image_has_the_tag_latest(name: str) -> None:
    for item in build(name):
        for container in item.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            _, _, tag = container["image"].rpartition(":")
            assert tag, container["image"]
            assert "/" not in tag, container["image"]
            assert tag != "latest", container["image"]


def test_namespaces_set_their_pod_security_level() -> None:
    levels = {
        item["metadata"]["name"]: item["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for _, item in read_files()
        if item["kind"] == "Namespace"
    }
    restricted = ("sluice-pipelines", "sluice-trials", "sluice-triggers")
    assert levels == {"sluice-production": "baseline"} | dict.fromkeys(restricted, "restricted")


def test_policies_refuse_requests_that_they_cannot_evaluate() -> None:
    policies = {item["metadata"]["name"]: item for _, item in read_files() if item["kind"] == "ValidatingAdmissionPolicy"}
    bindings = {item["metadata"]["name"]: item["spec"] for _, item in read_files() if "PolicyBinding" in item["kind"]}
    assert all("Deny" in spec["validationActions"] for spec in bindings.values())
    assert policies.keys() == {spec["policyName"] for spec in bindings.values()}
    for policy in policies.values():
        assert policy["spec"]["failurePolicy"] == "Fail"
        assert all("message" in one or "messageExpression" in one for one in policy["spec"]["validations"])
    for name, place in (("sluice-steering", "sluice-production"), ("sluice-results", "sluice-pipelines")):
        selected = bindings[name]["matchResources"]["namespaceSelector"]["matchLabels"]
        assert selected.items() <= find("Namespace", place)["metadata"]["labels"].items()
