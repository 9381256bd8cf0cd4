"""The ledger counts every question once, even with several processes, and it reports any loss of records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from gate_inputs import BYTES, DAY, FRESH, OTHER_BYTES, ROWS, RULE, ask
from hypothesis import given
from hypothesis import strategies as st

from sluice.errors import StateError
from sluice.gate.budgets import plan_question
from sluice.gate.ledger import Ledger
from sluice.gate.ledger_documents import LedgerDocument, Question
from sluice.gate.stores.head_files import HeadFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def count(ledger: Ledger) -> int:
    return len(ledger.read().questions())


def test_a_new_ledger_is_empty_and_reading_creates_no_files(ledger: Ledger, folder: Path) -> None:
    assert ledger.read() == LedgerDocument()
    assert ledger.measure(ROWS, holdout=BYTES, rule=RULE).left == 52
    assert not folder.exists()


def test_a_repeated_question_is_not_counted_and_gets_the_stored_answer(ledger: Ledger, folder: Path) -> None:
    first = ask(ledger, "two")
    ledger.save_answer(first.link, {"promote": True})
    ask(ledger, "three")
    again = ask(Ledger(folder), "two")
    assert (first.uses, first.answer, again.link, again.uses, again.answer) == (1, None, first.link, 1, {"promote": True})
    assert count(ledger) == 2


def test_a_question_counts_even_without_an_answer(ledger: Ledger) -> None:
    first, again = ask(ledger, "two"), ask(ledger, "two")
    assert (first.uses, again.uses, again.answer) == (1, 1, None)


@pytest.mark.parametrize(
    "change",
    [
        {"champion": "another"},
        {"rule": RULE.model_copy(update={"margin": 0.004})},
        {"scores": "sha256:other"},
        {"champion_scores": "sha256:other"},
        {"gate_rows": "sha256:other"},
    ],
)
def test_whatever_the_answer_depends_on_makes_another_question(ledger: Ledger, change: dict[str, object]) -> None:
    ask(ledger, "two")
    assert ask(ledger, "two", **change).uses == 2


def test_the_first_answer_stays(ledger: Ledger) -> None:
    link = ask(ledger, "two").link
    ledger.save_answer(link, {"promote": False})
    ledger.save_answer(link, {"promote": True})
    assert ledger.read().find_answer(link) == {"promote": False}


def test_an_answer_without_a_recorded_question_is_an_error(ledger: Ledger, tmp_path: Path) -> None:
    link = ask(Ledger(tmp_path / "elsewhere"), "two").link
    with pytest.raises(StateError, match="no question to which this answer belongs"):
        ledger.save_answer(link, {"promote": True})


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", None]))))
def test_the_count_is_the_number_of_different_questions(asked: list[tuple[str, str | None]]) -> None:
    state = LedgerDocument()
    for number, (challenger, champion) in enumerate(asked, 1):
        before, question = state, Question(challenger=challenger, champion=champion, rule=RULE, row_set=ROWS.digest)
        state, entry = plan_question(before, question, ROWS, holdout=BYTES, rule=RULE, now=float(number))
        assert (state is before) is ((challenger, champion) in asked[: number - 1])
        assert len(state.questions()) == len(set(asked[:number]))
        assert entry.uses <= len(set(asked[:number]))
    assert LedgerDocument.model_validate_json(state.model_dump_json()) == state


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _edit(change: Callable[[list[dict[str, object]]], object]) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        values = json.loads(file.read_text())
        file.write_text(json.dumps(values | {"records": change(values["records"])}))

    return damage


_swap_records = _edit(lambda records: records[::-1])
_forget_the_first = _edit(lambda records: records[1:])
_forget_the_last = _edit(lambda records: records[:-1])
_change_a_time = _edit(lambda records: [records[0] | {"at": 1.0}, *records[1:]])


def _replace_by_another(file: Path) -> None:
    another = Ledger(file.parent / "another")
    ask(another, "one")
    file.write_bytes((file.parent / "another" / "ledger.json").read_bytes())


def _delete(file: Path) -> None:
    file.unlink()


def _become_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _break_lock(file: Path) -> None:
    file.with_suffix(".lock").write_text("one")


DAMAGES = [
    _truncate,
    _empty,
    _swap_records,
    _forget_the_first,
    _forget_the_last,
    _change_a_time,
    _replace_by_another,
    _delete,
    _become_folder,
    _break_lock,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_is_an_error_with_a_hint_and_never_reset(
    ledger: Ledger, folder: Path, damage: Callable[[Path], None]
) -> None:
    for challenger in ("one", "two", "three"):
        link = ask(ledger, challenger).link
    damage(folder / "ledger.json")
    kept = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    for use in (ledger.read, lambda: ask(ledger, "four"), lambda: ledger.save_answer(link, {})):
        with pytest.raises(StateError) as refused:
            use()
        assert "ledger.json" in refused.value.message
        assert refused.value.hint
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()} == kept


def test_a_deleted_folder_is_noticed_by_the_head_that_the_champion_names(ledger: Ledger, folder: Path) -> None:
    promoted, later = ask(ledger, "one").link, ask(ledger, "two").link
    ledger.check_heads([promoted, "", later])
    shortened = [line for line in json.loads((folder / "ledger.json").read_text())["records"] if line["link"] != later]
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(StateError, match="was deleted, shortened or replaced: it has 0 questions") as refused:
        ask(ledger, "three", heads=[promoted])
    assert "confirm-loss" in refused.value.hint
    (folder / "ledger.json").write_text(json.dumps({"version": 2, "records": shortened}))
    ask(ledger, "three", heads=[promoted])  # the part until the promotion is there
    with pytest.raises(StateError, match="it has 2 questions"):
        ledger.check_heads([later])


@pytest.mark.parametrize("damage", [_truncate, _forget_the_last, _delete])
def test_after_a_confirmed_loss_only_fresh_rows_are_judged(ledger: Ledger, folder: Path, damage: Callable[[Path], None]) -> None:
    head = ask(ledger, "one").link
    damage(folder / "ledger.json")
    lost = {"champion": "champion", "holdout": BYTES, "by": "ada", "why": "the disk failed", "at": DAY}
    assert ledger.confirm_loss(ROWS, [head], **lost) == ("loss",)
    assert ledger.measure(ROWS, holdout=BYTES, rule=RULE, at=DAY).left == 0
    spent = ask(ledger, "two", heads=[head], at=DAY)
    fresh = ask(ledger, "two", heads=[head], row_set=FRESH, holdout=OTHER_BYTES, at=DAY)
    assert (spent.link, fresh.budget.left > 0) == ("", True)
    with pytest.raises(StateError, match="nothing is lost"):
        ledger.confirm_loss(ROWS, [head], **lost)


def test_a_question_without_a_champion_is_refused_once_the_ledger_knows_one(ledger: Ledger) -> None:
    ask(ledger, "first", champion=None)
    ask(ledger, "another first", champion=None)  # the first one was never rolled out
    ask(ledger, "second", champion="first")
    for challenger in ("first", "third"):
        with pytest.raises(StateError, match="the gate's ledger knows the champion first"):
            ask(ledger, challenger, champion=None)
    assert count(ledger) == 3
    lost = {"holdout": BYTES, "by": "ada", "why": "the disk failed", "at": DAY}
    with pytest.raises(StateError, match="nothing is lost"):
        ledger.confirm_loss(ROWS, [], champion="first", **lost)
    assert ledger.confirm_loss(ROWS, [], champion=None, **lost) == ("champion-loss",)
    assert ask(ledger, "third", champion=None, at=DAY).budget.left > 0
    assert ledger.read().find_champion() is None


def test_records_and_champion_can_be_lost_together(ledger: Ledger, folder: Path) -> None:
    head = ask(ledger, "second").link
    ask(ledger, "third")
    _forget_the_last(folder / "ledger.json")
    lost = {"champion": None, "holdout": BYTES, "by": "ada", "why": "the disk failed", "at": DAY}
    assert ledger.confirm_loss(ROWS, [head], **lost) == ("loss", "champion-loss")


@pytest.mark.parametrize("keep", [0, 3])
def test_an_older_copy_that_contains_the_champions_question_is_noticed_by_the_head_in_a_second_place(
    tmp_path: Path, folder: Path, keep: int
) -> None:
    head_file = HeadFile(tmp_path / "state" / "heads" / "folder")
    ledger = Ledger(folder, head_file=head_file)
    promoted = ask(ledger, "one").link
    for challenger in ("two", "three", "four"):
        ask(ledger, challenger)
    assert head_file.read() == ledger.read().head
    _edit(lambda records: records[:keep])(folder / "ledger.json")
    (folder / "ledger.lock").unlink()
    for use in (ledger.read, lambda: ask(ledger, "five", heads=[promoted])):
        with pytest.raises(StateError, match="replaced by an older copy") as refused:
            use()
        assert "confirm-loss" in refused.value.hint
    lost = {"champion": "champion", "holdout": BYTES, "by": "ada", "why": "the disk failed", "at": DAY}
    assert ledger.confirm_loss(ROWS, [promoted], **lost) == ("loss",)
    assert ask(ledger, "five", heads=[promoted], at=DAY).link == ""  # these rows answer no more
    assert ask(ledger, "five", heads=[promoted], row_set=FRESH, holdout=OTHER_BYTES, at=DAY).link == head_file.read()


def test_a_missing_head_in_the_second_place_is_known(tmp_path: Path, folder: Path) -> None:
    ledger = Ledger(folder, head_file=HeadFile(tmp_path / "head"))
    assert not ledger.lacks_head
    ask(ledger, "one")
    assert not ledger.lacks_head
    (tmp_path / "head").unlink()
    assert ledger.lacks_head


def test_a_damaged_head_in_the_second_place_is_an_error(tmp_path: Path, folder: Path) -> None:
    ledger = Ledger(folder, head_file=HeadFile(tmp_path / "head"))
    ask(ledger, "one")
    (tmp_path / "head").write_text("sha256:ab")
    with pytest.raises(StateError, match="names the record unreadable"):
        ask(ledger, "two")


def test_an_override_is_valid_for_one_model_until_its_end_and_changes_no_answer(ledger: Ledger) -> None:
    link = ask(ledger, "sha256:m", scores="sha256:s").link
    ledger.save_answer(link, {"promote": False})
    ledger.override("sha256:m", "sha256:s", by="ada", why="the fix is urgent", until=100.0, at=50.0)
    document = ledger.read()
    found = [document.find_override("sha256:m", "sha256:s", at) is not None for at in (49.0, 50.0, 99.0, 100.0)]
    assert found == [False, True, True, False]
    assert document.find_override("sha256:other", "sha256:s", 60.0) is None
    assert document.find_override("sha256:m", "sha256:other", 60.0) is None
    assert document.find_answer(link) == {"promote": False}
    ledger.override("sha256:m", "sha256:s", by="bob", why="longer", until=200.0, at=60.0)
    assert ledger.read().find_override("sha256:m", "sha256:s", 70.0).by == "bob"


def test_an_override_of_an_earlier_version_without_scores_is_readable_and_not_valid(ledger: Ledger) -> None:
    ledger.override("sha256:m", "", by="ada", why="the fix is urgent", until=100.0, at=50.0)
    document = ledger.read()
    assert '"scores":""' in document.model_dump_json()
    assert document.find_override("sha256:m", "", 60.0) is None


def test_the_scores_of_an_override_follow_from_the_questions_only_if_they_are_clear(ledger: Ledger) -> None:
    with pytest.raises(StateError, match="was not asked about it"):
        ledger.read().find_scores("sha256:m")
    ask(ledger, "sha256:m", scores="sha256:s")
    ask(ledger, "sha256:other", scores="sha256:t")
    assert ledger.read().find_scores("sha256:m") == "sha256:s"
    ask(ledger, "sha256:m", scores="sha256:u")
    with pytest.raises(StateError, match="with 2 different scores") as refused:
        ledger.read().find_scores("sha256:m")
    assert "--scores" in refused.value.hint


def test_a_folder_that_cannot_be_created_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(StateError) as refused:
        ask(Ledger(tmp_path / "state" / "ledger"), "one")
    assert refused.value.hint


def write_earlier(folder: Path, holdout: str, challengers: list[str], *, asked: float = 0.0) -> Path:
    """Write a ledger of the version that had one document for each file of a holdout."""
    entries = [
        {
            "holdout": holdout,
            "question": {
                "challenger": challenger,
                "champion": "champion",
                "rule": {"margin": 0.005, "alpha": 0.05, "budget": 52},
            },
            "uses": uses,
            "asked": asked + uses,
            "decision": {"promote": False},
        }
        for uses, challenger in enumerate(challengers, 1)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{holdout.removeprefix('sha256:')}.json"
    file.write_text(json.dumps({"version": 2 * len(entries), "holdout": holdout, "entries": entries}))
    file.with_suffix(".lock").write_text(str(2 * len(entries)))
    return file


def test_the_ledger_of_an_earlier_version_is_taken_over(ledger: Ledger, folder: Path) -> None:
    write_earlier(folder, BYTES, ["one", "two", "three"])
    write_earlier(folder, OTHER_BYTES, ["four"], asked=10.0)
    assert ledger.measure(ROWS, holdout=BYTES, rule=RULE, at=DAY).own == 3
    assert ledger.measure(ROWS, holdout=BYTES, rule=RULE, at=DAY).carried == 1
    assert ask(ledger, "five", at=DAY).uses == 5
    assert count(Ledger(folder)) == 5
    assert ask(ledger, "six", holdout="sha256:re-encoded", at=DAY).uses == 6  # the file is known to contain these rows
    assert ledger.measure(ROWS, holdout="sha256:re-encoded", rule=RULE, at=800 * DAY).own == 5


@pytest.mark.parametrize("damage", [_truncate, _empty, _delete])
def test_a_damaged_ledger_of_an_earlier_version_is_an_error(ledger: Ledger, folder: Path, damage: Callable[[Path], None]) -> None:
    damage(write_earlier(folder, BYTES, ["one"]))
    with pytest.raises(StateError, match="cannot be trusted"):
        ask(ledger, "two")
