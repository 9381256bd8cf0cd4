"""The holdout: a fixed, labelled snapshot in two parts. Model tests use the test rows, and only the gate uses the gate rows.

A hash of the row's id decides to which part the row belongs. The split therefore does not depend on the order of the rows, on a
seed or on a library's version, and a row never changes its part. The gate answers only yes or no, so repeated questions reveal
little about the gate rows (Blum and Hardt, "The Ladder", arXiv 1502.04585). This holds only while no test uses the gate rows.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sluice.data.external_errors import describe_error
from sluice.data.labelled_rows import LabelledRows, read_frame, read_labelled_rows
from sluice.data.row_sets import RowSet, describe_row_set, hash_id
from sluice.data.snapshots import check_readable, is_folder, pin_for_reading, pin_snapshot
from sluice.errors import DataError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from sluice.data.snapshots import Snapshot
    from sluice.project.projects import Project

__all__ = [
    "Holdout",
    "HoldoutPart",
    "LabelledRows",
    "holdout_digest",
    "open_holdout",
    "pin_holdout",
    "read_frame",
    "read_holdout",
    "read_labelled_rows",
    "read_whole_holdout",
    "split_holdout",
    "split_rows",
]

HoldoutPart = Literal["test", "gate"]
"""The two parts of the holdout."""


@dataclass(frozen=True, slots=True, eq=False)
class Holdout:
    """A holdout that has been read, with both of its parts.

    Attributes:
        pinned: Its file.
        rows: All of its rows.
        row_set: The set of these rows.
        is_gate: Which of them are gate rows, shape (rows,).
    """

    pinned: Snapshot
    rows: LabelledRows
    row_set: RowSet
    is_gate: npt.NDArray[np.bool_]

    @property
    def digest(self) -> str:
        """The digest of its file's bytes."""
        return self.pinned.digest

    @property
    def test(self) -> LabelledRows:
        """The test rows."""
        return self.rows.take(~self.is_gate)

    @property
    def gate(self) -> LabelledRows:
        """The gate rows, which only the gate may score."""
        return self.rows.take(self.is_gate)

    def count(self) -> dict[str, dict[str, int]]:
        """Return the number of rows by part (``test``, ``gate``) and label (``negative``, ``positive``)."""
        parts = {"test": self.rows.labels[~self.is_gate], "gate": self.rows.labels[self.is_gate]}
        return {
            part: {"negative": int((labels == 0).sum()), "positive": int((labels == 1).sum())} for part, labels in parts.items()
        }


SNAPSHOT_FOLDER = "snapshots"
_FIRST_USE_FILE = "holdout.json"
_HASH_BYTES = 8
_HASH_RANGE = 1 << (8 * _HASH_BYTES)


def split_holdout(ids: Iterable[object], *, gate_fraction: float) -> npt.NDArray[np.bool_]:
    """Return which rows are gate rows.

    A row is a gate row if the first eight bytes of the SHA-256 of its id's text (UTF-8), read as a big-endian number, are below
    ``gate_fraction * 2**64``. The text of a whole number is its decimal digits, whether it is stored as an integer or as a float,
    so that a file format that changes the type moves no row. A larger fraction moves rows only from test to gate. This rule never
    changes, because a holdout's digest also stands for its split.

    Args:
        ids: The rows' ids in any order, shape (rows,).
        gate_fraction: The expected share of gate rows, in (0, 1).

    Returns:
        True for gate rows, shape (rows,).

    Raises:
        ValueError: The fraction is not between 0 and 1, or an id is missing.
    """
    if not 0 < gate_fraction < 1:
        raise ValueError(f"gate_fraction must be between 0 and 1, not {gate_fraction}")
    limit = int(gate_fraction * _HASH_RANGE)
    return np.fromiter((int.from_bytes(hash_id(value)[:_HASH_BYTES], "big") < limit for value in ids), dtype=bool)


def pin_holdout(project: Project, scratch: Path | None = None) -> Snapshot:
    """Pin the holdout and compare its digest with the declared one. If none is declared, the digest of the first read counts.

    Args:
        project: The project.
        scratch: Another folder for the copy than the state folder. Then a digest of the first read is not recorded.

    Raises:
        DataError: The holdout is missing or cannot be read.
        IntegrityError: The digest differs. A changed holdout is a new holdout, and its digest must be declared.
    """
    settings = project.settings.data
    location = project.locate(settings.holdout)
    if is_folder(location):
        raise DataError(f"the holdout {settings.holdout} is a folder, but one file is needed", hint="Give the path of the file.")
    snapshot = pin_snapshot(location, scratch) if scratch else pin_for_reading(location, project.state / SNAPSHOT_FOLDER)
    if settings.holdout_digest is not None:
        _require_digest(snapshot, settings.holdout_digest, "data.holdout_digest in sluice.toml declares")
    elif scratch is None:
        _require_first_digest(snapshot, project.state / _FIRST_USE_FILE)
    return snapshot


def holdout_digest(project: Project) -> str:
    """Return the digest of the holdout, after the check that `pin_holdout` makes.

    Raises:
        DataError: The holdout is missing or cannot be read.
        IntegrityError: It is not the holdout that was declared or first read.
    """
    return pin_holdout(project).digest


def read_holdout(project: Project, *, part: HoldoutPart) -> LabelledRows:
    """Read one part of the holdout.

    Args:
        project: The project that declares the holdout.
        part: ``"test"`` for the model tests, reports and plots; ``"gate"`` for the gate only.

    Raises:
        ConfigurationError: ``data.load`` does not name a loader.
        DataError: The holdout is missing or unreadable, breaks its contract, or is so small that this part has no rows.
        IntegrityError: It is not the holdout that was declared or first read.
    """
    _, rows = _read_all(project)
    is_gate = split_holdout(rows.ids, gate_fraction=project.settings.data.gate_fraction)
    picked = is_gate if part == "gate" else ~is_gate
    _require_rows(picked, part)
    return rows.take(picked)


def read_whole_holdout(project: Project, scratch: Path | None = None) -> Holdout:
    """Read the whole holdout, even if one of its parts has no rows.

    Args:
        project: The project.
        scratch: As for `pin_holdout`.

    Raises:
        ConfigurationError: ``data.load`` does not name a loader.
        DataError: The holdout is missing or unreadable, or breaks its contract.
        IntegrityError: It is not the holdout that was declared or first read.
    """
    return split_rows(project, *_read_all(project, scratch))


def open_holdout(project: Project) -> Holdout:
    """Read the whole holdout, and check that both of its parts have rows. Only the gate may use the gate rows.

    Raises:
        ConfigurationError: ``data.load`` does not name a loader.
        DataError: The holdout is missing or unreadable, breaks its contract, or is so small that one part has no rows.
        IntegrityError: It is not the holdout that was declared or first read.
    """
    holdout = read_whole_holdout(project)
    _require_rows(~holdout.is_gate, "test")
    _require_rows(holdout.is_gate, "gate")
    return holdout


def split_rows(project: Project, pinned: Snapshot, rows: LabelledRows) -> Holdout:
    """Split the rows of a file into the parts of a holdout.

    Args:
        project: The project, whose ``data.gate_fraction`` counts.
        pinned: The file.
        rows: Its rows, or those of them that a new holdout will have.
    """
    is_gate = split_holdout(rows.ids, gate_fraction=project.settings.data.gate_fraction)
    return Holdout(pinned=pinned, rows=rows, row_set=describe_row_set(rows.ids, rows.labels), is_gate=is_gate)


def _read_all(project: Project, scratch: Path | None = None) -> tuple[Snapshot, LabelledRows]:
    pinned = pin_holdout(project, scratch)
    check_readable(pinned)
    return pinned, read_labelled_rows(project, pinned.path, source=pinned.source)


def _require_rows(picked: npt.NDArray[np.bool_], part: HoldoutPart) -> None:
    if not picked.any():
        raise DataError(
            f"the holdout has {len(picked)} rows, and none of them is a {part} row",
            hint="Use a larger holdout, or set data.gate_fraction further from 0 and 1.",
        )


def _require_first_digest(snapshot: Snapshot, record: Path) -> None:
    """Compare an undeclared holdout with the digest of its first read in this project. The first read records the digest.

    Without this check, one changed byte would make a new holdout with a full budget of questions.
    """
    try:
        seen = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        seen = {}
    except (OSError, ValueError) as error:
        hint = "Remove the file. The next read of the holdout writes it again."
        raise DataError(f"{record} cannot be read: {describe_error(error)}", hint=hint) from error
    if snapshot.source in seen:
        _require_digest(snapshot, seen[snapshot.source], f"was recorded when it was first read ({record})")
        return
    with contextlib.suppress(OSError):  # a read-only project cannot record the digest; there it has to be declared
        draft = record.with_name(f".{record.name}.{os.getpid()}")
        draft.write_text(json.dumps({**seen, snapshot.source: snapshot.digest}, indent=1), encoding="utf-8")
        draft.replace(record)


def _require_digest(snapshot: Snapshot, expected: str, origin: str) -> None:
    if snapshot.digest != expected:
        setting = f'data.holdout_digest = "{snapshot.digest}"'
        raise IntegrityError(
            f"the holdout {snapshot.source} has the digest {snapshot.digest}, not the digest {expected} that {origin}",
            hint=(
                "Restore the file. `sluice holdout rotate` replaces the holdout by fresh rows. If the file was only written "
                "again, "
                f"with the same rows, set {setting} in sluice.toml."
            ),
        )
