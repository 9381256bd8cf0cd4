"""Features: pure functions over a column, and the scikit-learn transformers that learn and apply them.

What travels in a release: nothing but numpy, pandas and scikit-learn is imported. What the transformers learn is kept
as plain Python and numpy values: a pandas object in a fitted model would tie it to the text type of the environment
that made it.

Raw columns come from the warehouse's export or as JSON over HTTP, so every transformer takes text, numbers, flags and
None alike; what it cannot read is missing.
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
"""Beyond that a number is no measurement: it is read as missing, since it would swamp every other feature."""

_EPOCH = date(1970, 1, 1).toordinal()
_TRUE_WORDS = ("true", "1", "1.0")
_FALSE_WORDS = ("false", "0", "0.0")


def cyclical_encode(series: pd.Series, period: float) -> pd.DataFrame:
    """Place a cyclical quantity on the unit circle, so that its end lies beside its beginning.

    Args:
        series: Numbers, for example hours of the day; any length, any index.
        period: Length of one turn in the unit of the series, for example 24.

    Returns:
        Two columns in [-1, 1], ``<name>_sin`` and ``<name>_cos``, with the index of the series; NaN where the series is
        missing. Whole numbers a whole number of periods apart give the same row, to the bit.

    Raises:
        ValueError: The period is not a positive number.
    """
    return pd.DataFrame(_place_on_circle(series, period), columns=_circle_names(series.name), index=series.index)


def compute_days_since_reference(series: pd.Series, reference: object) -> pd.Series:
    """Days from a reference date to each date: negative before the reference.

    Args:
        series: Dates as `read_days` takes them; any length, any index.
        reference: One such date.

    Returns:
        Whole days as float with the index of the series, named ``<name>_days``; NaN where a date is missing.

    Raises:
        ValueError: The reference is not a date.
    """
    origin = float(read_days(pd.Series([reference], dtype=object))[0])
    if np.isnan(origin):
        raise ValueError(f"the reference date {reference!r} is not a date")
    return pd.Series(read_days(series) - origin, index=series.index, name=f"{series.name}_days")


def frequency_encode(series: pd.Series, *, normalize: bool = True) -> pd.Series:
    """Replace each category by how often it occurs in this very series; missing values are a category of their own.

    Args:
        series: Categories; any length, any index.
        normalize: Shares (over all categories they sum to 1) instead of counts (they sum to the number of rows).

    Returns:
        Float, never NaN, with the index of the series, named ``<name>_frequency``.
    """
    keys = _read_categories(series)
    table = _count_categories(keys, normalize=normalize)
    return pd.Series([table[key] for key in keys], index=series.index, name=f"{series.name}_frequency", dtype="float64")


def read_numbers(series: pd.Series) -> Floats:
    """Numbers, or text that is one, as float, shape (rows,); NaN where there is none or one beyond `LARGEST_NUMBER`."""
    numbers = np.array([_read_number(value) for value in series.tolist()], dtype="float64")
    return np.where(np.abs(numbers) <= LARGEST_NUMBER, numbers, np.nan)


def read_days(series: pd.Series) -> Floats:
    """Dates as whole days since 1970-01-01, shape (rows,); NaN where there is no date.

    The warehouse exports ISO dates, other senders ISO timestamps; one with a time zone counts as its day in UTC.
    """
    return np.array([_read_day(value) for value in series.tolist()], dtype="float64")


def _read_number(value: object) -> float:
    """A number or NaN; a flag is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, np.number)):
        return np.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return np.nan


def _read_day(value: object) -> float:
    """The day of a date, of a timestamp or of ISO text of one; NaN for anything else."""
    if not isinstance(value, (str, date)):
        return np.nan
    try:
        moment = datetime.fromisoformat(str(value))
        return float((moment.astimezone(UTC) if moment.tzinfo else moment).toordinal() - _EPOCH)
    except (ValueError, OverflowError):  # no date, or one whose day in UTC lies beyond the calendar
        return np.nan


def _place_on_circle(series: pd.Series, period: float) -> Floats:
    """Sine and cosine, shape (rows, 2)."""
    if not (np.isfinite(period) and period > 0):
        raise ValueError(f"period must be a positive number, not {period}")
    # The remainder first: sin(2 pi) is not quite 0, and hour 24 has to be hour 0.
    angle = 2 * np.pi * np.mod(read_numbers(series), period) / period
    return np.column_stack([np.sin(angle), np.cos(angle)])


def _circle_names(name: object) -> list[str]:
    return [f"{name}_sin", f"{name}_cos"]


def _read_categories(series: pd.Series) -> list[str]:
    """Categories as text; missing ones, whatever stands for them, as the empty text."""
    return ["" if missing else str(value) for value, missing in zip(series.tolist(), series.isna().tolist(), strict=True)]


def _count_categories(keys: Iterable[str], *, normalize: bool) -> dict[str, float]:
    """Category → count, or share of all."""
    counts: dict[str, float] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1.0
    total = sum(counts.values()) if normalize else 1.0
    return {key: count / total for key, count in counts.items()}


class ColumnEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Makes one raw column into float features of shape (rows, features); subclasses say how.

    Args:
        column: Name of the raw column.
    """

    def __init__(self, column: str) -> None:
        self.column = column

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: N803 - scikit-learn's names
        """Learn what the encoding needs from the rows' column.

        Raises:
            ValueError: The rows are no DataFrame or lack the column.
        """
        del y
        self.learn(self._pick(X))
        return self

    def transform(self, X: pd.DataFrame) -> Floats:  # noqa: N803 - scikit-learn's names
        """Encode the rows' column, shape (rows, features).

        Raises:
            ValueError: The rows are no DataFrame or lack the column.
        """
        return self.encode(self._pick(X))

    def learn(self, series: pd.Series) -> None:
        """Learn from a column; nothing, where there is nothing to learn."""
        del series

    def encode(self, series: pd.Series) -> Floats:
        """Encode a column, shape (rows, features)."""
        raise NotImplementedError(type(self).__name__)

    def feature_names(self) -> list[str]:
        """Names of the features."""
        return [self.column]

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """Names of the features, as scikit-learn asks for them."""
        del input_features
        return np.array(self.feature_names(), dtype=object)

    def _pick(self, frame: pd.DataFrame) -> pd.Series:
        if not isinstance(frame, pd.DataFrame):
            raise ValueError(f"rows must be a DataFrame with named columns, not a {type(frame).__name__}")  # noqa: TRY004 - as scikit-learn
        if self.column not in frame.columns:
            raise ValueError(f"column {self.column!r} is missing; the rows have {', '.join(map(str, frame.columns))}")
        picked = frame[self.column]
        if not isinstance(picked, pd.Series):
            raise ValueError(f"column {self.column!r} is there {picked.shape[1]} times")  # noqa: TRY004 - as scikit-learn
        return picked


class NumberEncoder(ColumnEncoder):
    """The number as it is, or the logarithm of 1 + the number for amounts that spread over orders of magnitude."""

    def __init__(self, column: str, *, logarithm: bool = False) -> None:
        super().__init__(column)
        self.logarithm = logarithm

    def encode(self, series: pd.Series) -> Floats:
        """One feature; NaN where missing. A negative amount has no logarithm: it counts as 0."""
        numbers = read_numbers(series)
        return (np.log1p(np.maximum(numbers, 0.0)) if self.logarithm else numbers).reshape(-1, 1)


class FlagEncoder(ColumnEncoder):
    """1 for true, 0 for false."""

    def encode(self, series: pd.Series) -> Floats:
        """One feature; NaN for anything that is neither."""
        words = [str(value).lower() for value in series.tolist()]
        values = [1.0 if word in _TRUE_WORDS else 0.0 if word in _FALSE_WORDS else np.nan for word in words]
        return np.array(values, dtype="float64").reshape(-1, 1)


class CategoryEncoder(ColumnEncoder):
    """One feature per category that was there when it was fitted; an unseen or missing one is 0 in all of them."""

    def learn(self, series: pd.Series) -> None:
        """Keep the categories, sorted."""
        self.categories_ = sorted(set(_read_categories(series)) - {""})

    def encode(self, series: pd.Series) -> Floats:
        """One feature per category, 0 or 1."""
        keys = np.array(_read_categories(series), dtype=object).reshape(-1, 1)
        return np.asarray(keys == np.array(self.categories_, dtype=object), dtype="float64")

    def feature_names(self) -> list[str]:
        """``<column>_<category>``."""
        return [f"{self.column}_{category}" for category in self.categories_]


class CyclicalEncoder(ColumnEncoder):
    """`cyclical_encode` of a column; a missing value lies in the circle's centre, equally far from every hour."""

    def __init__(self, column: str, *, period: float) -> None:
        super().__init__(column)
        self.period = period

    def encode(self, series: pd.Series) -> Floats:
        """Sine and cosine."""
        return np.nan_to_num(_place_on_circle(series, self.period))

    def feature_names(self) -> list[str]:
        """``<column>_sin`` and ``<column>_cos``."""
        return _circle_names(self.column)


class DaysEncoder(ColumnEncoder):
    """`compute_days_since_reference` of a column; the reference is the latest date that was there when it was fitted."""

    def learn(self, series: pd.Series) -> None:
        """Keep the latest date.

        Raises:
            ValueError: The column has no date at all.
        """
        days = read_days(series)
        if np.isnan(days).all():
            raise ValueError(f"column {self.column!r} has no date to learn a reference from")
        self.reference_ = date.fromordinal(int(np.nanmax(days)) + _EPOCH).isoformat()

    def encode(self, series: pd.Series) -> Floats:
        """One feature; NaN where missing."""
        return compute_days_since_reference(series, self.reference_).to_numpy(dtype="float64").reshape(-1, 1)

    def feature_names(self) -> list[str]:
        """``<column>_days``."""
        return [f"{self.column}_days"]


class FrequencyEncoder(ColumnEncoder):
    """Share of a category among the rows that it was fitted with; an unseen one has the share 0."""

    def learn(self, series: pd.Series) -> None:
        """Keep the shares."""
        self.shares_ = _count_categories(_read_categories(series), normalize=True)

    def encode(self, series: pd.Series) -> Floats:
        """One feature in [0, 1], never NaN."""
        return np.array([self.shares_.get(key, 0.0) for key in _read_categories(series)], dtype="float64").reshape(-1, 1)

    def feature_names(self) -> list[str]:
        """``<column>_frequency``."""
        return [f"{self.column}_frequency"]


class FeatureEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Several column encoders side by side.

    A FeatureUnion without its machinery for parallel work, which costs a single row more than all encoders together.

    Args:
        encoders: Unfitted encoders; they stay so, `encoders_` are fitted copies.
    """

    def __init__(self, encoders: Sequence[ColumnEncoder]) -> None:
        self.encoders = encoders

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: N803 - scikit-learn's names
        """Fit a copy of every encoder.

        Raises:
            ValueError: The rows are no DataFrame or lack a column.
        """
        del y
        self.encoders_ = [clone(encoder).fit(X) for encoder in self.encoders]
        return self

    def transform(self, X: pd.DataFrame) -> Floats:  # noqa: N803 - scikit-learn's names
        """All features of the rows, shape (rows, features).

        Raises:
            ValueError: The rows are no DataFrame or lack a column.
        """
        return np.hstack([encoder.transform(X) for encoder in self.encoders_])

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """Names of all features, in the order of the columns of `transform`."""
        return np.concatenate([encoder.get_feature_names_out(input_features) for encoder in self.encoders_])
