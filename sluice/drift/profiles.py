"""The present data as counts: for each column the rows in each frozen bin. Counts can be added up and saved as JSON.

The memory does not depend on the number of rows. A monitor can count each hour's requests, merge the hours, and compare the sum.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from sluice.drift.batches import TWICE, read_with_texts
from sluice.drift.columns import (
    NOT_UTF8,
    Kind,
    are_times,
    classify_type,
    count_missing,
    count_texts,
    describe_unsupported,
    find_kind,
    read_groups,
    read_numbers,
)
from sluice.drift.references import VERSION, check_format
from sluice.errors import DataError
from sluice.statistics.psi import count_categories, count_numbers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sluice.drift.batches import Batch, Rows
    from sluice.drift.references import DriftReference, ReferenceColumn
    from sluice.statistics.psi import PsiReference

ABSENT = "the present data has no such column"

MOST_NEW_CATEGORIES = 1000
"""New categories are counted one by one up to this number for each column, for the hints. Their sum is always exact."""

_FORMAT = "sluice-drift-profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftProfile:
    """The rows of some data in each bin of a reference.

    Attributes:
        reference: The digest of the reference's bins.
        rows: Number of rows.
        counts: Name → rows per bin.
        new: Name → category that the reference does not have → its rows.
        faults: Name → why the column cannot be compared.
        unknown: Columns that the reference does not have.
        source: The file, for people.
    """

    reference: str
    rows: int = 0
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    new: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    source: str = ""

    def merge(self, other: DriftProfile) -> DriftProfile:
        """Return the counts of the rows of both. A column that cannot be compared in one of them cannot be compared in both.

        Raises:
            ValueError: They were counted in the bins of different references.
        """
        if self.reference != other.reference:
            raise ValueError("the profiles were counted in the bins of different references")
        if not self.rows or not other.rows:
            return self if self.rows else other
        faults = {**other.faults, **self.faults}
        names = [name for name in self.counts if name in other.counts and name not in faults]
        new = {name: _bound(Counter(self.new.get(name, {})) + Counter(other.new.get(name, {}))) for name in names}
        return DriftProfile(
            reference=self.reference,
            rows=self.rows + other.rows,
            counts={name: add_counts(self.counts[name], other.counts[name]) for name in names},
            new={name: found for name, found in new.items() if found},
            faults=faults,
            unknown=tuple(dict.fromkeys((*self.unknown, *other.unknown))),
            source=self.source or other.source,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as plain JSON types. `from_dict` reads them."""
        return {
            "format": _FORMAT,
            "version": VERSION,
            "reference": self.reference,
            "source": self.source,
            "rows": self.rows,
            "counts": {name: list(counts) for name, counts in self.counts.items()},
            "new": {name: dict(found) for name, found in self.new.items()},
            "faults": dict(self.faults),
            "unknown": list(self.unknown),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            DataError: It is something else, another version, or damaged.
        """
        check_format(values, _FORMAT)
        try:
            return cls(
                reference=str(values["reference"]),
                rows=int(values["rows"]),
                counts={name: tuple(map(int, counts)) for name, counts in values["counts"].items()},
                new={name: dict(found) for name, found in values["new"].items()},
                faults=dict(values["faults"]),
                unknown=tuple(values["unknown"]),
                source=str(values["source"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"the saved profile is damaged: {error}", hint="Count the data again.") from error


def count_rows(reference: DriftReference, rows: Rows) -> DriftProfile:
    """Count the rows of the present data in the bins of the reference, batch by batch.

    Args:
        reference: The frozen reference.
        rows: The present rows. Only the columns of the reference are read.

    Raises:
        DataError: The rows cannot be read.
    """
    return read_with_texts(lambda texts: _count(reference, rows, texts))


def _count(reference: DriftReference, rows: Rows, texts: Collection[str]) -> DriftProfile:
    faults = {name: TWICE for name in rows.twice if name in reference.columns}
    faults |= {name: ABSENT for name in reference.columns if name not in rows.types and name not in faults}
    columns = {name: column for name, column in reference.columns.items() if name not in faults}
    tallies = {name: _Tally(column) for name, column in columns.items()}
    total = 0
    for batch in rows.read(tallies, texts=texts, kinds={name: column.kind for name, column in columns.items()}):
        total += batch.rows
        for name, fault in _add_batch(tallies, batch):
            faults[name] = fault
            del tallies[name]
    known = {*reference.columns, *reference.left_out, *reference.refused}
    return DriftProfile(
        reference=reference.digest,
        rows=total,
        counts={name: tally.counts for name, tally in tallies.items()},
        new={name: dict(tally.new) for name, tally in tallies.items() if tally.new},
        faults=faults,
        unknown=tuple(name for name in rows.types if name not in known),
        source=rows.source,
    )


def _add_batch(tallies: Mapping[str, _Tally], batch: Batch) -> list[tuple[str, str]]:
    """Count a batch, and return the columns that cannot be compared, with the reasons."""
    faults = []
    for name, tally in tallies.items():
        if name in batch.columns:
            try:
                fault = tally.add(batch.columns[name])
            except UnicodeDecodeError:
                fault = NOT_UTF8
        else:
            fault = batch.faults.get(name, "some of the present data has no such column")
        if fault:
            faults.append((name, fault))
    return faults


class _Tally:
    """The counts of one column so far."""

    def __init__(self, column: ReferenceColumn) -> None:
        self.column, self.kind, self.bins = column, column.kind, column.bins
        self.counts: tuple[int, ...] = (0,) * len(column.bins.counts)
        self.new: Counter[str] = Counter()

    def add(self, array: Any) -> str:  # noqa: ANN401 - pyarrow is untyped
        """Count an Arrow array, and return why it cannot be compared; empty if it can."""
        if self.kind is Kind.EMPTY or (self.column.only_missing and _holds_times(array)):
            missing = count_missing(array)
            self.counts = add_counts(self.counts, (len(array) - missing, missing))
        elif classify_type(array.type) is not self.kind:
            found = find_kind(array)
            if found is Kind.UNSUPPORTED:
                return describe_unsupported(array.type)
            if found is not Kind.EMPTY:
                return f"it holds {found.plural}, and the reference holds {self.kind.plural}"
            self.counts = add_counts(self.counts, (*(0 for _ in self.counts[1:]), len(array)))
        elif self.column.in_groups:
            self.counts = add_counts(self.counts, count_numbers(self.bins, read_groups(array)))
        elif self.kind is Kind.CATEGORY:
            self._add_texts(count_texts(array))
        else:
            self.counts = add_counts(self.counts, _count_array(self.bins, array))
        return ""

    def _add_texts(self, counted: Counter[str | None]) -> None:
        self.counts = add_counts(self.counts, count_categories(self.bins, counted))
        known = self.bins.categories or {}
        found = {name: rows for name, rows in counted.items() if name is not None and name not in known}
        if found:
            self.new = Counter(_bound(self.new + Counter(found)))


def _holds_times(array: Any) -> bool:  # noqa: ANN401 - pyarrow is untyped
    """Return whether an array holds dates or times, which a file may also have as text."""
    kind = classify_type(array.type)
    return kind is Kind.TIME or (kind is Kind.CATEGORY and are_times(name for name in count_texts(array) if name is not None))


def _count_array(bins: PsiReference, array: Any) -> Iterable[int]:  # noqa: ANN401 - pyarrow is untyped
    """Count numbers. Of booleans it suffices to know how many are true."""
    if not pa.types.is_boolean(array.type):
        return count_numbers(bins, read_numbers(array))
    sides = (array.false_count, array.true_count, array.null_count)
    values = read_numbers(pa.array([False, True, None]))
    one_each = [count_numbers(bins, values[place : place + 1]) for place in range(3)]
    return [sum(rows * counts[place] for rows, counts in zip(sides, one_each, strict=True)) for place in range(len(bins.counts))]


def add_counts(first: Iterable[int], second: Iterable[int]) -> tuple[int, ...]:
    """Return the sums of the rows per bin."""
    return tuple(one + other for one, other in zip(first, second, strict=True))


def _bound(found: Counter[str]) -> dict[str, int]:
    """Return the most frequent new categories, so that a column of ids cannot fill the memory."""
    return dict(found.most_common(MOST_NEW_CATEGORIES)) if len(found) > MOST_NEW_CATEGORIES else dict(found)
