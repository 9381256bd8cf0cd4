"""Scores are matched to rows by id, never by their position."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sluice.data.row_scores import bind_scores, digest_rows, read_row_scores
from sluice.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(3)
IDS = RNG.permutation(10_000)[:2_000]
SCORES = RNG.random(2_000)
BOUND = bind_scores(IDS, SCORES, holdout="sha256:h", row_set="sha256:r")


def test_scores_follow_their_rows_into_any_order_and_selection() -> None:
    for order in (RNG.permutation(2_000), np.arange(300)):
        assert np.array_equal(BOUND.align(IDS[order]), SCORES[order])
    assert np.array_equal(BOUND.align(IDS.astype(float)), SCORES)


def test_the_digest_depends_on_ids_and_scores_and_not_on_the_order() -> None:
    order = RNG.permutation(2_000)
    again = bind_scores(IDS[order], SCORES[order], holdout="sha256:h", row_set="sha256:r")
    assert again.digest == BOUND.digest
    assert bind_scores(IDS, SCORES[order], holdout="sha256:h", row_set="sha256:r").digest != BOUND.digest
    assert digest_rows(IDS[order]) == digest_rows(IDS) != digest_rows(IDS[1:])


def test_rows_without_a_score_are_an_error_that_counts_them() -> None:
    with pytest.raises(DataError, match="2 of 2,002 rows have no score"):
        BOUND.align([*IDS, 10**7, 10**8])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (SCORES[:-1], r"scores of shape \(1999,\) for 2,000 rows"),
        (np.column_stack([SCORES, SCORES]), r"scores of shape \(2000, 2\)"),
        (np.where(SCORES < 0.5, np.nan, SCORES), "scores are not finite"),
    ],
)
def test_there_must_be_one_finite_score_for_each_row(scores: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        bind_scores(IDS, scores, holdout="", row_set="")


def test_stored_scores_are_equal_to_the_last_bit(tmp_path: Path) -> None:
    BOUND.write(tmp_path / "scores")
    again = read_row_scores(tmp_path / "scores")
    assert again.scores.tobytes() == BOUND.scores.tobytes()
    assert (again.digest, again.holdout, again.row_set) == (BOUND.digest, "sha256:h", "sha256:r")


def test_damaged_files_and_files_of_another_format_are_refused(tmp_path: Path) -> None:
    whole, plain, pickled = io.BytesIO(), io.BytesIO(), io.BytesIO()
    BOUND.write(whole)
    np.save(plain, SCORES)  # the format of earlier versions, which knows no rows
    np.savez(pickled, ids=np.array([{}], dtype=object), scores=SCORES, holdout="", row_set="", allow_pickle=True)
    for content in (b"", b"not an archive", whole.getvalue()[:-40], plain.getvalue(), pickled.getvalue()):
        (tmp_path / "scores").write_bytes(content)
        with pytest.raises(DataError, match="damaged") as refused:
            read_row_scores(tmp_path / "scores")
        assert "Delete that file" in refused.value.hint
