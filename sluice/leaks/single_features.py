"""Find single features that separate the classes almost perfectly. In real data, such a feature usually contains the outcome.

Each feature alone is turned into scores: the share of positives among the training rows with the same value (or in the same bin
of values, or with a missing value), and for a number or a time also the value itself. A text that is written as a number or as
a time in ISO 8601 counts as one. The AUC of each score is estimated on the training rows and on the holdout's test rows. A text
that is different in every row separates the training rows perfectly and the test rows not at all, so both must be high.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sluice.run_warnings import RunWarning
from sluice.statistics.auc import AucEstimate, estimate_auc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from sluice.data.labelled_rows import LabelledRows

LEAST_AUC = 0.99
"""A feature is named if its AUC is at least this, on the training rows and on the test rows."""

LEAST_LOWER_END = 0.95
"""The lower end of the 95 % interval on the test rows must be at least this, so that a few rows give no warning."""

MAX_TRAINING_ROWS = 100_000
"""Of more training rows, this many are used, evenly spread."""

_BINS = 64
_READABLE = 0.9  # of the values that are present; the others then count as missing


@dataclass(frozen=True, slots=True)
class SeparatingFeature:
    """A feature that separates the classes almost perfectly.

    Attributes:
        name: The feature.
        training: Its AUC on the training rows.
        test: Its AUC on the test rows.
    """

    name: str
    training: AucEstimate
    test: AucEstimate

    def warn(self) -> RunWarning:
        """Return the warning about this feature."""
        interval = self.test.interval
        return RunWarning(
            kind="leaking-feature",
            text=(
                f"the feature {self.name!r} alone separates the classes almost perfectly: its AUC is {self.training.auc:.3f} "
                "on the "
                f"training data and {self.test.auc:.3f} on the holdout's test rows (95 % interval {interval.low:.3f} to "
                f"{interval.high:.3f})"
            ),
            hint=(
                f"Check that {self.name!r} is known before the outcome, at the time of a prediction. If it is not, remove it "
                "from "
                "the features."
            ),
        )


def find_separating_features(training: LabelledRows, test: LabelledRows) -> list[SeparatingFeature]:
    """Return the features that separate the classes almost perfectly on both sides, the strongest first.

    Args:
        training: The rows that the model is trained on.
        test: The holdout's test rows.
    """
    if min(len(np.unique(training.labels)), len(np.unique(test.labels))) < 2:  # noqa: PLR2004 - both classes
        return []
    sample = training.pick_evenly(MAX_TRAINING_ROWS)
    found = []
    for name in sample.features.columns:
        if name in test.features.columns:
            estimates = [
                SeparatingFeature(str(name), estimate_auc(sample.labels, ours), estimate_auc(test.labels, theirs))
                for ours, theirs in _make_scores(sample.features[name], sample.labels, test.features[name])
            ]
            best = max(estimates, key=lambda one: min(one.training.auc, one.test.auc))
            if _separates(best):
                found.append(best)
    return sorted(found, key=lambda one: -one.test.auc)


def _separates(feature: SeparatingFeature) -> bool:
    return min(feature.training.auc, feature.test.auc) >= LEAST_AUC and feature.test.interval.low >= LEAST_LOWER_END


def _make_scores(
    training: pd.Series[Any], labels: npt.NDArray[np.int8], test: pd.Series[Any]
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Yield pairs of scores of the training rows and of the test rows. A higher score means more likely positive."""
    numbers = [_read_numbers(column) for column in (training, test)]
    if numbers[0] is not None and numbers[1] is not None:
        ours, theirs = numbers[0], numbers[1]
        edges = np.unique(np.nanquantile(ours, np.linspace(0, 1, _BINS + 1)[1:-1])) if not np.isnan(ours).all() else np.empty(0)
        codes = [np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, "right")) for values in (ours, theirs)]
        yield _average_labels(codes[0], labels, codes[1], len(edges) + 2)
        middle = 0.0 if np.isnan(ours).all() else float(np.nanmedian(ours))
        filled = [np.nan_to_num(values, nan=middle) for values in (ours, theirs)]
        rising = float(np.mean(filled[0][labels == 1] - middle)) >= float(np.mean(filled[0][labels == 0] - middle))
        yield (filled[0], filled[1]) if rising else (-filled[0], -filled[1])
    if all(pd.api.types.is_numeric_dtype(column.dtype) for column in (training, test)):
        return
    # As text, so that a list or a category is compared too, and so that both sides need not have one type.
    texts = [column.astype(object).where(column.notna(), "").map(str) for column in (training, test)]
    codes_of_training, values = pd.factorize(texts[0])
    codes_of_test = pd.Index(values).get_indexer(pd.Index(texts[1]))
    yield _average_labels(codes_of_training, labels, codes_of_test, len(values) + 1)


def _read_numbers(column: pd.Series[Any]) -> npt.NDArray[np.float64] | None:
    """Return the values of a column as numbers, times in microseconds; None if they are neither numbers nor times."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        return np.asarray(column.dt.total_seconds(), dtype=np.float64)
    texts = column.astype(object).where(column.notna(), None).map(str, na_action="ignore")
    least = _READABLE * int(column.notna().sum())
    numbers = pd.to_numeric(texts, errors="coerce")
    if numbers.notna().sum() >= least:
        return np.asarray(numbers, dtype=np.float64)
    times = pd.DatetimeIndex(pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True))
    missing = np.asarray(times.isna())
    if (~missing).sum() < least:
        return None
    moments = times.as_unit("us").asi8.astype(np.float64)
    moments[missing] = np.nan
    return moments


def _average_labels(
    codes: npt.NDArray[Any], labels: npt.NDArray[np.int8], test_codes: npt.NDArray[Any], size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the smoothed share of positives of each row's code. A code without training rows has the overall share."""
    rows = np.bincount(codes, minlength=size)
    positives = np.bincount(codes, weights=labels, minlength=size)
    shares = (positives + labels.mean()) / (rows + 1)
    return shares[codes], shares[test_codes]
