"""Features: pure functions of a column, and the scikit-learn transformers that learn and apply them.

This module is part of every release, so it imports only numpy, pandas and scikit-learn. The transformers keep what they learn as
plain Python and numpy values, because a pandas object in a fitted model would depend on the text type of the environment in which
the model was made.

Raw columns come from the warehouse's export or as JSON over HTTP. For this reason, every transformer accepts text, numbers, flags
and None. A value that it cannot read counts as missing.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

LARGEST_NUMBER = 1e9
"""A larger number is not a measurement and counts as missing, because it would dominate every other feature."""

_EPOCH = date(1970, 1, 1).toordinal()
_TRUE_TEXTS = ("true", "1", "1.0")
_FALSE_TEXTS = ("false", "0", "0.0")


def cyclical_encode(series: pd.Series, period: float) -> pd.DataFrame:
    """Map a cyclical quantity to the unit circle, so that its end lies next to its beginning.

    Args:
        series: Numbers, for example hours of the day, of any length and with any index.
        period: Length of one cycle in the unit of the series, for example 24.

    Returns:
        Two columns in [-1, 1], ``<name>_sin`` and ``<name>_cos``, with the index of the series; NaN where the series is missing.
        Whole numbers that differ by whole periods give exactly the same row.

    Raises:
        ValueError: The period is not a positive number.
    """
    return pd.DataFrame(_place_on_circle(series, period), columns=_circle_names(series.name), index=series.index)


def compute_days_since_reference(series: pd.Series, reference: object) -> pd.Series:
    """Return the days from a reference date to each date. They are negative before the reference.

    Args:
        series: Dates as `read_days` accepts them, of any length and with any index.
        reference: One such date.

    Returns:
        Whole days as float, with the index of the series and the name ``<name>_days``; NaN where a date is missing.

    Raises:
        ValueError: The reference is not a date.
    """
    origin = float(read_days(pd.Series([reference], dtype=object))[0])
    if np.isnan(origin):
        raise ValueError(f"the reference date {reference!r} is not a date")
    return pd.Series(read_days(series) - origin, index=series.index, name=f"{series.name}_days")


def frequency_encode(series: pd.Series, *, normalize: bool = True) -> pd.Series:
    """Replace each category by its frequency in this series. Missing values are a category of their own.

    Args:
        series: Categories, of any length and with any index.
        normalize: Whether to return shares (they sum to 1 over all categories) instead of counts (they sum to the number of
            rows).

    Returns:
        Floats, never NaN, with the index of the series and the name ``<name>_frequency``.
    """
    keys = _read_categories(series)
    table = _count_categories(keys, normalize=normalize)
    return pd.Series([table[key] for key in keys], index=series.index, name=f"{series.name}_frequency", dtype="float64")


def read_numbers(series: pd.Series) -> Floats:
    """Return numbers as float, shape (rows,). Text may contain a number.

    A missing value, another text and a number beyond `LARGEST_NUMBER` become NaN.
    """
    numbers = np.array([_read_number(value) for value in series.tolist()], dtype="float64")
    return np.where(np.abs(numbers) <= LARGEST_NUMBER, numbers, np.nan)


def read_days(series: pd.Series) -> Floats:
    """Return dates as whole days since 1970-01-01, shape (rows,); NaN if there is no date.

    The warehouse exports ISO dates, and other clients send ISO timestamps. A timestamp with a time zone counts as its day in UTC.
    """
    return np.array([_read_day(value) for value in series.tolist()], dtype="float64")


def _read_number(value: object) -> float:
    """Return a number or NaN. A flag is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, np.number)):
        return np.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return np.nan


def _read_day(value: object) -> float:
    """Return the day of a date, of a timestamp, or of ISO text with one of them; NaN for anything else."""
    if not isinstance(value, (str, date)):
        return np.nan
    try:
        moment = datetime.fromisoformat(str(value))
        return float((moment.astimezone(UTC) if moment.tzinfo else moment).toordinal() - _EPOCH)
    except (ValueError, OverflowError):  # Not a date, or its day in UTC lies outside the calendar.
        return np.nan


def _place_on_circle(series: pd.Series, period: float) -> Floats:
    """Return sine and cosine, shape (rows, 2)."""
    if not (np.isfinite(period) and period > 0):
        raise ValueError(f"period must be a positive number, not {period}")
    # The remainder is taken first, because sin(2 pi) is not exactly 0, and hour 24 must equal hour 0.
    angle = 2 * np.pi * np.mod(read_numbers(series), period) / period
    return np.column_stack([np.sin(angle), np.cos(angle)])


def _circle_names(name: object) -> list[str]:
    return [f"{name}_sin", f"{name}_cos"]


def _read_categories(series: pd.Series) -> list[str]:
    """Return categories as text. A missing value, in any representation, becomes the empty text."""
    return ["" if missing else str(value) for value, missing in zip(series.tolist(), series.isna().tolist(), strict=True)]


def _count_categories(keys: Iterable[str], *, normalize: bool) -> dict[str, float]:
    """Return category → count, or category → share of all rows."""
    counts: dict[str, float] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1.0
    total = sum(counts.values()) if normalize else 1.0
    return {key: count / total for key, count in counts.items()}


class ColumnEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Base class: encode one raw column as float features of shape (rows, features).

    Args:
        column: Name of the raw column.
    """

    def __init__(self, column: str) -> None:
        self.column = column

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: N803 - scikit-learn's names
        """Learn what the encoding needs from the column of the rows.

        Raises:
            ValueError: The rows are not a DataFrame or do not have the column.
        """
        del y
        self.learn(self._pick(X))
        return self

    def transform(self, X: pd.DataFrame) -> Floats:  # noqa: N803 - scikit-learn's names
        """Encode the column of the rows, shape (rows, features).

        Raises:
            ValueError: The rows are not a DataFrame or do not have the column.
        """
        return self.encode(self._pick(X))

    def learn(self, series: pd.Series) -> None:
        """Learn from a column. The default is to learn nothing."""
        del series

    def encode(self, series: pd.Series) -> Floats:
        """Encode a column, shape (rows, features)."""
        raise NotImplementedError(type(self).__name__)

    def feature_names(self) -> list[str]:
        """Return the names of the features."""
        return [self.column]

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """Return the names of the features in the form that scikit-learn expects."""
        del input_features
        return np.array(self.feature_names(), dtype=object)

    def _pick(self, frame: pd.DataFrame) -> pd.Series:
        if not isinstance(frame, pd.DataFrame):
            raise ValueError(f"rows must be a DataFrame with named columns, not a {type(frame).__name__}")  # noqa: TRY004 - as scikit-learn
        if self.column not in frame.columns:
            raise ValueError(f"column {self.column!r} is missing; the rows have {', '.join(map(str, frame.columns))}")
        picked = frame[self.column]
        if not isinstance(picked, pd.Series):
            raise ValueError(f"the rows have the column {self.column!r} {picked.shape[1]} times")  # noqa: TRY004 - as scikit-learn
        return picked


class NumberEncoder(ColumnEncoder):
    """Encode a number as it is, or as the logarithm of 1 + number for amounts of very different size."""

    def __init__(self, column: str, *, logarithm: bool = False) -> None:
        super().__init__(column)
        self.logarithm = logarithm

    def encode(self, series: pd.Series) -> Floats:
        """Return one feature, NaN if missing. A negative amount has no logarithm and counts as 0."""
        numbers = read_numbers(series)
        return (np.log1p(np.maximum(numbers, 0.0)) if self.logarithm else numbers).reshape(-1, 1)


class FlagEncoder(ColumnEncoder):
    """Encode true as 1 and false as 0."""

    def encode(self, series: pd.Series) -> Floats:
        """Return one feature, NaN for anything that is neither true nor false."""
        texts = [str(value).lower() for value in series.tolist()]
        values = [1.0 if text in _TRUE_TEXTS else 0.0 if text in _FALSE_TEXTS else np.nan for text in texts]
        return np.array(values, dtype="float64").reshape(-1, 1)


class CategoryEncoder(ColumnEncoder):
    """One feature for each category of the training data. For an unseen or missing category, all of them are 0."""

    def learn(self, series: pd.Series) -> None:
        """Store the categories, sorted."""
        self.categories_ = sorted(set(_read_categories(series)) - {""})

    def encode(self, series: pd.Series) -> Floats:
        """Return one feature per category, 0 or 1."""
        keys = np.array(_read_categories(series), dtype=object).reshape(-1, 1)
        return np.asarray(keys == np.array(self.categories_, dtype=object), dtype="float64")

    def feature_names(self) -> list[str]:
        """Return ``<column>_<category>`` for each category."""
        return [f"{self.column}_{category}" for category in self.categories_]


class CyclicalEncoder(ColumnEncoder):
    """`cyclical_encode` of a column. A missing value is the centre of the circle, equally far from every hour."""

    def __init__(self, column: str, *, period: float) -> None:
        super().__init__(column)
        self.period = period

    def encode(self, series: pd.Series) -> Floats:
        """Return sine and cosine."""
        return np.nan_to_num(_place_on_circle(series, self.period))

    def feature_names(self) -> list[str]:
        """Return ``<column>_sin`` and ``<column>_cos``."""
        return _circle_names(self.column)


class DaysEncoder(ColumnEncoder):
    """`compute_days_since_reference` of a column. The reference is the latest date of the training data."""

    def learn(self, series: pd.Series) -> None:
        """Store the latest date.

        Raises:
            ValueError: The column has no date.
        """
        days = read_days(series)
        if np.isnan(days).all():
            raise ValueError(f"column {self.column!r} has no date, so there is no reference date to learn")
        self.reference_ = date.fromordinal(int(np.nanmax(days)) + _EPOCH).isoformat()

    def encode(self, series: pd.Series) -> Floats:
        """Return one feature, NaN if missing."""
        return compute_days_since_reference(series, self.reference_).to_numpy(dtype="float64").reshape(-1, 1)

    def feature_names(self) -> list[str]:
        """Return ``<column>_days``."""
        return [f"{self.column}_days"]


class FrequencyEncoder(ColumnEncoder):
    """The share of a category among the rows of the training data. An unseen category has the share 0."""

    def learn(self, series: pd.Series) -> None:
        """Store the shares."""
        self.shares_ = _count_categories(_read_categories(series), normalize=True)

    def encode(self, series: pd.Series) -> Floats:
        """Return one feature in [0, 1], never NaN."""
        return np.array([self.shares_.get(key, 0.0) for key in _read_categories(series)], dtype="float64").reshape(-1, 1)

    def feature_names(self) -> list[str]:
        """Return ``<column>_frequency``."""
        return [f"{self.column}_frequency"]


class FeatureEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Several column encoders side by side.

    It replaces scikit-learn's FeatureUnion. The parallel machinery of FeatureUnion takes longer for a single row than all
    encoders together.

    Args:
        encoders: Unfitted encoders. They stay unfitted, and `encoders_` are fitted copies.
    """

    def __init__(self, encoders: Sequence[ColumnEncoder]) -> None:
        self.encoders = encoders

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: N803 - scikit-learn's names
        """Fit a copy of every encoder.

        Raises:
            ValueError: The rows are not a DataFrame or do not have a column.
        """
        del y
        self.encoders_ = [clone(encoder).fit(X) for encoder in self.encoders]
        return self

    def transform(self, X: pd.DataFrame) -> Floats:  # noqa: N803 - scikit-learn's names
        """Return all features of the rows, shape (rows, features).

        Raises:
            ValueError: The rows are not a DataFrame or do not have a column.
        """
        return np.hstack([encoder.transform(X) for encoder in self.encoders_])

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """Return the names of all features, in the order of the columns of `transform`."""
        return np.concatenate([encoder.get_feature_names_out(input_features) for encoder in self.encoders_])
