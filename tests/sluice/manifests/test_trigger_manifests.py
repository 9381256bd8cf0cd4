"""The manifests of the drift monitor and the webhook fit the services."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from manifest_objects import MANIFESTS, build, find
from typer.testing import CliRunner

from sluice.cli import app
from sluice.project.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = ("monitor", "webhook")
OVERLAY = "overlays/triggers"


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = find("Deployment", f"sluice-{name}")["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_the_pod_is_restricted_and_has_limits(name: str) -> None:
    (container,) = pod(name)["containers"]
    assert pod(name)["securityContext"]["runAsNonRoot"] is True
    assert pod(name)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}


@pytest.mark.parametrize("name", SERVICES)
def test_one_process_writes_the_state(name: str) -> None:
    spec = find("Deployment", f"sluice-{name}")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert find("PodDisruptionBudget", f"sluice-{name}")["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("name", SERVICES)
def test_command_port_service_and_network_policy_agree(name: str) -> None:
    (container,) = pod(name)["containers"]
    command = container["command"]
    assert command[:3] == ["python3", "-m", "sluice"]
    assert CliRunner().invoke(app, [command[3], "--help"]).exit_code == 0
    (port,) = container["ports"]
    table: Any = Settings.model_fields[name].annotation
    assert str(port["containerPort"]) == command[-1] == str(table().port)
    (service,) = find("Service", f"sluice-{name}")["spec"]["ports"]
    assert (service["port"], service["targetPort"]) == (port["containerPort"], port["name"])
    policy = find("NetworkPolicy", f"sluice-{name}")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert [one["ports"] for one in policy["ingress"]] == [[{"port": port["containerPort"], "protocol": "TCP"}]]
    assert all(one["from"] for one in policy["ingress"]), "nobody else may connect"


def test_keys_come_from_a_secret_by_reference_and_no_manifest_has_one() -> None:
    volumes = {volume["name"]: volume for volume in pod("webhook")["volumes"]}
    assert volumes["keys"]["secret"]["secretName"] == "sluice-webhook-keys"
    mounts = {mount["name"]: mount for mount in pod("webhook")["containers"][0]["volumeMounts"]}
    assert mounts["keys"]["readOnly"] is True
    for item in build(OVERLAY):
        assert item["kind"] != "Secret"
        for container in item.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            assert all("valueFrom" not in variable for variable in container.get("env", []))
            assert "--key" not in " ".join(container["command"])


def test_the_settings_in_the_environment_exist() -> None:
    (settings,) = [item for item in build(OVERLAY) if item["kind"] == "ConfigMap"]
    found = settings["data"] | {}
    assert found.pop("SLUICE_STATE") == "/state"
    for name in found:
        table, _, key = name.removeprefix("SLUICE_").lower().partition("__")
        model: Any = Settings.model_fields[table].annotation
        assert key in model.model_fields, name
    mounted = {mount["mountPath"] for name in SERVICES for mount in pod(name)["containers"][0]["volumeMounts"]}
    assert {found["SLUICE_WEBHOOK__KEYS"], "/state"} <= mounted


def test_the_monitor_can_pull_the_champions_release_and_read_its_name() -> None:
    (container,) = pod("monitor")["containers"]
    (folder,) = (variable["value"] for variable in container["env"] if variable["name"] == "DOCKER_CONFIG")
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod("monitor")["volumes"]}
    assert volumes[mounts[folder]]["secret"]["items"] == [{"key": ".dockerconfigjson", "path": "config.json"}]
    binding = find("RoleBinding", "sluice-monitor")
    assert (binding["metadata"]["namespace"], binding["roleRef"]["name"]) == ("sluice-production", "sluice-reader")
    assert [one["name"] for one in binding["subjects"]] == ["sluice-monitor"]


def test_the_accounts_may_create_workflows_and_change_nothing_else() -> None:
    role = find("Role", "sluice-triggers")
    assert role["rules"] == [{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["create"]}]
    bindings = [item for item in build(OVERLAY) if item["kind"] == "RoleBinding"]
    assert {item["roleRef"]["name"] for item in bindings} == {"sluice-triggers", "sluice-reader"}
    bound = [item for item in bindings if item["roleRef"]["name"] == "sluice-triggers"]
    subjects = {(one["name"], one["namespace"]) for item in bound for one in item["subjects"]}
    assert subjects == {(f"sluice-{name}", "sluice-triggers") for name in SERVICES}
    roles = [item for item in build(OVERLAY) if item["kind"] in {"Role", "ClusterRole"}]
    assert len(roles) == 1


def test_argos_event_binding_passes_nothing_of_the_event_on(tmp_path: Path) -> None:
    folder = MANIFESTS / "components" / "event-binding"
    binding = find("WorkflowEventBinding", "sluice-retrain")
    assert "arguments" not in binding["spec"]["submit"]
    role = find("Role", "sluice-event-sender")
    template = binding["spec"]["submit"]["workflowTemplateRef"]["name"]
    assert [rule.get("resourceNames") for rule in role["rules"]] == [None, [template], None]
    files = set(yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"])
    assert files == {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"}


def test_the_patch_in_the_comment_makes_the_event_binding_start_the_pipeline_of_another_project(tmp_path: Path) -> None:
    folder = MANIFESTS / "components" / "event-binding"
    lines = [line for line in (folder / "kustomization.yaml").read_text().splitlines() if line.startswith("#   ")]
    patches = "\n".join(line.removeprefix("#   ") for line in lines)
    (tmp_path / "kustomization.yaml").write_text(
        f"components: [{os.path.relpath(folder, tmp_path.resolve())}]\nnamespace: sluice-pipelines\n{patches}\n"
    )
    items = {item["kind"]: item for item in build(tmp_path)}
    submit = items["WorkflowEventBinding"]["spec"]["submit"]
    assert submit["workflowTemplateRef"]["name"] == "fraud-retrain"
    assert submit["metadata"]["generateName"] == "fraud-retrain-"
    assert [rule["resourceNames"] for rule in items["Role"]["rules"] if "resourceNames" in rule] == [["fraud-retrain"]]
    assert "churn" not in yaml.safe_dump_all(items.values())


def test_the_page_names_the_services_as_the_manifests_do() -> None:
    page = (MANIFESTS.parent / "docs" / "how-to" / "drift.md").read_text(encoding="utf-8")
    for folder in re.findall(r"`manifests/(components/[\w-]+|overlays/[\w-]+)`", page):
        assert (MANIFESTS / folder / "kustomization.yaml").is_file(), folder
    assert "http://sluice-monitor.sluice-triggers:8090/events" in page


def test_the_page_creates_the_namespace_before_the_secrets_and_the_secrets_before_the_services() -> None:
    page = (MANIFESTS.parent / "docs" / "how-to" / "drift.md").read_text(encoding="utf-8")
    (commands,) = (
        block for block in re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "create secret" in block
    )
    first, *creations, last = commands.splitlines()
    file = MANIFESTS.parent / first.removeprefix("kubectl apply -f ")
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["metadata"]["name"] == "sluice-triggers"
    assert last == f"kubectl apply -k manifests/{OVERLAY}"
    created = {
        match[1] for line in creations if (match := re.search(r"^kubectl -n sluice-triggers create secret \S+ (\S+) ", line))
    }
    needed = {volume["secret"]["secretName"] for name in SERVICES for volume in pod(name)["volumes"] if "secret" in volume}
    assert created == needed
