"""The guide of docs/installation.md: kustomize builds its very files, and each command, setting and path that it names exists."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from manifest_objects import MANIFESTS, ROOT, build
from typer.testing import CliRunner

from churn.data import FEATURES
from sluice.cli import app
from sluice.project.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
LOOKUP = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
SHELL = "\n".join(text for kind, text in BLOCKS if not kind)
OVERLAY = {text.partition("\n")[0].removeprefix("# "): text for kind, text in BLOCKS if kind == "yaml"}
DIGEST = "0" * 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the overlay of the guide as a reader does: its two files beside manifests/, and the keys."""
    folder = tmp_path_factory.mktemp("guide")
    shutil.copytree(MANIFESTS, folder / "manifests")
    (folder / "deploy" / "serving").mkdir(parents=True)
    for name in ("deploy/kustomization.yaml", "deploy/serving/kustomization.yaml"):
        (folder / name).write_text(OVERLAY[name])
    for name in ("gate.pub", "provenance.pub"):
        (folder / "deploy" / "serving" / name).write_text("a key")
    return folder


@pytest.fixture(scope="module")
def built(folder: Path) -> list[dict[str, Any]]:
    return build(folder / "deploy")


def pick(built: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in built if one["kind"] == kind and one["metadata"]["name"].startswith(name)]
    return found


def test_the_overlay_has_what_overlays_production_has(built: list[dict[str, Any]]) -> None:
    def name_all(items: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
        places = [(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in items]
        return {(kind, place, re.sub(r"-[0-9a-z]{10}$", "", name)) for kind, place, name in places}

    assert name_all(built) - name_all(build("overlays/production")) == {("ConfigMap", "sluice-production", "sluice-trust-keys")}
    assert name_all(build("overlays/production")) <= name_all(built)


def test_the_controller_has_the_image_the_keys_the_settings_and_the_pull_secret(built: list[dict[str, Any]]) -> None:
    (container,) = pick(built, "Deployment", "sluice-controller")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.com/churn/sluice-step@sha256:{DIGEST}"
    assert {"SLUICE_TRUST__GATE_KEYS", "SLUICE_TRUST__PROVENANCE_KEYS"} <= {one["name"] for one in container["env"]}
    settings = pick(built, "ConfigMap", "sluice-controller")
    assert settings["data"] == {"SLUICE_ROLLOUT__SPLITTER": "seldon", "SLUICE_SELDON__REPLICAS": "1"}
    assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
    assert pick(built, "ServiceAccount", "sluice-controller")["imagePullSecrets"] == [{"name": "sluice-registry"}]


def test_the_overlay_can_be_for_another_namespace(folder: Path) -> None:
    """docs/cluster.md says which of the two names of the namespace changes."""
    other = folder / "elsewhere"
    shutil.copytree(folder / "deploy" / "serving", other / "serving")
    file = other / "serving" / "kustomization.yaml"
    file.write_text(file.read_text().replace("\nnamespace: sluice-production\n", "\nnamespace: elsewhere\n"))
    found = build(other / "serving")
    assert {one["metadata"].get("namespace", "elsewhere") for one in found} == {"elsewhere"}
    assert pick(found, "ConfigMap", "sluice-controller")["data"]["SLUICE_SELDON__REPLICAS"] == "1"


def test_the_overlay_can_let_another_gateway_reach_the_servers(folder: Path) -> None:
    """docs/cluster.md has the patch."""
    (patch,) = re.findall(
        r"^```yaml\n# a patch for deploy/serving/kustomization\.yaml\n(.*?)^```$", LOOKUP, re.MULTILINE | re.DOTALL
    )
    other = folder / "another-gateway"
    shutil.copytree(folder / "deploy" / "serving", other / "serving")
    file = other / "serving" / "kustomization.yaml"
    file.write_text(f"{file.read_text()}{textwrap.indent(patch, '  ')}")
    before, after = (
        pick(build(one / "serving"), "NetworkPolicy", "sluice-serving")["spec"] for one in (folder / "deploy", other)
    )
    assert [list(peer) for peer in after["ingress"][0]["from"]] == [["namespaceSelector", "podSelector"], ["ipBlock"]]
    assert after["ingress"][0].pop("from") != before["ingress"][0].pop("from")
    assert after == before, "the ports and the other peers stay"


def test_the_policy_for_the_paths_of_the_gateway_allows_those_of_the_guide() -> None:
    (text,) = re.findall(r"^```yaml\n(apiVersion: security\.istio\.io.*?)^```$", LOOKUP, re.MULTILINE | re.DOTALL)
    ((operation,),) = [[to["operation"] for to in rule["to"]] for rule in yaml.safe_load(text)["spec"]["rules"]]
    (prefix,) = operation["paths"]
    allowed = set(re.findall(r"`(/seldon/[^`]+)`", GUIDE))
    assert set(operation["notPaths"]) == allowed
    assert {path.partition("/api/")[2] for path in allowed} == {"v1.0/predictions", "v1.0/health/status"}
    assert all(path.startswith(prefix.removesuffix("*")) for path in allowed)


def test_the_accounts_of_the_guide_are_bound_to_their_roles_and_to_no_other_one(built: list[dict[str, Any]]) -> None:
    names = re.search(r"^for name in (bob ann); do$", SHELL, re.MULTILINE)
    assert names
    for name, roles in zip(names[1].split(), ({"sluice-requester"}, {"sluice-approver", "sluice-scaler"}), strict=True):
        bound = [one for one in built if one["kind"] == "RoleBinding" and name in [each["name"] for each in one["subjects"]]]
        assert {one["roleRef"]["name"] for one in bound} == roles
        assert len(bound) == len(roles)
        assert all(one["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": "people"}] for one in bound)


def test_the_settings_of_the_guide_extend_sluice_toml(tmp_path: Path) -> None:
    (text,) = [text for kind, text in BLOCKS if kind == "toml"]
    found = tomllib.loads((ROOT / "sluice.toml").read_text(encoding="utf-8") + text)  # a table that is there already is an error
    settings = Settings(**found)
    assert settings.rollout.in_cluster
    assert settings.seldon.pull_secrets == ["sluice-registry"]
    assert [f"deploy/serving/{name}.pub" for name in ("gate", "provenance")] == [
        *settings.trust.gate_keys,
        *settings.trust.provenance_keys,
    ]
    for name in re.findall(r"`((?:serving|seldon|rollout)\.[a-z_]+)`", GUIDE):
        table, _, key = name.partition(".")
        assert key in type(getattr(settings, table)).model_fields, name


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"(?:^|`)sluice ((?:doctor|run|release|rollout)(?: [a-z]+)?)", GUIDE, re.MULTILINE)))
)
def test_each_command_of_the_guide_exists(command: str) -> None:
    words = command.split()
    done = CliRunner().invoke(app, [*(words[:1] if words[0] == "run" else words), "--help"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("command", "option"), [("doctor", "--platform"), ("rollout approve", "--note")])
def test_each_option_of_the_guide_exists(command: str, option: str) -> None:
    assert f"{option} " in SHELL
    assert option in CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).output


def test_each_make_target_variable_and_path_of_the_guide_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in re.findall(r"^make (.*)$", SHELL, re.MULTILINE):
        for word in line.split():
            name, is_variable, _ = word.partition("=")
            assert f"$({name})" in makefile if is_variable else re.search(rf"^{name}:", makefile, re.MULTILINE), word
    for name in re.findall(r"`([A-Z_]+)=", GUIDE):
        assert f"$(if $({name})" in makefile or name == "ISTIO_ENABLED", name
    rows = re.findall(r"^\| (`[^|]+) \|", LOOKUP.partition("## What is in manifests/")[2], re.MULTILINE)
    assert len(rows) == 4
    for row in rows:
        for name in re.findall(r"`([a-z/]+)`", row):
            assert (MANIFESTS / name / "kustomization.yaml").is_file(), name
    for name in re.findall(r"[` ]((?:overlays|manifests)/[a-z/.]+)[`\n]", GUIDE):
        assert (MANIFESTS / name.removeprefix("manifests/")).exists(), name


def test_the_request_of_the_guide_has_the_columns_of_the_model() -> None:
    body = json.loads(SHELL.partition("<<'JSON'\n")[2].partition("\nJSON\n")[0])
    assert set(body["data"]["names"]) == set(FEATURES)
    assert [len(row) for row in body["data"]["ndarray"]] == [len(FEATURES)]


def test_the_edits_of_the_guide_change_the_line_of_the_model_that_they_name() -> None:
    model = (ROOT / "churn" / "model.py").read_text(encoding="utf-8")
    edits = re.findall(r"^sed -i 's/\^DEFAULT_FEATURES = \.\*/(DEFAULT_FEATURES = .*)/' churn/model\.py$", SHELL, re.MULTILINE)
    assert len(edits) == 2
    assert len(re.findall(r"^DEFAULT_FEATURES = .*$", model, re.MULTILINE)) == 1
    assert edits[-1] in model


def test_the_gateway_of_the_guide_is_the_one_that_the_operator_expects() -> None:
    found = yaml.safe_load(OVERLAY["gateway.yaml"])
    assert (found["metadata"]["namespace"], found["metadata"]["name"]) == ("istio-system", "seldon-gateway")
