"""The scores that a pipeline step hands to the gate: whose they are, on which rows, and compared with which champion.

The step that computes them loads models, and loading a model runs code that is in its file. The gate's step holds the access to
the ledger, so it loads no model and believes nothing that it can check. The file contains numbers and digests and no pickle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.data.row_scores import ID_TYPE, bind_scores, hash_ids, read_arrays
from sluice.errors import DataError, IntegrityError, StateError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from sluice.data.holdout import Holdout
    from sluice.data.row_scores import RowScores

_AGAIN = "Run the pipeline again, so that its step `score` computes the scores again."
_KEYS = ("ids", "scores", "holdout", "row_set", "model", "champion", "champion_scores")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SubmittedScores:
    """The scores of the gate rows by two models.

    Attributes:
        model: The digest of the challenger's model.
        challenger: The challenger's scores.
        champion: The digest of the champion's release; None if there is none.
        champion_scores: The champion's scores of the same rows; None if there is no champion.
    """

    model: str
    challenger: RowScores
    champion: str | None = None
    champion_scores: RowScores | None = None

    def write(self, target: Path) -> None:
        """Write the scores as an uncompressed NumPy archive. `read_submitted_scores` reads it.

        `sluice.data.row_scores.read_row_scores` reads the challenger's scores from it.
        """
        ids = self.challenger.ids
        second = self.champion_scores.align(ids) if self.champion_scores is not None else np.empty(0)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:  # an open file, because NumPy adds a suffix to a path
            named = {"model": np.array(self.model), "champion": np.array(self.champion or ""), "champion_scores": second}
            arrays: dict[str, Any] = self.challenger.to_arrays() | named
            np.savez(file, **arrays)


def read_submitted_scores(source: Path) -> SubmittedScores:
    """Read what `SubmittedScores.write` wrote. Nothing in the file is believed: `check_scores` compares it with what is known.

    Raises:
        DataError: There is no such file, it is damaged, or it has another format. Or a score is not a number in [0, 1].
    """
    try:
        ids, scores, holdout, row_set, model, champion, second = read_arrays(source, _KEYS)
        bound = {"holdout": str(holdout), "row_set": str(row_set)}
        challenger = bind_scores(_check_ids(ids), _check_probabilities(scores), **bound)
        other = bind_scores(ids, _check_probabilities(second), **bound) if str(champion) else None
    except FileNotFoundError as error:
        raise DataError(f"there are no scores of the gate rows in {source}", hint=_AGAIN) from error
    except DataError as error:
        raise DataError(f"the gate cannot use the scores of the gate rows: {error.message}", hint=_AGAIN) from error
    return SubmittedScores(model=str(model), challenger=challenger, champion=str(champion) or None, champion_scores=other)


def _check_ids(ids: npt.NDArray[Any]) -> npt.NDArray[np.bytes_]:
    if ids.ndim != 1 or ids.dtype != ID_TYPE:
        raise DataError("the ids of the rows are not hashes")
    return ids


def _check_probabilities(scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return scores that are probabilities. That each is finite, and that there is one for each row, `bind_scores` checks."""
    if scores.dtype != np.float64:
        raise DataError(f"the scores have the type {scores.dtype}")
    outside = int(np.count_nonzero((scores < 0) | (scores > 1)))
    if outside:
        raise DataError(f"{outside:,} of {scores.size:,} scores are outside [0, 1]")
    return scores


def check_scores(submitted: SubmittedScores, holdout: Holdout, *, model: str, champion: str | None) -> None:
    """Check that scores are those of this model and this champion on exactly the gate rows of this holdout. Pure.

    Args:
        submitted: The scores.
        holdout: The present holdout.
        model: The digest of the model that the gate is asked about.
        champion: The digest of the present champion; None if there is none.

    Raises:
        IntegrityError: They are of another model, of another holdout or of other rows.
        StateError: They were computed for another champion.
    """
    scores = submitted.challenger
    expected = (
        ("the model", submitted.model, model),
        ("the holdout", scores.holdout, holdout.digest),
        ("the row set", scores.row_set, holdout.row_set.digest),
    )
    for what, found, wanted in expected:
        if found != wanted:
            shown = found[: len(wanted)]  # the file may contain a long text
            raise IntegrityError(f"the scores of the gate rows are of {what} {shown!r}, but the gate has {wanted!r}", hint=_AGAIN)
    rows = np.sort(hash_ids(holdout.rows.ids[holdout.is_gate]))
    if not np.array_equal(scores.ids, rows):
        unknown = np.count_nonzero(~np.isin(scores.ids, rows))
        raise IntegrityError(
            f"the scores are of {len(scores.ids):,} rows, and {unknown:,} of them are no gate rows; there are {len(rows):,}",
            hint=_AGAIN,
        )
    if submitted.champion != champion:
        before, now = (f"the champion {digest[:19]}" if digest else "no champion" for digest in (submitted.champion, champion))
        raise StateError(
            f"the scores were made to compare with {before}, but now there is {now}, so the gate was not asked",
            hint="Run the pipeline again, so that the model is compared with the present champion.",
        )
