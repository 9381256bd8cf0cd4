"""A run on KFP has the results of its steps in `sluice report` and `sluice runs`, from ML Metadata and the artifacts."""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from kfp_stand_in import FAILED, PROMOTED, ROOT, STEPS, KfpStandIn
from typer.testing import CliRunner

from sluice.carried_records import PRINTED
from sluice.cli import app
from sluice.engines.kfp.engine import KfpEngine, open_kfp
from sluice.engines.kfp.logs import read_log
from sluice.engines.kfp.metadata_store import StoredArtifact, split_frames
from sluice.engines.kfp.recorded_runs import find_store
from sluice.errors import DataError, UsageError
from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOML = """
[project]
name = "churn"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "flows:load"
label = "y"
id = "id"
[model]
build = "flows:build"
[pipelines]
release = "flows:release"
[engines]
default = "kfp"
[kfp]
endpoint = "{url}"
"""


def lines(*documents: dict[str, Any]) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


def layer(name: str, outcome: str = "pass") -> dict[str, Any]:
    verdict = {"check": f"{name}_check", "outcome": outcome, "detail": "AUC is 0.6", "observed": 0.6, "threshold": 0.8}
    return {"part": f"layer-{name}", "document": {"layer": name, "outcome": outcome, "verdicts": [verdict]}}


def place(run: str, step: str, name: str = "record") -> str:
    return f"mlpipeline/v2/artifacts/shop-release/{run}/{step}/0b1c/{name}"


@pytest.fixture
def server() -> Iterator[KfpStandIn]:
    stand_in = KfpStandIn()
    records = {name: "" for name in STEPS if name != "approval"} | {
        "code-tests": lines(layer("code")),
        "model-tests": lines(layer("model")),
        "gate": lines({"part": "gate", "document": {"promote": True, "difference": 0.0213, "uses": 3, "budget": 20}}),
        "package": lines({"part": "release", "document": {"number": 3, "digest": "sha256:ab", "manifest": {}}}),
    }
    for run in (PROMOTED, FAILED):
        stand_in.objects |= {place(run, step): text.encode() for step, text in records.items()}
    yield stand_in
    stand_in.server.shutdown()


@pytest.fixture
def project(tmp_path: Path, server: KfpStandIn, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "AWS_ACCESS_KEY_ID", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "sluice.toml").write_text(TOML.format(url=server.url))
    return read_project(tmp_path)


@pytest.fixture
def engine(project: Project) -> KfpEngine:
    return open_kfp(project)


def test_a_promoted_run_has_its_release_and_the_numbers_of_the_gate(engine: KfpEngine) -> None:
    status = engine.read(PROMOTED)
    assert (status.summary.outcome, status.summary.release, status.summary.gate) == ("promoted", "3", "promote")
    assert status.summary.numbers is not None
    assert (status.summary.numbers.difference, status.summary.numbers.low, status.summary.numbers.uses) == (0.0213, 0.0101, 3)
    details = {step.name: step.detail for step in status.steps}
    assert details["train"] == "20,000 rows in 1.1 s"
    assert details["approval"] == ""
    assert status.reason == "release 3 is champion"


def test_the_report_of_a_run_has_the_parts_of_its_steps(engine: KfpEngine) -> None:
    found = engine.result(PROMOTED)
    assert [each.layer for each in found.layers] == ["code", "model"]
    assert found.gate is not None
    assert found.release is not None
    assert (found.gate.difference, found.release.number, found.outcome) == (0.0213, 3, "promoted")
    assert found.notes == ()


def count_questions(server: KfpStandIn) -> int:
    """Return how often ML Metadata was asked about the executions of a run."""
    return sum(path.endswith("/GetContextByTypeAndName") for path in server.asked)


def test_a_run_that_waits_has_its_release_its_gate_and_its_details(engine: KfpEngine, server: KfpStandIn) -> None:
    server.waits = True
    status = engine.read(PROMOTED)
    assert (status.summary.outcome, status.summary.release, status.summary.gate) == ("waiting", "3", "promote")
    assert next(step for step in status.steps if step.name == "train").detail == "20,000 rows in 1.1 s"
    assert status.hint == "`sluice rollout approve 3` approves it."
    assert next(run for run in engine.list() if run.id == PROMOTED).release == "3"


def test_the_report_of_a_run_that_waits_has_the_parts_of_its_steps(engine: KfpEngine, server: KfpStandIn) -> None:
    server.waits = True
    found = engine.result(PROMOTED)
    assert [each.layer for each in found.layers] == ["code", "model"]
    assert found.release is not None
    assert (found.outcome, found.release.number, found.notes) == ("waiting", 3, ())


def test_ml_metadata_is_asked_about_a_waiting_run_once_for_each_change(engine: KfpEngine, server: KfpStandIn) -> None:
    server.waits = True
    for _ in range(3):
        engine.read(PROMOTED)
    assert count_questions(server) == 1
    server.waits = False
    assert engine.read(PROMOTED).summary.outcome == "promoted"
    assert count_questions(server) == 2


def test_a_report_says_that_ml_metadata_was_not_asked(engine: KfpEngine) -> None:
    status = engine.read(PROMOTED)
    problems = {record.problem for record in engine._records.read(PROMOTED, status, None, {})}
    assert problems == {"ML Metadata was not asked"}


@pytest.mark.parametrize("archived", [True, False])
def test_the_record_of_a_failed_step_comes_from_its_log(engine: KfpEngine, server: KfpStandIn, archived: bool) -> None:
    event = {"event": "ended", "outcome": "fail", "detail": "model tests failed: model_check", "exit_code": 4}
    packed = base64.b64encode(zlib.compress(lines(layer("model", "fail"), {"event": event}).encode())).decode()
    log = f"{PRINTED}{packed}\nerror: model tests failed: model_check\nnext: train more\n"
    if archived:
        server.objects[place(FAILED, "model-tests", "executor-logs")] = log.encode()
    else:
        server.logs["wf-impl-model-tests"] = log
    found = engine.result(FAILED)
    assert (found.outcome, found.reason) == ("failed", "the step model-tests failed: model tests failed: model_check")
    assert [(each.layer, each.outcome) for each in found.layers] == [("code", "pass"), ("model", "fail")]
    assert next(step for step in found.steps if step.name == "model-tests").detail == "model tests failed: model_check"
    assert found.notes == ()
    assert (engine.read(FAILED).exit_code, engine.read(FAILED).hint) == (4, "train more")
    assert list(engine.logs(FAILED, "model-tests")) == ["error: model tests failed: model_check", "next: train more"]


def test_a_step_is_shown_once_although_the_api_lists_its_attempts_too(engine: KfpEngine) -> None:
    names = [step.name for step in engine.read(PROMOTED).steps]
    assert sorted(names) == sorted({*STEPS, "condition-1"})


def test_a_failed_step_without_a_record_in_its_log_is_named(engine: KfpEngine, server: KfpStandIn) -> None:
    server.objects[place(FAILED, "model-tests", "executor-logs")] = b"Killed\n"
    (note,) = engine.result(FAILED).notes
    assert note.startswith("model-tests: what the step recorded is missing, because KFP keeps no artifact of a failed step, ")
    assert note.endswith("and its log has no record")


def test_an_artifact_that_was_deleted_is_named_with_its_place(engine: KfpEngine, server: KfpStandIn) -> None:
    del server.objects[place(PROMOTED, "gate")]
    found = engine.result(PROMOTED)
    assert found.gate is None
    assert len(found.notes) == 1
    assert f"gate: what the step recorded is missing, because Kubeflow Pipelines at {server.url} refused" in found.notes[0]
    assert f"minio://{place(PROMOTED, 'gate')}" in found.notes[0]


def test_without_the_user_interface_the_report_says_what_to_set_and_asks_once(engine: KfpEngine, server: KfpStandIn) -> None:
    server.is_ui = False
    found = engine.result(PROMOTED)
    assert found.outcome == "promoted", "the conditions still say what the gate decided"
    (note,) = found.notes
    assert note.startswith("pin-snapshot, code-tests, data-tests, train, model-tests, gate, condition-1 / package, ")
    assert "Set kfp.ui_url" in note
    engine.list()
    assert sum("ml_metadata" in path for path in server.asked) == 1


def test_a_list_of_runs_shows_release_and_numbers(project: Project) -> None:
    listed = CliRunner().invoke(app, ["runs", "--engine", "kfp", "--project", str(project.root)])
    assert listed.exit_code == 0, listed.output
    assert "promote +0.0213" in listed.output
    data = json.loads(
        CliRunner().invoke(app, ["runs", "--engine", "kfp", "--project", str(project.root), "--output", "json"]).output
    )
    (run,) = (each for each in data["data"]["runs"] if each["id"] == PROMOTED)
    assert (run["release"], run["gate"], run["numbers"]["high"]) == ("3", "promote", 0.0325)


def test_a_run_that_is_watched_to_its_end_leaves_its_report(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "out" / "run.md"
    command = ["runs", "watch", PROMOTED, "--engine", "kfp", "--report", str(file), "--project", str(project.root)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert str(file) in done.output.replace("\n", "")
    assert "# churn: release\n\n**Promoted.**" in file.read_text()


def test_a_run_that_is_submitted_and_watched_leaves_report_html(
    server: KfpStandIn, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_KFP__ENDPOINT", server.url)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["submit", "release", "--engine", "kfp", "--watch", "--project", str(ROOT)])
    assert done.exit_code == 0, done.output
    assert "model_check" in (tmp_path / "report.html").read_text()
    command = ["submit", "release", "--engine", "kfp", "--report", "x.html", "--project", str(ROOT)]
    assert isinstance(CliRunner().invoke(app, command).exception, UsageError), "a run that nobody watches has no report yet"
    assert not (tmp_path / "x.html").exists()


def test_a_report_finds_the_engine_of_a_run_and_refuses_an_unknown_one(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["report", PROMOTED, "-o", str(file), "--project", str(project.root)])
    assert done.exit_code == 0, done.output
    assert "model_check" in file.read_text()
    with pytest.raises(DataError):
        open_kfp(project).result("11111111-aaaa-4000-8000-000000000009")


def test_the_store_of_an_artifact_is_the_one_that_kfps_launcher_used() -> None:
    session = {"Params": {"endpoint": "http://minio.kubeflow:9000", "region": "us-east-1", "disableSSL": "true"}}
    store = find_store(StoredArtifact(uri="minio://mlpipeline/a/record", session=json.dumps(session)))
    assert store is not None
    assert (store.bucket, store.endpoint, store.secure, store.region) == ("mlpipeline", "minio.kubeflow:9000", False, "us-east-1")
    assert find_store(StoredArtifact(uri="gs://b/k", session=json.dumps(session))) is None
    assert find_store(StoredArtifact(uri="minio://b/k")) is None


def test_an_answer_that_is_not_one_of_ml_metadata_has_no_message() -> None:
    assert split_frames(b"<!doctype html><html></html>") == (None, {})
    assert split_frames(b"\x80\0\0\0\x0fgrpc-status:5\r\n") == (None, {"grpc-status": "5"})
    assert split_frames(b"") == (None, {})


def test_the_id_of_a_run_and_the_name_of_a_pod_are_parts_of_a_path(engine: KfpEngine, server: KfpStandIn) -> None:
    with pytest.raises(DataError):
        read_log(
            engine.client, "r/../x?y", next(each for each in engine._nodes(engine._get(PROMOTED)) if each.pods()), pod="p/../q?z"
        )
    assert "/apis/v1alpha1/runs/r%2F..%2Fx%3Fy/nodes/p%2F..%2Fq%3Fz/log" in server.asked


def test_a_pipeline_can_be_brought_to_kfp_without_a_run(server: KfpStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_KFP__ENDPOINT", server.url)
    done = CliRunner().invoke(app, ["submit", "release", "--engine", "kfp", "--no-start", "--project", str(ROOT)])
    assert done.exit_code == 0, done.output
    assert "nothing" in done.output
    assert "/apis/v2beta1/runs" not in server.asked
    refused = CliRunner().invoke(app, ["submit", "release", "--engine", "kfp", "--no-start", "--watch", "--project", str(ROOT)])
    assert refused.exit_code != 0
