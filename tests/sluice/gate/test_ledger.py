"""The ledger counts every question once, even with several processes, and it reports any loss of data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.errors import StateError
from sluice.gate.ledger import Ledger
from sluice.gate.ledger_documents import GateRule, LedgerDocument, Question, plan_question

if TYPE_CHECKING:
    from pathlib import Path

HOLDOUT = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
RULE = GateRule(margin=0.005, alpha=0.05, budget=52)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "ledger")


def document(ledger: Ledger) -> Path:
    return ledger.folder / f"{HOLDOUT.removeprefix('sha256:')}.json"


def test_a_new_ledger_is_empty_and_reading_creates_no_files(ledger: Ledger) -> None:
    assert ledger.count_questions(HOLDOUT) == 0
    assert ledger.entries(HOLDOUT) == ()
    assert ledger.load_scores(OTHER, HOLDOUT) is None
    assert not ledger.folder.exists()


def test_questions_are_counted_per_holdout(ledger: Ledger) -> None:
    first = ledger.record(HOLDOUT, challenger="one", champion=None)
    second = ledger.record(HOLDOUT, challenger="two", champion="one")
    elsewhere = ledger.record(OTHER, challenger="two", champion="one")
    assert (first.uses, second.uses, elsewhere.uses) == (1, 2, 1)
    assert (ledger.count_questions(HOLDOUT), ledger.count_questions(OTHER)) == (2, 1)
    assert [entry.question.challenger for entry in Ledger(ledger.folder).entries(HOLDOUT)] == ["one", "two"]
    assert first.asked == pytest.approx(time.time(), abs=60)


def test_a_repeated_question_is_not_counted_and_gets_the_stored_answer(ledger: Ledger) -> None:
    entry = ledger.record(HOLDOUT, challenger="two", champion="one", rule=RULE)
    assert (entry.repeated, entry.decision) == (False, None)
    ledger.save_decision(entry, {"promote": True})
    ledger.record(HOLDOUT, challenger="three", champion="one", rule=RULE)
    again = ledger.record(HOLDOUT, challenger="two", champion="one", rule=RULE)
    assert (again.repeated, again.uses, again.decision) == (True, 1, {"promote": True})
    assert ledger.count_questions(HOLDOUT) == 2


def test_a_question_counts_even_without_an_answer(ledger: Ledger) -> None:
    ledger.record(HOLDOUT, challenger="two", champion="one")
    again = ledger.record(HOLDOUT, challenger="two", champion="one")
    assert (again.repeated, again.uses, again.decision) == (True, 1, None)


def test_another_champion_or_margin_is_another_question(ledger: Ledger) -> None:
    for number, question in enumerate(
        [
            {"champion": None},
            {"champion": "one"},
            {"champion": "one", "rule": RULE},
            {"champion": "one", "rule": RULE.model_copy(update={"margin": 0.004})},
        ],
        start=1,
    ):
        assert ledger.record(HOLDOUT, challenger="two", **question).uses == number


@pytest.mark.parametrize("change", [{"alpha": 0.1}, {"budget": 104}])
def test_alpha_and_budget_of_a_used_holdout_cannot_change(ledger: Ledger, change: dict[str, float]) -> None:
    ledger.record(HOLDOUT, challenger="two", champion="one", rule=RULE)
    with pytest.raises(StateError, match=r"gate.alpha 0.05 and gate.budget 52") as refused:
        ledger.record(HOLDOUT, challenger="three", champion="one", rule=RULE.model_copy(update=change))
    assert "replace the holdout" in refused.value.hint
    assert ledger.count_questions(HOLDOUT) == 1
    assert ledger.record(OTHER, challenger="three", champion="one", rule=RULE.model_copy(update=change)).uses == 1


def test_the_first_answer_stays(ledger: Ledger) -> None:
    entry = ledger.record(HOLDOUT, challenger="two", champion="one")
    ledger.save_decision(entry, {"promote": False})
    ledger.save_decision(entry, {"promote": True})
    assert ledger.entries(HOLDOUT)[0].decision == {"promote": False}


def test_an_answer_without_a_recorded_question_is_an_error(ledger: Ledger, tmp_path: Path) -> None:
    entry = Ledger(tmp_path / "elsewhere").record(HOLDOUT, challenger="two", champion="one")
    with pytest.raises(StateError, match="no question about challenger two"):
        ledger.save_decision(entry, {"promote": True})


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", None]))))
def test_the_count_is_the_number_of_different_questions(asked: list[tuple[str, str | None]]) -> None:
    state = LedgerDocument(holdout=HOLDOUT)
    for number, (challenger, champion) in enumerate(asked, 1):
        before = state
        state, entry = plan_question(before, Question(challenger=challenger, champion=champion), now=float(number))
        known = (challenger, champion) in asked[: number - 1]
        assert entry.repeated is known
        assert (state is before) is known
        assert len(state.entries) == len(set(asked[:number]))
        assert state.version == len(state.entries)
    assert LedgerDocument.model_validate_json(state.model_dump_json()) == state


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _swap_entries(file: Path) -> None:
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"entries": values["entries"][::-1]}))


def _forget_one(file: Path) -> None:
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"entries": values["entries"][1:]}))


def _take_anothers(file: Path) -> None:
    file.write_text(file.read_text().replace(HOLDOUT, OTHER))


def _put_back_older(file: Path) -> None:
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"version": 1, "entries": values["entries"][:1]}))


def _delete(file: Path) -> None:
    file.unlink()


def _become_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _break_lock(file: Path) -> None:
    file.with_suffix(".lock").write_text("one")


@pytest.mark.parametrize(
    "damage",
    [_truncate, _empty, _swap_entries, _forget_one, _take_anothers, _put_back_older, _delete, _become_folder, _break_lock],
)
def test_a_damaged_ledger_is_an_error_with_a_hint_and_never_reset(ledger: Ledger, damage: object) -> None:
    for challenger in ("one", "two", "three"):
        entry = ledger.record(HOLDOUT, challenger=challenger, champion=None)
    damage(document(ledger))
    kept = {file.name: file.read_bytes() for file in ledger.folder.iterdir() if file.is_file()}
    for ask in (
        lambda: ledger.count_questions(HOLDOUT),
        lambda: ledger.record(HOLDOUT, challenger="four", champion=None),
        lambda: ledger.save_decision(entry, {}),
    ):
        with pytest.raises(StateError) as refused:
            ask()
        assert document(ledger).name in refused.value.message
        assert refused.value.hint
    assert {file.name: file.read_bytes() for file in ledger.folder.iterdir() if file.is_file()} == kept
    assert ledger.count_questions(OTHER) == 0


def test_a_folder_that_cannot_be_created_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    ledger = Ledger(tmp_path / "state" / "ledger")
    with pytest.raises(StateError) as refused:
        ledger.record(HOLDOUT, challenger="one", champion=None)
    assert refused.value.hint
    with pytest.raises(StateError):
        ledger.save_scores(OTHER, HOLDOUT, [0.5])


@pytest.mark.parametrize("name", ["", "sha256:", "ab" * 32, "sha256:" + "AB" * 32, "sha256:../../../etc/passwd", HOLDOUT + "\n"])
def test_only_digests_become_file_names(ledger: Ledger, name: str) -> None:
    for ask in (
        lambda: ledger.count_questions(name),
        lambda: ledger.record(name, challenger="one", champion=None),
        lambda: ledger.load_scores(name, HOLDOUT),
        lambda: ledger.save_scores(HOLDOUT, name, [0.5]),
    ):
        with pytest.raises(ValueError, match="not a digest"):
            ask()
    assert not ledger.folder.exists()


def test_stored_scores_are_equal_to_the_last_bit(ledger: Ledger) -> None:
    scores = np.random.default_rng(0).random(1000)
    ledger.save_scores(OTHER, HOLDOUT, scores)
    ledger.save_scores(OTHER, HOLDOUT, scores)
    again = ledger.load_scores(OTHER, HOLDOUT)
    assert again.tobytes() == scores.tobytes()
    assert ledger.load_scores(HOLDOUT, OTHER) is None
    assert len(list((ledger.folder / "scores").rglob("*.*"))) == 1


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", b"not an array at all"])
def test_damaged_scores_are_an_error_with_a_hint(ledger: Ledger, content: bytes) -> None:
    ledger.save_scores(OTHER, HOLDOUT, [0.5] * 100)
    (file,) = (ledger.folder / "scores").rglob("*.npy")
    for damaged in (content, file.read_bytes()[:-8]):
        file.write_bytes(damaged)
        with pytest.raises(StateError, match="damaged") as refused:
            ledger.load_scores(OTHER, HOLDOUT)
        assert "Delete that file" in refused.value.hint


def test_pickled_scores_are_never_loaded(ledger: Ledger) -> None:
    ledger.save_scores(OTHER, HOLDOUT, [0.5])
    (file,) = (ledger.folder / "scores").rglob("*.npy")
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(StateError, match="damaged"):
        ledger.load_scores(OTHER, HOLDOUT)


ASK = """
import sys
from pathlib import Path
from sluice.gate.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for challenger in sys.argv[3:]:
    entry = ledger.record(sys.argv[2], challenger=challenger, champion=None)
    ledger.save_decision(entry, {"answer": entry.uses})
    print(challenger, entry.uses, flush=True)
"""


def start(ledger: Ledger, challengers: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ASK, str(ledger.folder), HOLDOUT, *challengers]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_together(processes: list[subprocess.Popen[str]]) -> list[list[tuple[str, int]]]:
    """Start all processes at the same time, when each is ready, and return what each printed."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [[(line.split()[0], int(line.split()[1])) for line in text.splitlines()] for text in printed]


def test_concurrent_processes_lose_no_question_and_count_none_twice(ledger: Ledger) -> None:
    asked = [[f"{process}-{number}" for number in range(25)] for process in range(4)]
    answers = run_together([start(ledger, challengers) for challengers in asked])
    assert sorted(uses for answer in answers for _, uses in answer) == list(range(1, 101))
    assert ledger.count_questions(HOLDOUT) == 100
    stored = {entry.question.challenger: entry for entry in ledger.entries(HOLDOUT)}
    for challenger, uses in (pair for answer in answers for pair in answer):
        assert (stored[challenger].uses, stored[challenger].decision) == (uses, {"answer": uses})


def test_concurrent_processes_with_the_same_question_count_it_once(ledger: Ledger) -> None:
    answers = run_together([start(ledger, ["same", "also-same"]) for _ in range(4)])
    assert answers == [[("same", 1), ("also-same", 2)]] * 4
    assert ledger.count_questions(HOLDOUT) == 2


@pytest.mark.slow
def test_a_killed_process_leaves_a_readable_ledger_that_counted_every_answer(ledger: Ledger) -> None:
    answered = 0
    for attempt in range(12):
        process = start(ledger, [f"{attempt}-{number}" for number in range(5000)])
        try:
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("go\n")
            process.stdin.flush()
            time.sleep(0.02 + 0.013 * attempt)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            printed = process.communicate()[0]
        answered += printed.count("\n")
        assert ledger.count_questions(HOLDOUT) >= answered
        assert ledger.record(HOLDOUT, challenger=f"after {attempt}", champion=None).repeated is False
        answered += 1
    assert answered > 12
    assert ledger.count_questions(HOLDOUT) <= answered + 12
