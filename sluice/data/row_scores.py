"""A model's scores together with the rows that they belong to.

Two arrays of equal length need not belong together: a loader may order or select the rows differently from one day to the next.
Therefore scores that are stored, or passed from one step to another, always carry the ids of their rows.
"""

from __future__ import annotations

import hashlib
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from sluice.data.row_sets import hash_id
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

_ID_BYTES = 16
ID_TYPE = np.dtype(f"S{_ID_BYTES}")
"""The type of an array with hashes of ids."""

_KEYS = ("ids", "scores", "holdout", "row_set")
_FILE_ERRORS = (
    *(OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, RuntimeError, SyntaxError, OverflowError),
    *(MemoryError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What NumPy and the modules below it raise for files with any bytes, for example one that asks for a password."""


@dataclass(frozen=True, slots=True, eq=False)
class RowScores:
    """The scores of some rows of a holdout.

    Attributes:
        ids: The first 16 bytes of the hash of each row's id, sorted, shape (rows,).
        scores: The score of each of these rows, float64, shape (rows,). All are finite.
        holdout: The digest of the holdout's bytes. The features of the rows may differ in another file.
        row_set: The digest of the holdout's row set.
    """

    ids: npt.NDArray[np.bytes_]
    scores: npt.NDArray[np.float64]
    holdout: str
    row_set: str

    @property
    def digest(self) -> str:
        """The SHA-256 of ids and scores, ``sha256:…``. It does not depend on the order in which the rows were scored."""
        return f"sha256:{hashlib.sha256(self.ids.tobytes() + self.scores.tobytes()).hexdigest()}"

    def align(self, ids: Iterable[object]) -> npt.NDArray[np.float64]:
        """Return the scores of rows in the order of their ids, shape (rows,).

        Raises:
            DataError: A row has no score.
        """
        wanted = hash_ids(ids)
        places = np.searchsorted(self.ids, wanted)
        found = places < len(self.ids)
        found[found] = self.ids[places[found]] == wanted[found]
        if not found.all():
            raise DataError(
                f"{np.count_nonzero(~found):,} of {len(wanted):,} rows have no score",
                hint="Score the model again on the present rows of the holdout.",
            )
        aligned: npt.NDArray[np.float64] = self.scores[places]
        return aligned

    def select(self, ids: Iterable[object]) -> RowScores:
        """Return the scores of some of the rows.

        Raises:
            DataError: A row has no score.
        """
        wanted = hash_ids(ids)
        return bind_scores(wanted, self.align(wanted), holdout=self.holdout, row_set=self.row_set)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return ids, scores and digests as arrays under the names in a file."""
        return dict(zip(_KEYS, (self.ids, self.scores, np.array(self.holdout), np.array(self.row_set)), strict=True))

    def write(self, target: Path | IO[bytes]) -> None:
        """Write the scores as an uncompressed NumPy archive. `read_row_scores` reads it."""
        if not isinstance(target, IO) and hasattr(target, "open"):
            with target.open("wb") as file:  # an open file, because NumPy adds a suffix to a path
                self.write(file)
            return
        arrays: dict[str, Any] = self.to_arrays()
        np.savez(target, **arrays)


def hash_ids(ids: Iterable[object]) -> npt.NDArray[np.bytes_]:
    """Return the first 16 bytes of the hash of each id, in the given order, shape (rows,).

    What this function returned stays as it is. So a caller that uses the same rows several times hashes their ids once, which
    takes about a second for a million rows.
    """
    if isinstance(ids, np.ndarray) and ids.dtype == ID_TYPE:
        return ids
    hashed = b"".join(hash_id(value)[:_ID_BYTES] for value in ids)
    return np.frombuffer(hashed, dtype=ID_TYPE)


def digest_rows(ids: Iterable[object]) -> str:
    """Return the SHA-256 of a set of rows, by their ids in any order, ``sha256:…``."""
    return f"sha256:{hashlib.sha256(np.sort(hash_ids(ids)).tobytes()).hexdigest()}"


def bind_scores(ids: Iterable[object], scores: npt.ArrayLike, *, holdout: str, row_set: str) -> RowScores:
    """Bind scores to the rows that they were just computed from.

    Args:
        ids: The rows' ids, shape (rows,).
        scores: Their scores in the same order, shape (rows,).
        holdout: The digest of the holdout's bytes.
        row_set: The digest of the holdout's row set.

    Raises:
        DataError: There is not one finite score for each row.
    """
    hashed = hash_ids(ids)
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != hashed.shape:
        raise DataError(
            f"the model gave scores of shape {values.shape} for {len(hashed):,} rows",
            hint="Check that the model returns one probability for each row, in the order of the rows.",
        )
    unusable = int(np.count_nonzero(~np.isfinite(values)))
    if unusable:
        raise DataError(
            f"{unusable:,} of {len(values):,} scores are not finite numbers",
            hint="Check that the model returns a probability for every row, also for rows with missing values.",
        )
    order = np.argsort(hashed, kind="stable")
    return RowScores(ids=hashed[order], scores=values[order] + 0.0, holdout=holdout, row_set=row_set)


def read_row_scores(source: Path) -> RowScores:
    """Read what `RowScores.write` wrote.

    Raises:
        DataError: The file is damaged, or it has another format.
        FileNotFoundError: There is no such file.
    """
    ids, scores, holdout, row_set = read_arrays(source, _KEYS)
    if ids.dtype != ID_TYPE or scores.dtype != np.float64 or ids.shape != scores.shape or ids.ndim != 1:
        raise _damaged(source, "ids and scores do not fit together")
    return RowScores(ids=ids, scores=scores, holdout=str(holdout), row_set=str(row_set))


def read_arrays(source: Path, keys: Iterable[str]) -> list[npt.NDArray[Any]]:
    """Read arrays from a NumPy archive. No pickle is loaded, so the file cannot run code.

    Raises:
        DataError: The file is damaged, or it has another format, or an array is missing.
        FileNotFoundError: There is no such file.
    """
    try:
        with np.load(source, allow_pickle=False) as archive:
            found = [archive[key] for key in keys]
    except FileNotFoundError:
        raise
    except _FILE_ERRORS as error:
        raise _damaged(source, f"{type(error).__name__}: {error}") from error
    if not all(isinstance(one, np.ndarray) for one in found):
        raise _damaged(source, "it contains something other than arrays")
    return found


def _damaged(source: Path, reason: str) -> DataError:
    return DataError(
        f"the scores in {source} are damaged: {reason}",
        hint="Delete that file. The release is then scored again with its own code.",
    )
