"""Only the step that signs mounts its private key, on Argo and on KFP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sluice.argo.compilation import Options
from sluice.argo.component_kinds import OWN_CALLS, SIGNING_VARIABLES
from sluice.engines.compiling import argo_options, compile_to_argo
from sluice.engines.kfp.token_secrets import add_secrets, add_signing_secrets
from sluice.engines.sources import read_source
from sluice.errors import UnsupportedError
from sluice.ir.lint import find_unread_fields, find_unsupported_by_kfp
from sluice.ir.reading import parse_ir
from sluice.kubernetes_calls import SIGNING_KEY
from sluice.project.projects import Project, read_project
from sluice.project.tables.pipelines.argo import ArgoTable
from sluice.project.tables.pipelines.kfp import KfpTable
from sluice.release import gate_statements, provenance

ROOT = Path(__file__).resolve().parents[4]
IR = ROOT / "pipelines" / "compiled" / "kfp" / "release.yaml"
SECRETS = {"gate": "sluice-gate-key", "package": "sluice-provenance-key"}


def compile_templates(source: Path = IR, **options: Any) -> dict[str, Any]:
    _, pipeline = read_source(str(source), None, images=[])
    compiled = yaml.safe_load(compile_to_argo(pipeline, Options(signing_secrets=tuple(SECRETS.items()), **options)))
    return {one["name"]: one for one in compiled["spec"]["templates"] if "container" in one}


def test_the_variables_are_those_that_the_steps_read() -> None:
    assert SIGNING_VARIABLES == {"gate": gate_statements.KEY_VARIABLE, "package": provenance.KEY_VARIABLE}


@pytest.mark.parametrize("options", [{}, {"security": "restricted", "read_only": True}])
def test_on_argo_only_the_two_steps_that_sign_mount_a_key_each_its_own(options: dict[str, Any]) -> None:
    templates = compile_templates(**options)
    for name, template in templates.items():
        volumes = {one["name"]: one["secret"]["secretName"] for one in template.get("volumes", ()) if "secret" in one}
        mounts = {one["name"]: one["mountPath"] for one in template["container"].get("volumeMounts", ())}
        variables = {one["name"]: one.get("value") for one in template["container"].get("env", ())}
        if name in SECRETS:
            assert volumes == {"sluice-signing-key": SECRETS[name]}
            assert mounts["sluice-signing-key"] == str(SIGNING_KEY.parent)
            assert variables[SIGNING_VARIABLES[name]] == str(SIGNING_KEY)
        else:
            assert "signing" not in str((volumes, mounts))
            assert not variables.keys() & set(SIGNING_VARIABLES.values())
    assert SECRETS.keys() <= templates.keys()


def test_the_settings_reach_the_compiler() -> None:
    project = read_project(ROOT)
    update = {"argo": ArgoTable(signing_secrets=SECRETS), "kfp": KfpTable(signing_secrets=SECRETS)}
    project = Project(project.root, project.settings.model_copy(update=update))
    assert argo_options(project).signing_secrets == tuple(SECRETS.items())
    text = IR.read_text()
    assert add_secrets(text, parse_ir(text), project.settings.kfp) == add_signing_secrets(text, parse_ir(text), SECRETS)


@pytest.mark.parametrize("table", [ArgoTable, KfpTable])
def test_no_other_step_gets_a_key(table: Any) -> None:
    with pytest.raises(ValidationError, match="the step train signs nothing; only gate and package do"):
        table(signing_secrets={"train": "sluice-gate-key"})


def test_on_kfp_only_the_two_steps_that_sign_mount_a_key_each_its_own() -> None:
    text = IR.read_text()
    changed = add_signing_secrets(text, parse_ir(text), SECRETS)
    pipeline, kubernetes = yaml.safe_load_all(changed)
    mounted = kubernetes["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for label, executor in pipeline["deploymentSpec"]["executors"].items():
        name = label.removeprefix("exec-")
        volumes = {one["secretName"]: one["mountPath"] for one in mounted.get(label, {}).get("secretAsVolume", ())}
        variables = {one["name"]: one["value"] for one in executor.get("container", {}).get("env", ())}
        if name in SECRETS:
            assert volumes == {SECRETS[name]: str(SIGNING_KEY.parent)}
            assert variables[SIGNING_VARIABLES[name]] == str(SIGNING_KEY)
        else:
            assert str(SIGNING_KEY.parent) not in volumes.values()
            assert not variables.keys() & set(SIGNING_VARIABLES.values())
    graph = parse_ir(changed)
    assert not find_unsupported_by_kfp(graph)
    assert not find_unread_fields(graph, matters=False)
    assert add_signing_secrets(changed, graph, SECRETS) == changed
    assert add_signing_secrets(text, parse_ir(text), {}) == text


def test_a_component_with_the_name_of_the_gate_and_another_body_gets_no_key(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(IR.read_text().replace(OWN_CALLS["gate"], "from other import ask"))
    with pytest.raises(UnsupportedError, match=r"Sluice's step 'gate', but its body does not call it, so it gets no signing key"):
        compile_templates(other)
    text = other.read_text()
    with pytest.raises(UnsupportedError, match="so it gets no token and no key"):
        add_signing_secrets(text, parse_ir(text), SECRETS)
