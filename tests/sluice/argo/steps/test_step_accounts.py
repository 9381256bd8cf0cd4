"""Only the steps that the settings name have a service account and a token. Code of the project and of the model has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.argo.compilation import Options
from sluice.argo.component_kinds import OWN_CALLS, find_table_key, is_impostor
from sluice.engines.compiling import compile_to_argo
from sluice.engines.sources import read_source
from sluice.errors import UnsupportedError
from sluice.ir.graph import Container

COMPILED = Path(__file__).resolve().parents[4] / "pipelines" / "compiled" / "kfp"
IR = COMPILED / "release.yaml"
ACCOUNTS = (("gate", "sluice-gate"), ("canary", "sluice-canary"), ("pin-snapshot", "sluice-reader"))


def compile_spec(source: Path = IR, **options: Any) -> dict[str, Any]:
    _, pipeline = read_source(str(source), None, images=[])
    spec: dict[str, Any] = yaml.safe_load(compile_to_argo(pipeline, Options(service_account="sluice-pipeline", **options)))[
        "spec"
    ]
    return spec


def accounts_of(spec: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["serviceAccountName"] for one in spec["templates"] if "serviceAccountName" in one}


def test_by_default_every_step_has_the_token_of_its_account() -> None:
    spec = compile_spec(service_accounts=ACCOUNTS)
    assert spec["serviceAccountName"] == "sluice-pipeline"
    assert accounts_of(spec) == dict(ACCOUNTS)
    assert "automountServiceAccountToken" not in str(spec)
    assert not spec.keys() & {"executor", "podSpecPatch"}


def test_without_tokens_of_steps_only_the_named_steps_have_one() -> None:
    spec = compile_spec(service_accounts=ACCOUNTS, step_tokens=False)
    assert spec["automountServiceAccountToken"] is False
    assert spec["executor"] == {"serviceAccountName": "sluice-pipeline"}
    mounted = {one["name"] for one in spec["templates"] if one.get("automountServiceAccountToken") is True}
    assert mounted == {name for name, _ in ACCOUNTS}
    assert accounts_of(spec) == dict(ACCOUNTS)
    assert all(one.get("automountServiceAccountToken") is not False for one in spec["templates"])


def test_the_token_of_argos_containers_is_bound_to_the_pod_and_no_secret() -> None:
    spec = compile_spec(step_tokens=False)
    (volume,) = json.loads(spec["podSpecPatch"])["volumes"]
    assert (volume["name"], volume["secret"]) == ("exec-sa-token", None)
    sources = volume["projected"]["sources"]
    assert [each["serviceAccountToken"]["path"] for each in sources if "serviceAccountToken" in each] == ["token"]
    assert "{{" not in spec["podSpecPatch"], "Argo would replace it"


def test_a_schedule_and_a_template_carry_the_accounts_too() -> None:
    for kind, found in (("WorkflowTemplate", ()), ("CronWorkflow", ("workflowSpec",))):
        spec = compile_spec(kind=kind, schedules=("0 4 * * 1",), step_tokens=False)
        for key in found:
            spec = spec[key]
        assert spec["automountServiceAccountToken"] is False


@pytest.fixture
def other_gate(tmp_path: Path) -> Path:
    """Return a pipeline whose component `gate` is not Sluice's."""
    other = tmp_path / "other.yaml"
    other.write_text(IR.read_text().replace(OWN_CALLS["gate"], "from other import ask"))
    return other


def test_a_component_of_another_project_with_the_name_of_the_gate_is_refused_the_gates_account(other_gate: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"Sluice's step 'gate', but its body does not call it"):
        compile_spec(other_gate, service_accounts=(("gate", "sluice-gate"),))
    assert accounts_of(compile_spec(other_gate, service_accounts=(("canary", "sluice-canary"),))) == {"canary": "sluice-canary"}


def test_a_second_version_of_a_component_of_sluice_has_the_same_account(tmp_path: Path) -> None:
    numbered = tmp_path / "numbered.yaml"
    numbered.write_text(IR.read_text().replace("comp-canary", "comp-canary-2"))
    assert accounts_of(compile_spec(numbered, service_accounts=(("canary", "sluice-canary"),))) == {"canary-2": "sluice-canary"}


def test_the_name_of_any_other_component_is_taken_literally(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(IR.read_text().replace("comp-canary", "comp-publish-2"))
    assert accounts_of(compile_spec(own, service_accounts=(("publish", "other"),))) == {}
    assert accounts_of(compile_spec(own, service_accounts=(("publish-2", "other"),))) == {"publish-2": "other"}


@pytest.mark.parametrize("name", ["ci", "drift", "release", "retrain"])
def test_each_component_of_the_pipelines_is_known_with_its_body(name: str) -> None:
    _, pipeline = read_source(str(COMPILED / f"{name}.yaml"), None, images=[])
    for component in pipeline.components.values():
        if isinstance(component.body, Container):
            assert find_table_key(component) in OWN_CALLS, component.name
            assert not is_impostor(component), component.name
