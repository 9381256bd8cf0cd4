"""`sluice gate` as a user meets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from commands import MINIMAL, sluice

from sluice.cli.production.releases import _describe_gate
from sluice.data.holdout import open_holdout
from sluice.gate.ledger_documents import Question
from sluice.project.projects import read_project
from sluice.steps.ledgers import open_ledger, read_rule

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "sha256:" + "ab" * 32
SCORES = "sha256:" + "cd" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a holdout of 4,000 rows, and without a champion."""
    (tmp_path / "sluice.toml").write_text(MINIMAL + "[gate]\nbudget = 5\n")
    (tmp_path / "loading.py").write_text("import pandas as pd\n\n\ndef load(path):\n    return pd.read_csv(path)\n")
    ids = np.arange(4_000)
    pd.DataFrame({"id": ids, "x": ids % 11, "y": (ids % 5 == 0).astype(int)}).to_csv(tmp_path / "holdout.csv", index=False)
    return tmp_path


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    done = sluice("gate", *arguments, "--output", "json", cwd=folder)
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (document["error"] or {"exit_code": 0})["exit_code"]
    return document


def ask(folder: Path, challenger: str) -> None:
    project = read_project(folder)
    holdout, rule = open_holdout(project), read_rule(project)
    question = Question(challenger=challenger, champion="c", rule=rule, row_set=holdout.row_set.digest, scores=SCORES)
    asked = open_ledger(project).ask(question, holdout.row_set, holdout=holdout.digest, rule=rule)
    open_ledger(project).save_answer(asked.link, {"promote": False, "verdict": {"outcome": "fail"}})


def test_the_status_shows_rows_budget_questions_and_warnings(folder: Path) -> None:
    before = run(folder, "status")
    assert (before["outcome"], before["data"]["left"], before["data"]["questions"]) == ("ready", 5, [])
    assert before["data"]["gate_rows"]["1"] + before["data"]["test_rows"]["1"] == 800
    for number in range(5):
        ask(folder, f"sha256:{number}")
        if number == 3:
            assert run(folder, "status")["outcome"] == "warning"
    assert run(folder, "status")["outcome"] == "spent"
    text = sluice("gate", "status", cwd=folder).stdout
    assert "5 of 5 used, 0 left" in text
    assert "the budget of 5 questions is spent" in text
    assert text.count(" fail ") == 5
    assert "sha256:4" in text


def test_the_power_is_said_before_there_is_a_model(folder: Path) -> None:
    found = run(folder, "power")
    assert found["outcome"] == "enough"
    assert found["data"]["rows_for_target"] > found["data"]["rows"] > 1_900
    text = sluice("gate", "power", cwd=folder).stdout
    assert f"+{found['data']['detectable']:.4f} AUC with power 0.8" in text
    assert "This assumes models with an AUC of 0.85" in text


def test_an_override_is_recorded_with_person_reason_and_end(folder: Path) -> None:
    arguments = ("override", MODEL, "--why", "a column was wrong", "--by", "ada", "--until", "2999-01-31")
    unknown = run(folder, *arguments, "--yes")
    assert "it is not clear which scores" in unknown["error"]["message"]
    assert run(folder, *arguments, "--scores", SCORES, "--dry-run")["outcome"] == "would-override"  # the gate counted no question
    ask(folder, MODEL)
    planned = run(folder, *arguments, "--dry-run")
    assert planned["outcome"] == "would-override"
    assert run(folder, "status")["data"]["overrides"] == []
    refused = run(folder, *arguments)
    assert refused["error"]["exit_code"] == 2
    assert "overrides the gate, and there is no terminal" in refused["error"]["message"]
    done = run(folder, *arguments, "--yes")
    assert (done["outcome"], done["data"]["by"], done["data"]["why"]) == ("overridden", "ada", "a column was wrong")
    (stored,) = run(folder, "status")["data"]["overrides"]
    assert (stored["model"], stored["scores"], stored["until"]) == (MODEL, SCORES, done["data"]["until"])
    assert "by ada: a column was wrong" in sluice("gate", "status", cwd=folder).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sha256:ab", "--why", "x"), "is not the digest of a model"),
        ((MODEL, "--why", " "), "--why is empty"),
        ((MODEL, "--why", "x", "--scores", "sha256:ab"), "is not the digest of scores"),
        ((MODEL, "--why", "x", "--until", "tomorrow"), "is not a date"),
        ((MODEL, "--why", "x", "--until", "2020-01-01"), "is in the past"),
    ],
)
def test_an_override_that_says_too_little_is_refused(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    found = run(folder, "override", *arguments, "--yes")
    assert found["error"]["exit_code"] == 2
    assert message in found["error"]["message"]


def test_the_list_of_releases_says_who_overrode_the_gate() -> None:
    described = [_describe_gate(gate) for gate in (None, {"promote": True}, {"promote": False, "override": {"by": "ada"}})]
    assert described == ["not asked", "promote", "not promoted, but ada let it pass"]


def test_a_lost_ledger_can_be_confirmed_and_gives_up_the_rows(folder: Path) -> None:
    ask(folder, "sha256:1")
    complete = run(folder, "confirm-loss", "--why", "nothing happened", "--yes")
    assert "the ledger is complete" in complete["error"]["message"]
    (folder / ".sluice" / "ledger" / "ledger.json").unlink()
    lost = run(folder, "status")
    assert (lost["error"]["exit_code"], "it is missing" in lost["error"]["message"]) == (2, True)
    assert run(folder, "confirm-loss", "--why", "the disk failed", "--by", "ada", "--dry-run")["outcome"] == "would-confirm"
    assert run(folder, "confirm-loss", "--why", "the disk failed", "--by", "ada", "--yes")["outcome"] == "confirmed"
    status = run(folder, "status")
    assert (status["outcome"], status["data"]["left"]) == ("spent", 0)
    assert [record["kind"] for record in status["data"]["rotations"]] == ["loss"]
