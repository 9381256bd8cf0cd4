"""Checks of labels, scores and levels. Every statistic reads them here, so that unusable input is an error everywhere.

NumPy converts much that is not meant: the text ``"0.5"`` becomes a number, a masked entry becomes its hidden value, and a
comparison of text with 0 is false for every row. Nothing is converted here that is not a number already.
"""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Floats: TypeAlias = NDArray[np.float64]
Booleans: TypeAlias = NDArray[np.bool_]

_EXAMPLES = 3
_MOST_CHARACTERS = 30


def read_numbers(values: ArrayLike, what: str) -> Floats:
    """Return real numbers as floats, one per row. NaN and infinities stay as they are.

    Args:
        values: Shape (rows,): numbers or booleans. Missing values of pandas become NaN.
        what: What the values are, for the messages, for example "scores".

    Raises:
        ValueError: There is not exactly one dimension, a value is masked, or a value is not a real number.
    """
    if isinstance(values, np.ma.MaskedArray) and (masked := np.count_nonzero(values.mask)):
        raise ValueError(f"{masked:,} {what} are masked")
    try:
        given = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{what} must be a list of numbers: {error}") from error
    if given.ndim != 1:
        raise ValueError(f"{what} must have one dimension, not {given.ndim} (their shape is {given.shape})")
    if given.dtype == object:
        return _read_objects(given, what)
    if given.dtype.kind not in "biuf":
        raise ValueError(f"{what} must be numbers, but their type is {_name_type(given)}")
    return given.astype(np.float64)


def _name_type(values: NDArray[np.generic]) -> str:
    """Return the type of an array with an example, for a message: ``text (for example '1')``."""
    name = {"U": "text", "S": "bytes", "M": "time", "m": "time difference", "c": "complex number"}.get(values.dtype.kind)
    examples = f" (for example {_shorten(values[0].item())})" if values.size else ""
    return f"{name or values.dtype}{examples}"


def _read_objects(values: NDArray[np.object_], what: str) -> Floats:
    """Return Python objects as floats. None and the missing values of pandas become NaN."""
    missing = np.array([value is None or type(value).__name__ in {"NAType", "NaTType"} for value in values], dtype=np.bool_)
    wrong = [value for value in values[~missing] if not isinstance(value, numbers.Real | np.bool_)]
    if wrong:
        examples = ", ".join(_shorten(value) for value in wrong[:_EXAMPLES])
        raise ValueError(f"{what} must be numbers, but {len(wrong):,} of {values.size:,} are not, for example {examples}")
    found = np.full(values.size, np.nan)
    found[~missing] = [float(value) for value in values[~missing]]
    return found


def read_binary_labels(labels: ArrayLike) -> Booleans:
    """Return the labels as booleans, True for the positive class. There may be only one class, or none.

    Args:
        labels: Shape (rows,), values 0 and 1 or False and True, without missing values.

    Raises:
        ValueError: The shape is wrong, or there is another value.
    """
    values = read_numbers(labels, "labels")
    wrong = values[(values != 0) & (values != 1)]  # NaN differs from both
    if wrong.size:
        examples = ", ".join(f"{value:g}" for value in np.unique(wrong)[:_EXAMPLES])
        raise ValueError(
            f"labels must be 0 or 1, but {wrong.size:,} of {values.size:,} have other values, for example {examples}"
        )
    return np.asarray(values == 1, dtype=np.bool_)


def read_labels(labels: ArrayLike) -> Booleans:
    """Return the labels as booleans, True for the positive class. Both classes must occur.

    Args:
        labels: Shape (rows,), values 0 and 1 or False and True, without missing values.

    Raises:
        ValueError: The shape is wrong, there is another value, or there is only one class.
    """
    positive = read_binary_labels(labels)
    positives = int(np.count_nonzero(positive))
    if positives in (0, positive.size):
        raise ValueError(f"the labels must have both classes, but {positives} of {positive.size} rows are positive")
    return positive


def count_smaller_class(labels: ArrayLike) -> int:
    """Return the number of rows of the class that has fewer rows.

    Args:
        labels: Shape (rows,), values 0 and 1.
    """
    truths = np.asarray(labels)
    return min(int(np.count_nonzero(truths == 1)), int(np.count_nonzero(truths == 0)))


def read_scores(scores: ArrayLike, rows: int) -> Floats:
    """Return the scores as floats, one per row. Infinite scores are ranked like any other.

    Args:
        scores: Shape (rows,). A higher score means more likely positive.
        rows: Expected number of rows.

    Raises:
        ValueError: The shape or length is wrong, a score is not a number, or there is a NaN, which has no rank.
    """
    values = read_numbers(scores, "scores")
    if values.size != rows:
        raise ValueError(f"there must be one score for each of the {rows:,} labels, but the scores have shape {values.shape}")
    missing = int(np.count_nonzero(np.isnan(values)))
    if missing:
        raise ValueError(f"{missing} of {rows} scores are NaN and have no rank")
    return values


def check_level(level: float) -> None:
    """Check that a level lies in (0, 1).

    Raises:
        ValueError: It does not.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
