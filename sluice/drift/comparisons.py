"""The result of a comparison with the reference: drifted, steady or inconclusive.

What cannot be decided is never steady. That is so with few rows, for an index above its limit that may be chance, and for a
column that should be compared and cannot be.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sluice.drift.batches import FrameRows
from sluice.drift.columns import Kind
from sluice.drift.profiles import ABSENT, count_rows
from sluice.drift.references import freeze_reference
from sluice.drift.spellings import find_spellings
from sluice.errors import DataError
from sluice.statistics.psi import FeatureDrift, PsiEstimate, compare_counts, compare_features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from sluice.drift.profiles import DriftProfile
    from sluice.drift.references import DriftReference
    from sluice.project.tables.drift import DriftTable

_LEAST_BINS = 20
"""With fewer bins, other rows could have the same counts by chance."""

SHOWN = 3


class DriftOutcome(StrEnum):
    """The three outcomes of a comparison."""

    DRIFTED = "drifted"
    STEADY = "steady"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRule:
    """When a column has drifted.

    Attributes:
        threshold: The index must be above this.
        alpha: The p-value, adjusted over all columns, must be below this.
        least_rows: With fewer rows in the reference or in the present data, the result is inconclusive.
    """

    threshold: float
    alpha: float
    least_rows: int


def read_drift_rule(table: DriftTable) -> DriftRule:
    """Return the rule of the table ``[drift]`` of sluice.toml."""
    return DriftRule(threshold=table.threshold, alpha=table.alpha, least_rows=table.least_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult:
    """The result of comparing data with a reference.

    Attributes:
        features: Column → its result, in the order of the reference's columns.
        not_compared: Columns that should be compared and cannot be, with the reason.
        left_out: Columns that are left out on purpose, with the reason.
        in_part: Columns among the features whose values are compared only in part, with the reason.
        hints: Column → what a person should know about it.
        reference_rows: Rows of the reference.
        rows: Rows of the present data.
        least_rows: The rows that both need.
        undecided: Why nothing was compared at all; empty if something was.
    """

    features: dict[str, FeatureDrift]
    not_compared: dict[str, str]
    left_out: dict[str, str]
    hints: dict[str, list[str]]
    reference_rows: int
    rows: int
    least_rows: int
    in_part: dict[str, str] = dataclasses.field(default_factory=dict)
    undecided: str = ""

    @property
    def drifted(self) -> list[str]:
        """The columns that have drifted, the one with the largest index first."""
        names = [name for name, feature in self.features.items() if feature.drifted]
        return sorted(names, key=lambda name: -self.features[name].estimate.psi)

    @property
    def outcome(self) -> DriftOutcome:
        """The outcome of the whole comparison."""
        if self.drifted:
            return DriftOutcome.DRIFTED
        decided = self.features and all(feature.conclusive for feature in self.features.values())
        return DriftOutcome.STEADY if decided and not self.not_compared and not self.undecided else DriftOutcome.INCONCLUSIVE

    @property
    def detail(self) -> str:
        """The result in one clause, for people."""
        in_part = self.in_part if self.outcome is DriftOutcome.STEADY else {}  # there, the result claims less of these columns
        parts = (
            self._describe_features(),
            _describe("not compared", self.not_compared),
            _describe("compared only in part", in_part),
        )
        return self.undecided or "; ".join(part for part in parts if part)

    def _describe_features(self) -> str:
        if self.drifted:
            largest = [f"{name} (PSI {self.features[name].estimate.psi:.2f})" for name in self.drifted]
            return f"drifted: {_shorten(largest)}"
        if min(self.rows, self.reference_rows) < self.least_rows:
            what, rows = min(("present data", self.rows), ("reference", self.reference_rows), key=lambda item: item[1])
            found = f"the {what} has {rows:,}, and {self.least_rows:,} are needed"
            return f"too few rows to decide whether a feature has drifted: {found}"
        unsure = [
            f"{name} (PSI {feature.estimate.psi:.2f}, adjusted p {feature.adjusted_p:.2g})"
            for name, feature in self.features.items()
            if not feature.conclusive
        ]
        if unsure:
            return f"not enough rows to decide whether this is drift or chance: {_shorten(unsure)}"
        return f"none of {len(self.features)} features has drifted"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return {
            "outcome": self.outcome.value,
            "drifted": self.drifted,
            "detail": self.detail,
            "reference_rows": self.reference_rows,
            "rows": self.rows,
            "features": {name: dataclasses.asdict(feature) for name, feature in self.features.items()},
            "not_compared": self.not_compared,
            "left_out": self.left_out,
            "in_part": self.in_part,
            "hints": self.hints,
        }


def compare_profile(
    reference: DriftReference, profile: DriftProfile, rule: DriftRule, *, extra: Mapping[str, PsiEstimate] | None = None
) -> DriftResult:
    """Compare the counts of the present data with the reference.

    Args:
        reference: The frozen reference.
        profile: The present data, counted in the reference's bins.
        rule: When a column has drifted.
        extra: Further quantities that are judged together with the columns, for example the champion's scores.

    Raises:
        DataError: The present data has no rows, no column can be compared, or the profile was counted in the bins of another
            reference.
    """
    if profile.reference != reference.digest:
        raise DataError("the profile was counted in the bins of another reference", hint="Count the present data again.")
    if not profile.rows:
        raise DataError(
            f"{profile.source or 'the present data'} has no rows",
            hint="Check the source of the file. An empty export has usually failed.",
        )
    estimates = {
        name: compare_counts(column.bins, profile.counts[name], new=[*profile.new.get(name, {}).values()])
        for name, column in reference.columns.items()
        if name in profile.counts
    }
    if not estimates and reference.columns and all(fault == ABSENT for fault in profile.faults.values()):
        raise DataError(
            f"{profile.source or 'the present data'} has no column of the reference; its columns are {_shorten(profile.unknown)}",
            hint="Check the header and the separator (a comma) of the file, or name a function that reads it in drift.load.",
        )
    not_compared = {**reference.refused, **profile.faults}
    in_part = {name: column.limit for name, column in reference.columns.items() if column.limit and name in estimates}
    if estimates.keys() <= in_part.keys():
        reasons = _shorten([f"{name}: {reason}" for name, reason in {**not_compared, **in_part, **reference.left_out}.items()])
        raise DataError(f"no column can be compared fully: {reasons}", hint="Name the columns to compare in drift.columns.")
    same = _find_same_rows(reference, profile)
    estimates |= extra or {}
    features = compare_features(estimates, threshold=rule.threshold, alpha=rule.alpha, least_rows=rule.least_rows)
    unknown = dict.fromkeys(profile.unknown, "the reference has no such column")
    return DriftResult(
        features=features,
        not_compared=not_compared,
        left_out={**reference.left_out, **unknown},
        in_part=in_part,
        hints=_find_hints(reference, profile),
        reference_rows=min(estimate.reference_rows for estimate in estimates.values()),
        rows=min(estimate.rows for estimate in estimates.values()),
        least_rows=rule.least_rows,
        undecided=same,
    )


def _find_same_rows(reference: DriftReference, profile: DriftProfile) -> str:
    """Say that both seem to be the same rows, if every bin of every column has exactly as many; empty if one has not.

    Other rows of the same source practically never have equal counts in so many bins.
    """
    pairs = [(column.bins.counts, profile.counts[name]) for name, column in reference.columns.items() if name in profile.counts]
    bins = sum(sum(count > 0 for count in counts) for counts, _ in pairs)
    is_whole = all(sum(counts) == reference.rows == profile.rows for counts, _ in pairs)
    if bins < _LEAST_BINS or not is_whole or any(tuple(before) != tuple(now) for before, now in pairs):
        return ""
    return (
        f"the present data seem to be the rows of the reference in another file: both have {profile.rows:,} rows, and equally "
        f"many in each of {bins} bins, so a comparison says nothing"
    )


def compare_frames(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    columns: Sequence[str] = (),
    left_out: Mapping[str, str] | None = None,
    rule: DriftRule,
) -> DriftResult:
    """Compare two frames, column by column.

    Args:
        reference: The features at training.
        current: The features now.
        columns: The columns to compare. If empty, all are compared, as `freeze_reference` says.
        left_out: Name → reason, for columns to leave out.
        rule: When a column has drifted.

    Raises:
        DataError: A frame has no rows, a named column does not exist in the reference, or no column can be compared.
    """
    frozen = freeze_reference(FrameRows(lambda: [reference], "the reference"), columns=columns, left_out=left_out)
    return compare_profile(frozen, count_rows(frozen, FrameRows(lambda: [current], "the present data")), rule)


def _find_hints(reference: DriftReference, profile: DriftProfile) -> dict[str, list[str]]:
    hints = {}
    for name, column in reference.columns.items():
        if column.kind is Kind.CATEGORY and name in profile.new:
            found = find_spellings(column.bins.categories or {}, profile.new[name])
            if found:
                hints[name] = found
    return hints


def _describe(what: str, reasons: Mapping[str, str]) -> str:
    return f"{what}: {_shorten([f'{name} ({reason})' for name, reason in reasons.items()])}" if reasons else ""


def _shorten(parts: Sequence[str]) -> str:
    more = len(parts) - SHOWN
    return ", ".join(parts[:SHOWN]) + (f" and {more} more" if more > 0 else "")
