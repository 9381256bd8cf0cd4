"""The set of labelled rows that a holdout consists of, whatever file it is stored in.

A holdout's file can be written again with another compression, under another name or in another order. Its rows stay the same,
and what the gate's answers revealed about them stays revealed. Therefore the gate counts its questions by the set of rows.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable

SKETCH_ROWS = 512
"""The number of hashes in a sketch. Two sets of equal size that share 5 % of their rows share about 25 of these hashes."""

_PREFIX = "sha256:"
_HALF = 8  # bytes; the split of the holdout uses the first half of an id's hash, so the sketch must use the second one


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSet:
    """A set of labelled rows.

    Attributes:
        digest: The SHA-256 of the sorted pairs of id and label, ``sha256:…``. It does not depend on the file's bytes, on the
            order of the rows, or on the share of gate rows.
        rows: The number of rows.
        positives: The number of rows with label 1.
        sketch: The smallest hashes of the ids, sorted, at most 512 (a bottom-k sketch; Cohen and Kaplan, 2007). If there are
            fewer, the set has no other rows.
    """

    digest: str
    rows: int
    positives: int
    sketch: tuple[int, ...]


def write_id(value: object) -> str:
    """Return an id as text. A whole number gives its decimal digits, whether it is stored as an integer or as a float.

    Raises:
        ValueError: The id is missing or not finite.
    """
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            raise ValueError("an id is missing")
        return str(int(value)) if float(value).is_integer() else str(float(value))
    if value is None or value is pd.NA or value is pd.NaT:
        raise ValueError("an id is missing")
    return str(value)


def hash_id(value: object, *, prefix: bytes = b"") -> bytes:
    """Return the SHA-256 of an id's text (UTF-8), 32 bytes.

    Args:
        value: The id.
        prefix: Bytes before the text. Another prefix gives a hash that is independent of this one.

    Raises:
        ValueError: The id is missing.
    """
    return hashlib.sha256(prefix + write_id(value).encode("utf-8", "surrogatepass")).digest()


def describe_row_set(ids: Iterable[object], labels: Iterable[object]) -> RowSet:
    """Describe the rows of a whole holdout, before it is split into test rows and gate rows.

    Args:
        ids: The rows' ids in any order, shape (rows,). No id occurs twice.
        labels: Their labels, 0 or 1, shape (rows,).

    Raises:
        ValueError: The numbers of ids and labels differ, or an id is missing.
    """
    pairs = sorted((hash_id(value), int(bool(label))) for value, label in zip(ids, labels, strict=True))
    digest = hashlib.sha256()
    for hashed, label in pairs:
        digest.update(hashed + bytes([label]))
    sketch = heapq.nsmallest(SKETCH_ROWS, (int.from_bytes(hashed[_HALF : 2 * _HALF], "big") for hashed, _ in pairs))
    positives = sum(label for _, label in pairs)
    return RowSet(digest=_PREFIX + digest.hexdigest(), rows=len(pairs), positives=positives, sketch=tuple(sketch))


def estimate_overlap(a: RowSet, b: RowSet) -> float:
    """Estimate which share of the smaller set's rows are also in the other one, by id.

    Two sets without a common row give 0. Up to 512 rows each, the share is exact. Otherwise it comes from the ids with the
    smallest hashes of both sets, and it is uncertain if one set is more than about twenty times as large as the other.

    Returns:
        A number in [0, 1].
    """
    if not a.rows or not b.rows:
        return 0.0
    # Below this limit, both sketches contain every row of their set.
    limit = min((one.sketch[-1] for one in (a, b) if one.rows > len(one.sketch)), default=math.inf)
    small, large = sorted((a, b), key=lambda one: one.rows)
    of_small = {hashed for hashed in small.sketch if hashed <= limit}
    of_large = {hashed for hashed in large.sketch if hashed <= limit}
    if not of_small:
        return 0.0
    return len(of_small & of_large) / len(of_small)
