"""The holdout: a fixed labelled snapshot in two parts, test rows for the model layer, gate rows for the gate alone.

The split goes by a hash of the row's id, so that it never depends on the order of rows, on a seed or on a library's
version, and a row stays on its side for good. A gate that answers one bit over rows that nobody tests against cannot be
learned by trying (Blum and Hardt, "The Ladder", arXiv 1502.04585); that holds only as long as the two parts stay apart.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from sluice.data.boundaries import describe_error
from sluice.data.labelled import LabelledRows, read_frame, read_labelled
from sluice.data.snapshots import check_readable, pin_for_reading
from sluice.errors import DataError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from sluice.data.snapshots import Snapshot
    from sluice.project.projects import Project

__all__ = [
    "LabelledRows",
    "Part",
    "holdout_digest",
    "pin_holdout",
    "read_frame",
    "read_holdout",
    "read_labelled",
    "split_holdout",
]

Part = Literal["test", "gate"]
"""Which rows of the holdout."""

SNAPSHOT_FOLDER = "snapshots"
_FIRST_USE_FILE = "holdout.json"
_HASH_BYTES = 8
_HASH_RANGE = 1 << (8 * _HASH_BYTES)


def split_holdout(ids: Iterable[object], *, gate_fraction: float) -> npt.NDArray[np.bool_]:
    """Which rows are gate rows.

    A row is one when the first eight bytes of the SHA-256 of its id's text (UTF-8), read as a big-endian number, are
    below ``gate_fraction * 2**64``. The text of a whole number is its decimal digits, whether it is stored as an
    integer or as a float, so that a file format that changes the type moves no row. A larger fraction only ever moves
    rows from test to gate. This rule is part of what a holdout's digest stands for: it never changes.

    Args:
        ids: Ids, any order; shape (rows,).
        gate_fraction: Expected share of gate rows, in (0, 1).

    Returns:
        True for gate rows, shape (rows,).

    Raises:
        ValueError: The fraction is not between 0 and 1, or an id is missing.
    """
    if not 0 < gate_fraction < 1:
        raise ValueError(f"gate_fraction must be between 0 and 1, not {gate_fraction}")
    limit = int(gate_fraction * _HASH_RANGE)
    return np.fromiter((_hash_id(value) < limit for value in ids), dtype=bool)


def pin_holdout(project: Project) -> Snapshot:
    """Pin the holdout and hold its bytes against the digest that is declared, or else the one that was seen first.

    Raises:
        DataError: It is missing or cannot be read.
        IntegrityError: The bytes are others; a changed holdout is a new holdout and has to be declared.
    """
    settings = project.settings.data
    location = project.locate(settings.holdout)
    snapshot = pin_for_reading(location, project.state / SNAPSHOT_FOLDER)
    if settings.holdout_digest is not None:
        _require_digest(snapshot, settings.holdout_digest, "data.holdout_digest of sluice.toml declares")
    else:
        _require_first_digest(snapshot, project.state / _FIRST_USE_FILE)
    return snapshot


def holdout_digest(project: Project) -> str:
    """Digest of the holdout, checked as `pin_holdout` does.

    Raises:
        DataError: It is missing or cannot be read.
        IntegrityError: It is not the holdout that was declared or seen first.
    """
    return pin_holdout(project).digest


def read_holdout(project: Project, *, part: Part) -> LabelledRows:
    """One part of the holdout.

    Args:
        project: The project that declares it.
        part: ``"test"`` for the model layer, reports and plots; ``"gate"`` for the gate alone.

    Raises:
        ConfigurationError: ``data.load`` names no loader.
        DataError: The holdout is missing, unreadable, breaks its contract, or is too small to have rows in that part.
        IntegrityError: It is not the holdout that was declared or seen first.
    """
    pinned = pin_holdout(project)
    check_readable(pinned)
    rows = read_labelled(project, pinned.path, source=pinned.source)
    is_gate = split_holdout(rows.ids, gate_fraction=project.settings.data.gate_fraction)
    picked = rows.take(is_gate if part == "gate" else ~is_gate)
    if len(picked) == 0:
        raise DataError(
            f"the holdout has {len(rows)} rows and none of them is a {part} row",
            hint="Give a larger holdout, or a data.gate_fraction further from 0 and 1.",
        )
    return picked


def _hash_id(value: object) -> int:
    """The first eight bytes of the SHA-256 of an id's text, as a number."""
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            raise ValueError("an id is missing")
        text = str(int(value)) if float(value).is_integer() else str(float(value))
    elif value is None or value is pd.NA or value is pd.NaT:
        raise ValueError("an id is missing")
    else:
        text = str(value)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_HASH_BYTES], "big")


def _require_first_digest(snapshot: Snapshot, record: Path) -> None:
    """Hold an undeclared holdout against the digest that it had when it was first read here; record it the first time.

    Without this, one changed byte would make a new holdout with a fresh budget of questions.
    """
    try:
        seen = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        seen = {}
    except (OSError, ValueError) as error:
        hint = "Remove it; the next read makes it anew."
        raise DataError(f"{record} cannot be read: {describe_error(error)}", hint=hint) from error
    if snapshot.source in seen:
        _require_digest(snapshot, seen[snapshot.source], f"it had when it was first read ({record})")
        return
    with contextlib.suppress(OSError):  # a project that cannot be written remembers nothing; declare the digest there
        draft = record.with_name(f".{record.name}.{os.getpid()}")
        draft.write_text(json.dumps({**seen, snapshot.source: snapshot.digest}, indent=1), encoding="utf-8")
        draft.replace(record)


def _require_digest(snapshot: Snapshot, expected: str, said_by: str) -> None:
    if snapshot.digest != expected:
        rotated = f'data.holdout_digest = "{snapshot.digest}" in sluice.toml'
        raise IntegrityError(
            f"the holdout {snapshot.source} has digest {snapshot.digest}, not the {expected} that {said_by}",
            hint=f"Restore the file, or rotate the holdout on purpose: {rotated}.",
        )
