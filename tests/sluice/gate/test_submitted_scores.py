"""The gate believes nothing about scores that a pod without its rights has written: forged and damaged files are refused."""

from __future__ import annotations

import dataclasses
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gate_inputs import CHAMPION_RELEASE, OTHER_BYTES, bind, make_holdout

from sluice.data.row_scores import bind_scores, read_row_scores
from sluice.errors import DataError, IntegrityError, StateError
from sluice.gate.submitted_scores import SubmittedScores, check_scores, read_submitted_scores

if TYPE_CHECKING:
    from pathlib import Path

MODEL, OTHER = "sha256:" + "aa" * 32, "sha256:" + "bb" * 32
HOLDOUT = make_holdout(np.arange(40) % 4 == 0)
SCORES = np.linspace(0, 1, 40)
FIRST = SubmittedScores(model=MODEL, challenger=bind(HOLDOUT, SCORES))
SECOND = dataclasses.replace(FIRST, champion=CHAMPION_RELEASE, champion_scores=bind(HOLDOUT, SCORES[::-1]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "scores"


def forge(file: Path, **changes: Any) -> Path:
    """Write a file as `SECOND` writes it, with other arrays."""
    SECOND.write(file)
    with np.load(file) as archive:
        arrays = dict(archive) | changes
    with file.open("wb") as target:
        np.savez(target, **{name: value for name, value in arrays.items() if value is not None})
    return file


def check(submitted: SubmittedScores, **changes: Any) -> None:
    known = {"holdout": HOLDOUT, "model": MODEL, "champion": CHAMPION_RELEASE} | changes
    check_scores(submitted, known.pop("holdout"), **known)


@pytest.mark.parametrize("written", [FIRST, SECOND])
def test_what_is_written_is_read_and_accepted(written: SubmittedScores, file: Path) -> None:
    written.write(file)
    found = read_submitted_scores(file)
    assert (found.model, found.champion) == (MODEL, written.champion)
    assert found.challenger.digest == written.challenger.digest == read_row_scores(file).digest
    assert (found.champion_scores and found.champion_scores.digest) == (written.champion_scores and SECOND.champion_scores.digest)
    check(found, champion=written.champion)


def test_a_pickle_in_the_file_is_not_loaded(file: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return ((tmp_path / "owned").touch, ())

    for contents in (pickle.dumps(Hostile()), None):
        if contents is None:
            forge(file, scores=np.array([Hostile()], dtype=object))
        else:
            file.write_bytes(contents)
        with pytest.raises(DataError, match="the gate cannot use the scores of the gate rows"):
            read_submitted_scores(file)
    # Reading the same file with pickles allowed runs the code, so the test would notice it.
    with np.load(file, allow_pickle=True) as archive:
        archive["scores"]
    assert (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": SCORES[:-1]}, r"scores of shape \(39,\) for 40 rows"),
        ({"scores": SCORES[:, None]}, r"scores of shape \(40, 1\)"),
        ({"scores": SCORES.astype(np.float32)}, "type float32"),
        ({"scores": np.where(SCORES == 0, np.nan, SCORES)}, "1 of 40 scores are not finite"),
        ({"scores": SCORES + 0.01}, r"1 of 40 scores are outside \[0, 1\]"),
        ({"scores": SCORES - 0.01}, r"1 of 40 scores are outside \[0, 1\]"),
        ({"champion_scores": SCORES * 2}, r"of 40 scores are outside \[0, 1\]"),
        ({"champion_scores": np.empty(0)}, r"scores of shape \(0,\) for 40 rows"),
        ({"ids": np.arange(40)}, "the ids of the rows are not hashes"),
        ({"ids": None}, "ids"),
        ({"champion": None}, "champion"),
    ],
)
def test_malformed_scores_are_refused(file: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        read_submitted_scores(forge(file, **changes))
    assert refused.value.hint.startswith("Run the pipeline again")


def test_a_missing_file_and_one_with_any_bytes_are_refused(file: Path) -> None:
    with pytest.raises(DataError, match="there are no scores"):
        read_submitted_scores(file)
    SECOND.write(file)
    valid, generator = file.read_bytes(), np.random.default_rng(1)
    refused = 0
    for _ in range(500):
        changed = bytearray(valid)
        for place in generator.integers(len(changed), size=generator.integers(1, 20)):
            changed[place] = generator.integers(256)
        file.write_bytes(changed[: generator.integers(1, len(changed) + 1)])
        try:
            read_submitted_scores(file)
        except DataError:
            refused += 1
    assert refused > 400


@pytest.mark.parametrize(
    ("submitted", "message"),
    [
        (dataclasses.replace(SECOND, model=OTHER), f"of the model '{OTHER}', but the gate has '{MODEL}'"),
        (dataclasses.replace(SECOND, model="x" * 10_000), f"of the model '{'x' * 71}'"),
        (
            dataclasses.replace(SECOND, challenger=bind(make_holdout(np.arange(40) % 4 == 0, digest=OTHER_BYTES), SCORES)),
            "holdout",
        ),
        (dataclasses.replace(SECOND, challenger=bind(make_holdout(np.arange(40) % 2 == 0), SCORES)), "of the row set"),
    ],
)
def test_scores_of_something_else_are_refused(submitted: SubmittedScores, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        check(submitted)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (range(39), "of 39 rows, and 0 of them are no gate rows; there are 40"),
        (range(41), "of 41 rows, and 1 of them are no gate rows"),  # row 40 is a test row
        ([0, *range(39)], "of 40 rows, and 0 of them are no gate rows"),  # one row twice, and one missing
        (range(1000, 1040), "of 40 rows, and 40 of them are no gate rows"),
    ],
)
def test_scores_of_other_rows_are_refused(ids: range | list[int], message: str) -> None:
    scores = bind_scores(ids, np.full(len(ids), 0.5), holdout=HOLDOUT.digest, row_set=HOLDOUT.row_set.digest)
    with pytest.raises(IntegrityError, match=message):
        check(dataclasses.replace(SECOND, challenger=scores, champion_scores=scores))


@pytest.mark.parametrize(
    ("submitted", "champion", "message"),
    [
        (SECOND, OTHER, "compare with the champion sha256:c1c1c1c1c1c1, but now there is the champion sha256:bbbbbbbbbbbb"),
        (SECOND, None, "but now there is no champion"),
        (FIRST, CHAMPION_RELEASE, "compare with no champion, but now there is the champion sha256:c1"),
    ],
)
def test_a_champion_that_has_changed_meanwhile_is_a_refusal(
    submitted: SubmittedScores, champion: str | None, message: str
) -> None:
    with pytest.raises(StateError, match=message) as refused:
        check(submitted, champion=champion)
    assert "Run the pipeline again" in refused.value.hint


def test_the_order_in_the_file_changes_nothing(file: Path) -> None:
    ids, order = SECOND.challenger.ids, np.random.default_rng(1).permutation(40)
    scores, others = SECOND.challenger.scores, SECOND.champion_scores.align(ids)
    found = read_submitted_scores(forge(file, ids=ids[order], scores=scores[order], champion_scores=others[order]))
    check(found)
    assert (found.challenger.digest, found.champion_scores.digest) == (SECOND.challenger.digest, SECOND.champion_scores.digest)
