"""Stored scores of a release come back for the same rows of the same holdout, and for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from gate_inputs import BYTES, CHAMPION_RELEASE, OTHER_BYTES, bind, make_holdout

from sluice.errors import StateError
from sluice.gate.score_files import ScoreFiles

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.data.row_scores import RowScores

HOLDOUT = make_holdout(np.arange(1_000) % 4 == 0)
SCORES = np.random.default_rng(0).random(1_000)
IDS = HOLDOUT.gate.ids


@pytest.fixture
def files(tmp_path: Path) -> ScoreFiles:
    return ScoreFiles(tmp_path / "scores")


def load(files: ScoreFiles, **changes: object) -> RowScores | None:
    return files.load(CHAMPION_RELEASE, **{"row_set": HOLDOUT.row_set.digest, "holdout": BYTES, "ids": IDS, **changes})


def test_stored_scores_are_equal_to_the_last_bit_in_any_order_of_the_rows(files: ScoreFiles) -> None:
    assert load(files) is None
    for _ in range(2):
        files.save(CHAMPION_RELEASE, bind(HOLDOUT, SCORES))
    order = np.random.default_rng(1).permutation(1_000)
    assert load(files, ids=IDS[order]).align(IDS).tobytes() == SCORES.tobytes()
    assert len(list(files.folder.rglob("*.*"))) == 1


def test_scores_of_other_bytes_or_without_one_of_the_rows_are_not_used(files: ScoreFiles) -> None:
    files.save(CHAMPION_RELEASE, bind(HOLDOUT, SCORES))
    assert load(files, holdout=OTHER_BYTES) is None
    assert load(files, ids=[*IDS[1:], 10**9]) is None
    assert load(files, row_set=OTHER_BYTES) is None
    assert len(load(files, ids=IDS[:10]).scores) == 10


def test_damaged_scores_are_an_error_with_a_hint(files: ScoreFiles) -> None:
    files.save(CHAMPION_RELEASE, bind(HOLDOUT, SCORES))
    (file,) = files.folder.rglob("*.npz")
    for damaged in (b"", b"PK\x03\x04", file.read_bytes()[:-8]):
        file.write_bytes(damaged)
        with pytest.raises(StateError, match="damaged") as refused:
            load(files)
        assert "Delete that file" in refused.value.hint


@pytest.mark.parametrize("name", ["", "sha256:", "ab" * 32, "sha256:" + "AB" * 32, "sha256:../../../etc/passwd", BYTES + "\n"])
def test_only_digests_become_file_names(files: ScoreFiles, name: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        files.save(name, bind(HOLDOUT, SCORES))
    with pytest.raises(ValueError, match="not a digest"):
        load(files, row_set=name)
    assert not files.folder.exists()


def test_a_folder_that_cannot_be_created_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(StateError) as refused:
        ScoreFiles(tmp_path / "state" / "scores").save(CHAMPION_RELEASE, bind(HOLDOUT, SCORES))
    assert refused.value.hint
