from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from release_project import make_key

from sluice.doctor.trust import check_trust
from sluice.project.projects import Project
from sluice.project.settings import Settings
from sluice.project.tables.data import DataTable
from sluice.project.tables.model import ModelTable
from sluice.project.tables.pipelines.argo import ArgoTable
from sluice.project.tables.project import ProjectTable
from sluice.project.tables.trust import TrustTable
from sluice.release import gate_statements, provenance

if TYPE_CHECKING:
    from pathlib import Path


def make_project(root: Path, **trust: list[str]) -> Project:
    tables = {"project": ProjectTable(name="shop"), "model": ModelTable(build="m:f"), "trust": TrustTable(**trust)}
    return Project(root, Settings(data=DataTable(snapshot="s", holdout="h", load="m:f", label="y", id="i"), **tables))


def test_without_keys_there_is_a_note_for_each_signature(tmp_path: Path) -> None:
    found = check_trust(make_project(tmp_path))
    assert [each.outcome for each in found] == ["note", "note"]
    assert found[0].detail == "trust.gate_keys is empty, so a release takes traffic without this signature"


def test_a_private_key_that_belongs_to_no_public_one_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, _ = make_key(tmp_path, "gate")
    other, _ = make_key(tmp_path, "other")
    project = make_project(tmp_path, gate_keys=["gate.pub"], provenance_keys=["gate.pub", "other.pub"])
    monkeypatch.setenv(gate_statements.KEY_VARIABLE, str(own))
    monkeypatch.setenv(provenance.KEY_VARIABLE, str(own))
    assert [each.detail for each in check_trust(project)] == ["trust.gate_keys has 1 key", "trust.provenance_keys has 2 keys"]
    for private, outcome in ((own, "pass"), (other, "fail")):
        monkeypatch.setenv(gate_statements.KEY_VARIABLE, str(private))
        assert [each.outcome for each in check_trust(project)] == [outcome, "pass"]


@pytest.mark.parametrize("name", ["gate.pub", "gate.pem"])
def test_a_key_that_cannot_be_read_is_a_failure(tmp_path: Path, name: str) -> None:
    if name == "gate.pem":
        make_key(tmp_path, "gate")
    (found,) = check_trust(make_project(tmp_path, gate_keys=[name]))
    assert found.outcome == "fail"
    assert name in found.detail


def test_a_private_key_that_is_missing_where_a_run_needs_it_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gate", "image"):
        make_key(tmp_path, name)
    project = make_project(tmp_path, gate_keys=["gate.pub"], provenance_keys=["image.pub"])
    found = [each for each in check_trust(project) if each.outcome == "fail"]
    assert all(name in each.detail for each, name in zip(found, ("$SLUICE_GATE_KEY", "$SLUICE_SIGNING_KEY"), strict=True))
    assert all("is not set" in each.detail and each.fix for each in found)
    monkeypatch.setenv(gate_statements.KEY_VARIABLE, str(tmp_path / "gate.pem"))
    monkeypatch.setenv(provenance.KEY_VARIABLE, str(tmp_path / "image.pem"))
    assert [each.outcome for each in check_trust(project)] == ["pass", "pass"]


def test_on_argo_the_settings_must_name_the_secret_of_each_step_that_signs(tmp_path: Path) -> None:
    make_key(tmp_path, "gate")
    project = make_project(tmp_path, gate_keys=["gate.pub"], provenance_keys=["gate.pub"])
    missing = [each.detail for each in check_trust(project, engine="argo") if each.outcome == "fail"]
    assert missing == [
        "trust.gate_keys requires that the step `gate` signs, but argo.signing_secrets names no Secret for it",
        "trust.provenance_keys requires that the step `package` signs, but argo.signing_secrets names no Secret for it",
    ]
    table = ArgoTable(signing_secrets={"gate": "sluice-gate-key", "package": "sluice-provenance-key"})
    named = Project(tmp_path, project.settings.model_copy(update={"argo": table}))
    assert [each.outcome for each in check_trust(named, engine="argo")] == ["pass", "pass"]
    assert [each.outcome for each in check_trust(named, engine="kfp")] == ["pass", "pass", "fail", "fail"]
