"""The frozen reference: the bins of each column and the rows in them at training. It can be saved as JSON.

Up to 262,144 rows the bins and their counts are exact. Of a larger file, a random sample of 131,072 to 262,144 rows is the
reference. The index then differs from that of all rows by about 1 / 131,072 for each bin, which is far below every limit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sluice.drift.batches import TWICE
from sluice.drift.columns import (
    GROUPS,
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
from sluice.drift.samples import draw_sample
from sluice.errors import DataError
from sluice.statistics.psi import PsiReference, build_numeric_reference, count_numbers, freeze_categories

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.drift.batches import Rows

VERSION = 2
"""Version of the saved form. A reader refuses another one."""

MAX_CATEGORIES = 1000
"""A text column with more distinct values than this is not a category (for example a name). Its values always change, and are
compared in groups."""

_UNIQUE_SHARE = 0.5  # If more values are different than this, most rows have a value of their own, as an id has.
_FORMAT = "sluice-drift-reference"
_A_TIME = "only its missing values, because times always move; drift.columns can name it"


@dataclass(frozen=True, slots=True)
class ReferenceColumn:
    """One column at training.

    Attributes:
        kind: What it holds. An empty column has one bin for any value and one for missing values.
        bins: Its bins and the rows in them.
        limit: Why its values are compared only in part; empty if they are compared fully. Of a time, only the share of missing
            values is compared, and a text with too many different values is compared in groups.
    """

    kind: Kind
    bins: PsiReference
    limit: str = ""

    @property
    def in_groups(self) -> bool:
        """Whether the bins are groups of texts."""
        return self.kind is Kind.CATEGORY and self.bins.categories is None

    @property
    def only_missing(self) -> bool:
        """Whether there are only two bins: any value, and no value."""
        return self.bins.edges == ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReference:
    """All columns at training.

    Attributes:
        columns: Name → column, for all columns that can be compared.
        left_out: Name → reason, for columns that are left out on purpose. They do not matter for the result.
        refused: Name → reason, for columns that should be compared and cannot be.
        rows: Number of rows of the file.
        source: The file, for people.
    """

    columns: Mapping[str, ReferenceColumn]
    left_out: Mapping[str, str]
    refused: Mapping[str, str]
    rows: int
    source: str = ""

    @property
    def digest(self) -> str:
        """The digest of the bins. Counts that were made with other bins cannot be used with this reference."""
        bins = {name: [column.kind, column.bins.to_dict()] for name, column in self.columns.items()}
        return f"sha256:{hashlib.sha256(json.dumps(bins, sort_keys=True).encode()).hexdigest()}"

    def to_dict(self) -> dict[str, Any]:
        """Return the reference as plain JSON types. `from_dict` reads them."""
        return {
            "format": _FORMAT,
            "version": VERSION,
            "source": self.source,
            "rows": self.rows,
            "columns": {
                name: {"kind": column.kind.value, "limit": column.limit, **column.bins.to_dict()}
                for name, column in self.columns.items()
            },
            "left_out": dict(self.left_out),
            "refused": dict(self.refused),
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
                columns={
                    name: ReferenceColumn(Kind(column["kind"]), PsiReference.from_dict(column), column.get("limit", ""))
                    for name, column in values["columns"].items()
                },
                left_out=dict(values["left_out"]),
                refused=dict(values["refused"]),
                rows=int(values["rows"]),
                source=str(values["source"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"the saved reference is damaged: {error}", hint="Freeze the reference again.") from error


def check_format(values: Mapping[str, Any], wanted: str) -> None:
    """Refuse a document that is something else, or that another version wrote.

    Raises:
        DataError: It is.
    """
    found = (values.get("format"), values.get("version"))
    if found != (wanted, VERSION):
        raise DataError(
            f"the document is {found[0]!r} of version {found[1]!r}, not {wanted!r} of version {VERSION}",
            hint="Make it again with this version of Sluice.",
        )


def freeze_reference(rows: Rows, *, columns: Sequence[str] = (), left_out: Mapping[str, str] | None = None) -> DriftReference:
    """Freeze the bins of a snapshot.

    Args:
        rows: The rows of the snapshot.
        columns: The columns to compare. If empty, all are compared, those of `ReferenceColumn.limit` in part.
        left_out: Name → reason, for columns to leave out.

    Raises:
        DataError: The rows cannot be read, there are none, or a named column does not exist.
    """
    _require_columns(rows, columns)
    found: dict[str, ReferenceColumn | _Excluded] = {
        name: _Excluded(reason, on_purpose=True)
        for name, reason in (left_out or {}).items()
        if name not in columns and (name in rows.types or name in rows.twice)
    }
    for name in columns or (*rows.types, *sorted(rows.twice)):
        excluded = _exclude_by_type(rows, name)
        if excluded and name not in found:
            found[name] = excluded
    candidates = [name for name in columns or rows.types if name not in found]
    sample = draw_sample(rows, candidates)
    if not sample.rows:
        hint = "Check the source of the file. An empty export has usually failed."
        raise DataError(f"{rows.source or 'the reference'} has no rows", hint=hint)
    for name in candidates:
        if name in sample.faults:
            found[name] = _Excluded(sample.faults[name], on_purpose=False)
        else:
            try:
                found[name] = _freeze_column(sample.columns[name], named=bool(columns))
            except UnicodeDecodeError:
                found[name] = _Excluded(NOT_UTF8, on_purpose=False)
    excluded_by_name = {name: result for name, result in found.items() if isinstance(result, _Excluded)}
    return DriftReference(
        columns={name: result for name, result in found.items() if isinstance(result, ReferenceColumn)},
        left_out={name: result.reason for name, result in excluded_by_name.items() if result.on_purpose},
        refused={name: result.reason for name, result in excluded_by_name.items() if not result.on_purpose},
        rows=sample.total,
        source=rows.source,
    )


@dataclass(frozen=True, slots=True)
class _Excluded:
    """Why a column is not compared, and whether that is on purpose."""

    reason: str
    on_purpose: bool


def _require_columns(rows: Rows, columns: Sequence[str]) -> None:
    unknown = [name for name in columns if name not in rows.types and name not in rows.twice]
    if unknown:
        raise DataError(
            f"{rows.source or 'the reference'} has no column {unknown[0]!r}, which drift.columns names",
            hint=f"Correct drift.columns. The columns are: {', '.join(sorted(rows.types))}.",
        )


def _exclude_by_type(rows: Rows, name: str) -> _Excluded | None:
    """Return why the column's type excludes it; None if its values must be read."""
    if name in rows.twice:
        return _Excluded(TWICE, on_purpose=False)
    kind = classify_type(rows.types[name])
    if kind is Kind.UNSUPPORTED:
        return _Excluded(describe_unsupported(rows.types[name]), on_purpose=False)
    return None


def _freeze_column(arrays: Sequence[Any], *, named: bool) -> ReferenceColumn | _Excluded:
    """Return the frozen column, or why it is not compared."""
    kinds = {find_kind(array) for array in arrays} - {Kind.EMPTY}
    if not kinds:
        return ReferenceColumn(Kind.EMPTY, _freeze_missing(arrays))
    if len(kinds) > 1:
        return _Excluded(f"it holds {' and '.join(sorted(kind.plural for kind in kinds))}", on_purpose=False)
    kind = kinds.pop()
    if kind is Kind.UNSUPPORTED:
        wrong = next(array.type for array in arrays if classify_type(array.type) is kind)
        return _Excluded(describe_unsupported(wrong), on_purpose=False)
    if kind is Kind.CATEGORY:
        return _freeze_texts(arrays, named=named)
    if kind is Kind.TIME and not named:
        return ReferenceColumn(kind, _freeze_missing(arrays), _A_TIME)
    return ReferenceColumn(kind, build_numeric_reference(np.concatenate([read_numbers(array) for array in arrays])))


def _freeze_texts(arrays: Sequence[Any], *, named: bool) -> ReferenceColumn:
    counted: Counter[str | None] = Counter()
    for array in arrays:
        counted += Counter({None: len(array)}) if find_kind(array) is Kind.EMPTY else count_texts(array)
    names = [name for name in counted if name is not None]
    rows = sum(counted.values()) - counted[None]
    if not named:
        if are_times(names):
            return ReferenceColumn(Kind.TIME, _freeze_missing(arrays), _A_TIME)
        if len(names) > MAX_CATEGORIES or len(names) > _UNIQUE_SHARE * rows > 1:
            return ReferenceColumn(
                Kind.CATEGORY, _freeze_groups(arrays), f"in {GROUPS} groups, because it has {len(names):,} different values"
            )
    return ReferenceColumn(Kind.CATEGORY, freeze_categories(counted, max_categories=MAX_CATEGORIES))


def _freeze_missing(arrays: Sequence[Any]) -> PsiReference:
    """Return one bin for any value, and one for missing values."""
    missing = sum(map(count_missing, arrays))
    return PsiReference(edges=(), categories=None, counts=(sum(map(len, arrays)) - missing, missing))


def _freeze_groups(arrays: Sequence[Any]) -> PsiReference:
    """Return one bin for each group of texts, and one for missing values."""
    frozen = PsiReference(edges=tuple(map(float, range(GROUPS - 1))), categories=None, counts=())
    read = [np.full(len(array), np.nan) if find_kind(array) is Kind.EMPTY else read_groups(array) for array in arrays]
    return dataclasses.replace(frozen, counts=count_numbers(frozen, np.concatenate(read)))
