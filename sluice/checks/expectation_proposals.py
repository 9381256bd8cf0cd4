"""Propose expectations about a snapshot from what is in it. A person reviews them, because data can be wrong from the beginning.

Each proposal comes with its evidence. The bounds leave room for the next snapshot: a proposal that fails at once on new data from
the same source would only teach people to ignore it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sluice.checks.verdict_text import format_number
from sluice.statistics.proportions import clopper_pearson_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sluice.statistics.samples import Floats

MOST_CATEGORIES = 50
"""A text column with more different values is not treated as a category."""

_ROWS_PER_CATEGORY = 20
_MOST_WHOLE_NUMBERS = 100
_LEVEL = 0.999
_DATE = r"^\d{4}-\d{2}-\d{2}$"


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed expectation, or the reason why there is none for a column.

    Attributes:
        kind: Class of ``great_expectations.expectations``; empty if nothing is proposed.
        arguments: Its arguments. Plain numbers, texts, lists and booleans.
        evidence: What was seen in the snapshot.
    """

    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    evidence: str = ""


def propose_expectations(frame: pd.DataFrame, *, label: str, key: str) -> list[Proposal]:
    """Return proposals for the table and for each column, in the order of the columns.

    Args:
        frame: The snapshot, as the project's loader returns it.
        label: The column with the label, 0 or 1.
        key: The column with the unique id.
    """
    rows = len(frame)
    names = [str(name) for name in frame.columns]
    proposals = [
        Proposal(
            "ExpectTableRowCountToBeBetween",
            {"min_value": math.ceil(rows / 2), "max_value": 2 * rows},
            f"there are {rows:,} rows; half and twice as many are allowed",
        ),
        Proposal("ExpectTableColumnsToMatchSet", {"column_set": names, "exact_match": False}, f"there are {len(names)} columns"),
    ]
    for name in dict.fromkeys(frame.columns):
        column = frame[name]
        if isinstance(column, pd.DataFrame) or not isinstance(name, str):
            why = "the name occurs more than once" if isinstance(column, pd.DataFrame) else "the name is not a text"
            proposals.append(Proposal("", evidence=f"{name!r}: nothing is proposed, because {why}"))
        elif name == key:
            proposals += _propose_for_id(column)
        elif name == label:
            proposals += _propose_for_label(column)
        else:
            proposals += [*_propose_for_gaps(column), *_propose_for_values(column)]
    return proposals


def _propose_for_id(column: pd.Series[Any]) -> Iterator[Proposal]:
    missing, repeated = int(column.isna().sum()), int(column.duplicated().sum())
    yield Proposal("ExpectColumnValuesToNotBeNull", {"column": column.name}, f"an id is required; {missing:,} are missing")
    yield Proposal("ExpectColumnValuesToBeUnique", {"column": column.name}, f"an id is unique; {repeated:,} are repeated")


def _propose_for_label(column: pd.Series[Any]) -> Iterator[Proposal]:
    positives, rows = int((column == 1).sum()), int(column.notna().sum())
    yield Proposal("ExpectColumnValuesToNotBeNull", {"column": column.name}, f"{len(column) - rows:,} labels are missing")
    yield Proposal("ExpectColumnValuesToBeInSet", {"column": column.name, "value_set": [0, 1]}, "a label is 0 or 1")
    if 0 < positives < rows:
        interval = clopper_pearson_interval(positives, rows, level=_LEVEL)
        low, high = _round_down(interval.low / 1.5), _round_up(min(interval.high * 1.5, 1.0))
        evidence = f"{positives:,} of {rows:,} labels are 1 ({positives / rows:.1%}); 1.5 times fewer or more are allowed"
        yield Proposal("ExpectColumnMeanToBeBetween", {"column": column.name, "min_value": low, "max_value": high}, evidence)


def _propose_for_gaps(column: pd.Series[Any]) -> Iterator[Proposal]:
    """Propose how many values may be missing: none if none is, or else up to twice as many as the snapshot makes plausible."""
    missing, rows = int(column.isna().sum()), len(column)
    if missing == rows:
        yield Proposal("", evidence=f"{column.name!r}: all values are missing, so nothing is proposed")
    elif not missing:
        yield Proposal("ExpectColumnValuesToNotBeNull", {"column": column.name}, f"none of {rows:,} values is missing")
    else:
        most = min(2 * clopper_pearson_interval(missing, rows, level=_LEVEL).high, 1.0)
        arguments = {"column": column.name, "mostly": _round_down(1 - most)}
        yield Proposal(
            "ExpectColumnValuesToNotBeNull",
            arguments,
            f"{missing:,} of {rows:,} values are missing ({missing / rows:.1%}); twice as many are allowed",
        )


def _propose_for_values(column: pd.Series[Any]) -> Iterator[Proposal]:
    values = column.dropna()
    if values.empty:
        return
    if pd.api.types.is_bool_dtype(values) or values.map(lambda value: isinstance(value, bool | np.bool_)).all():
        true = int(values.astype(bool).sum())
        evidence = f"{true:,} of {len(values):,} values are true"
        yield Proposal("ExpectColumnValuesToBeInSet", {"column": column.name, "value_set": [True, False]}, evidence)
    elif pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_complex_dtype(values):
        yield from _propose_for_numbers(str(column.name), values.to_numpy(dtype=np.float64))
    elif values.map(lambda value: isinstance(value, str)).all():
        yield _propose_for_texts(str(column.name), values)
    else:
        yield Proposal("", evidence=f"{column.name!r}: no rule for values of type {type(values.iloc[0]).__name__}")


def _propose_for_numbers(name: str, values: Floats) -> Iterator[Proposal]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        yield Proposal("", evidence=f"{name!r}: no value is finite")
        return
    if infinite := values.size - finite.size:
        share = f"{infinite:,} of {values.size:,} values are infinite"
        yield Proposal(
            "", evidence=f"{name!r}: {share}, so no bounds are proposed; correct them, or write the expectation yourself"
        )
        return
    low, high = float(finite.min()), float(finite.max())
    different, counts = np.unique(finite, return_counts=True)
    whole = bool(np.all(different == np.round(different)))
    dense = whole and high - low + 1 == different.size <= _MOST_WHOLE_NUMBERS
    if dense and different.size > 1 and counts.min() >= _ROWS_PER_CATEGORY:
        often = f"each at least {counts.min():,} times"
        bounds, evidence = (low, high), f"every whole number from {low:g} to {high:g} occurs, {often}, and no other"
    else:
        span = high - low or abs(high) or 1.0
        bounds = (_round_down(low - span) if low < 0 else 0.0, _round_up(high + span))
        evidence = f"values lie from {format_number(low)} to {format_number(high)}; the same span is allowed beyond"
    shown = [int(bound) if whole else bound for bound in bounds]
    yield Proposal("ExpectColumnValuesToBeBetween", {"column": name, "min_value": shown[0], "max_value": shown[1]}, evidence)
    mean, deviation = float(finite.mean()), float(finite.std())
    if deviation:
        room = 0.5 * deviation + 4 * deviation / math.sqrt(finite.size)
        least, most = _round_down(mean - room), _round_up(mean + room)
        yield Proposal(
            "ExpectColumnMeanToBeBetween",
            {"column": name, "min_value": least, "max_value": most},
            f"the mean is {format_number(mean)}, the standard deviation {format_number(deviation)}; half a deviation and four "
            "standard errors are allowed, rounded outwards",
        )


def _propose_for_texts(name: str, values: pd.Series[Any]) -> Proposal:
    """Propose a format, or the set of values with room for new ones.

    The share of values that a new snapshot has and this one does not is about the share of values that occur once (Good,
    Biometrika 1953). Twice that share may be new.
    """
    counts = values.value_counts()
    if values.str.fullmatch(_DATE[1:-1]).all():
        example = str(values.iloc[0])
        return Proposal("ExpectColumnValuesToMatchRegex", {"column": name, "regex": _DATE}, f"all are dates such as {example!r}")
    if len(counts) > MOST_CATEGORIES or len(values) < _ROWS_PER_CATEGORY * len(counts):
        return Proposal("", evidence=f"{name!r}: {len(counts):,} different texts in {len(values):,} values are no categories")
    once = int((counts == 1).sum())
    mostly = {"mostly": _round_down(1 - 2 * once / len(values))} if once else {}
    rarest = f"the rarest is {counts.index[-1]!r} with {counts.iloc[-1]:,} rows"
    evidence = f"{len(counts)} values; {rarest}" + (f"; {once} occur once, so twice as many may be new" if once else "")
    arguments = {"column": name, "value_set": sorted(map(str, counts.index)), **mostly}
    return Proposal("ExpectColumnValuesToBeInSet", arguments, evidence)


def _round_down(value: float) -> float:
    """Round down to two significant digits, or to four below and near 1, where shares need them."""
    return _round(value, math.floor)


def _round_up(value: float) -> float:
    """Round up, as `_round_down` rounds down."""
    return _round(value, math.ceil)


def _round(value: float, direction: Callable[[float], int]) -> float:
    if value == 0:
        return 0.0
    digits = 3 if abs(value) <= 1 else 1 - math.floor(math.log10(abs(value)))
    return round(direction(value * 10.0**digits) / 10.0**digits, max(digits, 0))
