"""A random sample of rows that is drawn in one pass and in little memory.

A hash of the row's number decides whether a row is in the sample. Therefore the same file always gives the same sample, and an
order or a period of the rows does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sluice.drift.batches import Batch, read_with_texts
from sluice.drift.columns import mix_bits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import numpy.typing as npt

    from sluice.drift.batches import Rows
    from sluice.drift.columns import Kind

MOST_ROWS = 1 << 18
_MOST_CELLS = 1 << 23
_LEAST_ROWS = 1 << 14


@dataclass(frozen=True, slots=True)
class Sample:
    """Sampled rows.

    Attributes:
        total: Number of rows that the sample was drawn from.
        rows: Number of rows in the sample.
        columns: Name → its Arrow arrays, one for each batch.
        faults: Name → why the column cannot be read.
    """

    total: int
    rows: int
    columns: Mapping[str, list[Any]]
    faults: Mapping[str, str]


def find_limit(columns: int) -> int:
    """Return how many rows a sample may have. More than 32 columns have fewer rows, so that the memory stays bounded."""
    return max(_LEAST_ROWS, min(MOST_ROWS, _MOST_CELLS // max(columns, 1)))


def draw_sample(rows: Rows, columns: Collection[str], *, most: int = 0, kinds: Mapping[str, Kind] | None = None) -> Sample:
    """Draw a sample of the rows, or take all of them if there are few.

    Args:
        rows: The rows.
        columns: The columns to read.
        most: Largest number of rows; 0 for `find_limit`. A sample has at least about half of them.
        kinds: What columns of a CSV file should hold, as in `Rows.read`.

    Raises:
        DataError: The rows cannot be read.
    """
    limit = most or find_limit(len(columns))
    return read_with_texts(lambda texts: _draw(rows.read(columns, texts=texts, kinds=kinds), columns, limit))


def _draw(batches: Iterable[Batch], columns: Collection[str], most: int) -> Sample:
    kept: list[tuple[npt.NDArray[np.uint64], Batch]] = []
    total = held = 0
    limit = np.uint64(np.iinfo(np.uint64).max)
    for batch in batches:
        hashes = mix_bits(np.arange(total, total + batch.rows, dtype=np.uint64))
        kept.append(_thin(hashes, batch, limit))
        total, held = total + batch.rows, held + kept[-1][1].rows
        while held > most:
            limit = limit // np.uint64(2)
            kept = [_thin(hashes, batch, limit) for hashes, batch in kept]
            held = sum(batch.rows for _, batch in kept)
    faults = {name: reason for _, batch in kept for name, reason in batch.faults.items()}
    arrays: dict[str, list[Any]] = {name: [] for name in columns if name not in faults}
    for _, batch in kept:
        for name, found in arrays.items():
            if name in batch.columns:
                found.append(batch.columns[name])
    return Sample(total, held, arrays, faults)


def _drop_unused(array: Any) -> Any:  # noqa: ANN401 - pyarrow is untyped
    """Return an array without the dictionary entries that no row has, because a few rows would keep a file's whole dictionary."""
    if not pa.types.is_dictionary(array.type) or len(array.dictionary) <= len(array):
        return array
    return array.dictionary_decode().dictionary_encode()


def _thin(hashes: npt.NDArray[np.uint64], batch: Batch, limit: np.uint64) -> tuple[npt.NDArray[np.uint64], Batch]:
    """Return the rows of a batch whose hash is at most the limit."""
    chosen = hashes <= limit
    if chosen.all():
        return hashes, batch
    places = pa.array(np.flatnonzero(chosen))
    taken = {name: _drop_unused(array.take(places)) for name, array in batch.columns.items()}
    return hashes[chosen], Batch(int(chosen.sum()), taken, batch.faults)
