"""The gate outside a run: a preview that uses up nothing, the question that counts, and the release with its decision."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from gate_project import GateProject
from registry_servers import registry_server

from sluice.checks.suites.inputs import find_release, unpack_release
from sluice.errors import CheckFailedError, IntegrityError, RefusedError, ServiceError, StateError
from sluice.release.model_layer import MODEL_FILE
from sluice.release.project_releases import open_releases
from sluice.rollout.requests.admission import check_gate
from sluice.steps.ledgers import open_ledger
from sluice.steps.standalone import layers
from sluice.steps.standalone.candidates import build_candidate, plan_candidate
from sluice.steps.standalone.gate_questions import ask_about_candidate, preview_gate
from sluice.steps.standalone.layers import train_now
from sluice.steps.standalone.results import RESULT_FILE, SUBJECT, digest_code, layer_folder
from sluice.steps.training import train

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project

PASSED = {"check": "one", "outcome": "pass"}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GateProject:
    """A project whose champion uses the worse column."""
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    project = GateProject(tmp_path)
    project.promote(project.ask(project.train("champion", ("b",))))
    return project


def record_layers(project: Project, **verdicts: dict[str, Any]) -> None:
    """Store the results of the first three layers, as `sluice test` stores them."""
    training = plan_candidate(project).training
    subjects = {"code": digest_code(project), "data": training["snapshot_digest"], "model": training["digest"]}
    for layer, subject in subjects.items():
        folder = layer_folder(project, layer)
        folder.mkdir(parents=True, exist_ok=True)
        document = {"layer": layer, "verdicts": [verdicts.get(layer, PASSED)], SUBJECT: subject}
        (folder / RESULT_FILE).write_text(json.dumps(document))


def count_questions(project: Project) -> int:
    return len(open_ledger(project).read().questions())


def test_a_preview_compares_on_the_test_rows_and_uses_up_no_question(toy: GateProject) -> None:
    project = toy.read()
    train_now(project)
    before = count_questions(project)
    found = preview_gate(project)
    assert found.outcome == "better"
    assert found.difference == pytest.approx(found.auc - found.champion_auc)
    assert found.interval["low"] < found.difference < found.interval["high"]
    assert 1_800 < found.rows < 2_200  # about half of the holdout: only its test rows
    assert "The gate was not asked" in found.detail
    assert count_questions(project) == before


def test_a_preview_without_a_champion_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    made = GateProject(tmp_path)
    project = made.read()
    train_now(project)
    found = preview_gate(project)
    assert (found.outcome, found.difference) == ("first", None)
    monkeypatch.setenv(
        "SLUICE_GATE__CONFIG_MAP", "pipelines/ledger"
    )  # the champion is in a cluster, and this machine does not ask it
    found = preview_gate(made.read())
    assert (found.outcome, found.champion) == ("unknown", None)
    assert "would let this model pass" not in found.detail


def test_a_training_does_not_disturb_another_one_that_has_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sluice test model` and `sluice test integration` both train in a new clone, and CI may run both at once."""
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    project = GateProject(tmp_path).read()
    trained = []

    def train_twice(*arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(layers, "train", train)
        metadata = train(*arguments)
        trained.append(train_now(project))
        return metadata

    monkeypatch.setattr(layers, "train", train_twice)
    trained.append(train_now(project))
    assert len(trained) == 2
    assert all(model.is_file() for model in trained)
    assert sorted(file.name for file in (project.state / "models").glob(".training-*")) == []


def test_the_release_of_a_candidate_contains_the_decision_of_the_gate(toy: GateProject) -> None:
    project = toy.read()
    train_now(project)
    record_layers(project)
    decision = ask_about_candidate(project)
    assert decision["promote"] is True
    release = build_candidate(project)
    assert release.manifest["gate"]["ledger_head"] == decision["ledger_head"]
    assert sorted(release.manifest["verdicts"]) == ["code", "data", "model"]
    check_gate(project, release.digest)  # it may take production traffic
    asked = count_questions(project)
    assert ask_about_candidate(project)["uses"] == decision["uses"]
    assert count_questions(project) == asked


def test_a_candidate_that_the_gate_was_not_asked_about_takes_no_traffic(toy: GateProject) -> None:
    project = toy.read()
    train_now(project)
    record_layers(project)
    ask_about_candidate(project)
    (toy.root / "sluice.toml").write_text((toy.root / "sluice.toml").read_text() + '[model.parameters]\ncolumns = ["a"]\n')
    project = toy.read()
    train_now(project)  # another model: the decision is not about it
    release = build_candidate(project)
    with pytest.raises(RefusedError, match="without asking the gate"):
        check_gate(project, release.digest)


def test_a_release_without_the_gates_decision_needs_no_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A pull request packages a model and serves it for the integration tests, without an account of the registry."""
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    with registry_server(tmp_path_factory.mktemp("registry"), password=True) as host:
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-account"))
        monkeypatch.setenv("SLUICE_SERVING__REPOSITORY", f"{host}/toy/releases")
        monkeypatch.setenv("SLUICE_SERVING__IMAGE", f"{host}/serving:latest")
        monkeypatch.setenv("SLUICE_SERVING__PLAIN_HTTP", "true")
        project = GateProject(tmp_path).read()
        train_now(project)
        release = build_candidate(project)
        assert find_release(project, release.digest) == release.digest
        assert (unpack_release(project, release.digest) / MODEL_FILE).is_file()
        with pytest.raises(ServiceError, match="requires a user and a password"):
            open_releases(project).list()


def test_a_model_whose_file_was_altered_is_neither_loaded_nor_packaged(toy: GateProject) -> None:
    project = toy.read()
    model = train_now(project)
    model.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match="but training recorded"):
        build_candidate(project)


def test_the_gate_is_asked_only_about_a_model_that_was_tested(toy: GateProject) -> None:
    project = toy.read()
    with pytest.raises(StateError, match="no model was trained"):
        ask_about_candidate(project)
    train_now(project)
    before = count_questions(project)
    with pytest.raises(RefusedError, match="the layer was not run; `sluice test code`"):
        ask_about_candidate(project)
    record_layers(project, model={"check": "auc", "outcome": "fail"})
    with pytest.raises(CheckFailedError, match="the model tests do not pass: auc"):
        ask_about_candidate(project)
    record_layers(project, data={"check": "rows", "outcome": "inconclusive"})
    with pytest.raises(CheckFailedError, match="the data tests do not pass: rows"):
        ask_about_candidate(project)
    assert count_questions(project) == before
