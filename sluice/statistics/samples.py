"""Checks that every function of labels and scores shares: what a labelled sample is."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Floats: TypeAlias = NDArray[np.float64]
Truths: TypeAlias = NDArray[np.bool_]


def read_labels(labels: ArrayLike) -> Truths:
    """Labels as booleans, True for the positive class.

    Args:
        labels: Shape (rows,), values 0 and 1 or False and True.

    Raises:
        ValueError: Another shape, another value, or one class only.
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"labels must have one dimension, not {values.ndim}")
    positive = np.asarray(values == 1, dtype=np.bool_)
    if not np.all(positive | np.asarray(values == 0, dtype=np.bool_)):
        raise ValueError("labels must be 0 or 1")
    positives = int(np.count_nonzero(positive))
    if positives in (0, positive.size):
        raise ValueError(f"labels must hold both classes: {positives} of {positive.size} rows are positive")
    return positive


def read_scores(scores: ArrayLike, rows: int) -> Floats:
    """Scores as floats, one per row; infinite ones rank like any other.

    Args:
        scores: Shape (rows,), higher means more likely positive.
        rows: How many there must be.

    Raises:
        ValueError: Another shape or length, or NaN, which has no rank.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (rows,):
        raise ValueError(f"scores must have one value per label: shape {values.shape} for {rows} labels")
    missing = int(np.count_nonzero(np.isnan(values)))
    if missing:
        raise ValueError(f"scores hold {missing} NaN of {rows}: they have no rank")
    return values


def check_level(level: float) -> None:
    """Refuse a coverage outside (0, 1).

    Raises:
        ValueError: `level` is not a coverage.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
