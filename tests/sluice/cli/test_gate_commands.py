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
from sluice.data.row_sets import describe_row_set
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


def ask(folder: Path, challenger: str, *, champion: str | None = None) -> None:
    project = read_project(folder)
    holdout, rule = open_holdout(project), read_rule(project)
    question = Question(challenger=challenger, champion=champion, rule=rule, row_set=holdout.row_set.digest, scores=SCORES)
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
    assert found["data"]["rows_for_target"] is None
    assert found["data"]["rows_without_margin"] > found["data"]["rows"] > 1_900
    text = sluice("gate", "power", cwd=folder).stdout
    assert f"+{found['data']['detectable']:.4f} AUC with power 0.8" in text
    assert "no number of gate rows is enough" in text
    assert "This assumes models with an AUC of 0.85" in text
    with (folder / "sluice.toml").open("a") as settings:
        settings.write("margin = 0.002\n")
    found = run(folder, "power")["data"]
    assert f"{found['rows_for_target']:,} gate rows" in sluice("gate", "power", cwd=folder).stdout


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


def test_a_planned_override_says_that_nothing_was_recorded_and_warns_of_a_model_that_was_never_asked(folder: Path) -> None:
    arguments = ("gate", "override", MODEL, "--scores", SCORES, "--why", "a column was wrong", "--by", "ada")
    planned = sluice(*arguments, "--dry-run", cwd=folder).stdout
    assert "would let pass" in planned
    assert "nothing was recorded" in planned
    assert "the ledger has no question about this model" in " ".join(planned.split())
    done = run(folder, *arguments[1:], "--yes")
    assert (done["outcome"], "never judged it" in done["data"]["warning"]) == ("overridden", True)
    ask(folder, MODEL)
    known = run(folder, *arguments[1:], "--dry-run")
    assert (known["outcome"], known["data"]["warning"]) == ("would-override", "")
    written = sluice(*arguments, "--yes", cwd=folder).stdout
    assert "would" not in written
    assert "warning" not in written


def test_the_status_shows_all_overrides_and_rotations(folder: Path) -> None:
    ledger, fresh = open_ledger(read_project(folder)), [describe_row_set(range(k, k + 100), [0, 1] * 50) for k in (10**5, 10**6)]
    present = open_holdout(read_project(folder)).row_set
    for number, (old, new) in enumerate([(present, fresh[0]), (fresh[0], fresh[1])]):
        ledger.rotate(old, new, by="ada", why=f"rotation {number}", at=number)
        ledger.override(MODEL, SCORES, by="ada", why=f"override {number}", until=9e9, at=number)
    ask(folder, "sha256:1")
    text = sluice("gate", "status", cwd=folder).stdout
    assert [f"ada: {what} {number}" in text for what in ("rotation", "override") for number in (0, 1)] == [True] * 4


@pytest.mark.parametrize(("carried", "text"), [(1, "1 was about"), (2, "2 were about")])
def test_the_status_counts_the_questions_about_other_holdouts(folder: Path, carried: int, text: str) -> None:
    project, other = read_project(folder), describe_row_set(range(10**5, 10**5 + 100), [0, 1] * 50)
    rule = read_rule(project)
    for number in range(carried):
        question = Question(challenger=f"{number}", champion=None, rule=rule, row_set=other.digest)
        open_ledger(project).ask(question, other, holdout="sha256:other", rule=rule)
    assert text in sluice("gate", "status", cwd=folder).stdout


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


def test_a_lost_champion_is_shown_as_a_refusal_and_can_be_confirmed(folder: Path) -> None:
    ask(folder, "sha256:1", champion="sha256:" + "c" * 64)
    lost = run(folder, "status")
    assert lost["outcome"] == "refused"
    assert "the rollout journal names none" in lost["data"]["refusal"]["message"]
    assert "the gate refuses every question" in sluice("gate", "status", cwd=folder).stdout
    confirmed = run(folder, "confirm-loss", "--why", "the disk failed", "--by", "ada", "--yes")
    assert (confirmed["outcome"], confirmed["data"]["lost"]) == ("confirmed", ["champion-loss"])
    status = run(folder, "status")
    assert (status["outcome"], status["data"]["refusal"], status["data"]["left"]) == ("ready", None, 4)


def test_a_deliberate_change_of_the_loader_is_accepted_with_a_reason(folder: Path) -> None:
    ask(folder, "sha256:1")
    arguments = ("accept-rows", "--why", "the last rows are tests", "--by", "ada")
    assert "nothing to accept" in run(folder, *arguments, "--yes")["error"]["message"]
    loader = folder / "loading.py"
    loader.write_text(loader.read_text().replace("read_csv(path)", "read_csv(path).head(3_000)"))
    assert "reads other rows or labels" in run(folder, "status")["data"]["refusal"]["message"]
    assert run(folder, *arguments, "--dry-run")["outcome"] == "would-accept"
    assert run(folder, "status")["outcome"] == "refused"
    assert run(folder, *arguments, "--yes")["outcome"] == "accepted"
    status = run(folder, "status")["data"]
    assert (status["refusal"], status["used"], status["rotations"][-1]["why"]) == (None, 1, "the last rows are tests")
