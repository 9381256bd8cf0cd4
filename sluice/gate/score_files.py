"""The scores of releases on a holdout's rows, in files. They can still be compared when a release no longer loads."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.data.row_scores import read_row_scores
from sluice.errors import DataError, StateError
from sluice.gate.stores.folders import file_errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluice.data.row_scores import RowScores

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class ScoreFiles:
    """The stored scores in one folder.

    Attributes:
        folder: The folder. It is created at the first write.
    """

    def __init__(self, folder: Path) -> None:
        """Set the folder. Nothing is read or written yet."""
        self.folder = Path(folder)

    def save(self, release: str, scores: RowScores) -> None:
        """Store a release's scores. They replace earlier ones of the same release on the same row set.

        Raises:
            StateError: The scores cannot be written.
            ValueError: `release` or the digest of the row set is not a digest.
        """
        file = self._file(release, scores.row_set)
        with file_errors(file, "written"):
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".new-", delete=False) as new:
                try:
                    scores.write(new.file)
                    new.flush()
                    os.fsync(new.fileno())
                    Path(new.name).replace(file)
                except BaseException:
                    Path(new.name).unlink(missing_ok=True)
                    raise

    def load(self, release: str, *, row_set: str, holdout: str, ids: Iterable[object]) -> RowScores | None:
        """Return a release's stored scores of these rows.

        They are None if no scores are stored, if they were computed from other bytes of the holdout, or if one of the rows has no
        score. Then the release has to be scored again.

        Args:
            release: The digest of the release.
            row_set: The digest of the holdout's row set.
            holdout: The digest of the holdout's bytes.
            ids: The ids of the rows.

        Raises:
            StateError: The scores exist and cannot be read.
            ValueError: `release` or `row_set` is not a digest.
        """
        file = self._file(release, row_set)
        try:
            with file_errors(file, "read"):
                stored = read_row_scores(file)
        except FileNotFoundError:
            return None
        except DataError as error:
            raise StateError(error.message, hint=error.hint) from error
        if (stored.holdout, stored.row_set) != (holdout, row_set):
            return None
        try:
            return stored.select(ids)
        except DataError:
            return None

    def _file(self, release: str, row_set: str) -> Path:
        return self.folder / _read_hex(row_set) / f"{_read_hex(release)}.npz"


def _read_hex(digest: str) -> str:
    """Return the hexadecimal digits of a digest. They become a file's name, so no other characters may pass."""
    match = _DIGEST.fullmatch(digest)
    if not match:
        raise ValueError(f"not a digest of the form sha256:<64 hexadecimal digits>: {digest!r}")
    return match[1]
