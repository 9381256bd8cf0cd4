"""The result of a run in a cluster is rebuilt from what its steps carried, and says what is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sluice.engines import RunStatus, RunSummary, StepStatus
from sluice.engines.results.object_stores import Store, choose_endpoint
from sluice.engines.results.rebuilding import NO_RECORD, StepRecord, rebuild_result


def lines(*documents: dict[str, Any]) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


def part(name: str, **document: Any) -> dict[str, Any]:
    return {"part": name, "document": document}


def ended(detail: str, outcome: str = "pass") -> dict[str, Any]:
    return {"event": {"time": 1.0, "step": "x", "event": "ended", "outcome": outcome, "detail": detail}}


def run(*steps: StepStatus, outcome: str = "promoted") -> RunStatus:
    summary = RunSummary(id="r1", engine="argo", pipeline="release", outcome=outcome, started=100.0, seconds=60.0)
    return RunStatus(summary=summary, steps=steps, ended=True, reason="release 3 is champion")


def step(name: str, outcome: str = "pass", **fields: Any) -> StepStatus:
    return StepStatus(id=f"id-{name}", name=name, outcome=outcome, started=100.0, ended=130.0, **fields)


def test_a_run_has_the_parts_of_its_steps_and_the_times_of_the_engine() -> None:
    verdict = {"check": "auc", "outcome": "pass", "observed": 0.84, "threshold": 0.8, "rows": 900}
    warning = {"kind": "old", "text": "the holdout is old", "hint": "Rotate it"}
    records = [
        StepRecord(step="id-train", text=lines(part("warnings-train", warnings=[warning]), ended("900 rows"))),
        StepRecord(
            step="id-model-tests",
            text=lines(
                part("layer-model", layer="model", outcome="pass", verdicts=[verdict]),
                part("curves", challenger={"roc": {"fpr": [0, 1], "tpr": [0, 1], "auc": 0.84}}, champion=None),
            ),
        ),
        StepRecord(step="id-gate", text=lines(part("gate", promote=True, difference=0.02, uses=2, budget=20))),
        StepRecord(
            step="id-package",
            text=lines(part("release", number=3, digest="sha256:ab", manifest={"code": {"commit": "c0ffee", "dirty": True}})),
        ),
        StepRecord(step="id-canary", text=lines(part("rollout", outcome="promoted", target="sha256:ab"))),
    ]
    promote = step("promote", is_group=True)
    inside = [step("package", depth=1), step("canary", depth=1), step("approval", depth=1)]
    found = rebuild_result(run(step("train"), step("model-tests"), step("gate"), promote, *inside), records)
    assert (found.id, found.outcome, found.started, found.ended) == ("r1", "promoted", 100.0, 160.0)
    assert [(each.name, each.detail, each.duration) for each in found.steps][:2] == [
        ("train", "900 rows", 30.0),
        ("model-tests", "", 30.0),
    ]
    assert [each.name for each in found.steps] == ["train", "model-tests", "gate", "package", "canary", "approval"]
    assert found.layers[0].verdicts[0].observed == 0.84
    assert found.curves is not None
    assert found.curves.challenger is not None
    assert found.gate is not None
    assert found.gate.difference == 0.02
    assert found.release is not None
    assert (found.release.number, found.commit, found.dirty) == (3, "c0ffee", True)
    assert found.rollout is not None
    assert found.rollout.target == "sha256:ab"
    assert [each.text for each in found.warnings] == ["the holdout is old"]
    assert found.notes == ()


def test_the_report_says_which_steps_lack_what_and_why() -> None:
    records = [
        StepRecord(step="id-train", problem="s3://b/train does not exist"),
        StepRecord(step="id-gate", problem="s3://b/train does not exist"),
        StepRecord(step="id-code", text=lines(part("layer-code", layer="code", outcome="pass")) + '{"part": "cut off'),
    ]
    around = step("promote", is_group=True)
    steps = [step("train"), step("gate"), step("code"), around, step("mine", depth=1), step("later", "skipped", depth=1)]
    found = rebuild_result(run(*steps), records)
    assert found.notes == (
        "train, gate: what the step recorded is missing, because s3://b/train does not exist",
        f"promote / mine: what the step recorded is missing, because {NO_RECORD}",
    )
    assert [layer.layer for layer in found.layers] == ["code"]
    assert found.gate is None


def test_a_failed_step_says_in_its_own_words_why() -> None:
    failed = step("model-tests", "fail", detail="main: Error (exit code 4)")
    record = StepRecord(step="id-model-tests", text=lines(ended("model tests failed: auc", "fail")))
    assert rebuild_result(run(failed, outcome="failed"), [record]).steps[0].detail == "model tests failed: auc"
    assert rebuild_result(run(failed, outcome="failed"), []).steps[0].detail == "main: Error (exit code 4)"


@pytest.mark.parametrize(
    ("given", "store", "expected"),
    [
        ("", {"endpoint": "minio.argo:9000", "secure": False}, ("http", "minio.argo:9000")),
        ("", {"endpoint": "s3.amazonaws.com"}, ("https", "")),
        ("http://localhost:9000/", {"endpoint": "minio.argo:9000"}, ("http", "localhost:9000")),
        ("localhost:9000", {"endpoint": "minio.argo:9000", "secure": False}, ("https", "localhost:9000")),
    ],
)
def test_the_address_of_s3_is_that_of_the_environment_or_of_the_engine(
    monkeypatch: pytest.MonkeyPatch, given: str, store: dict[str, Any], expected: tuple[str, str]
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", given)
    assert choose_endpoint(Store(driver="s3", bucket="b", **store)) == expected
