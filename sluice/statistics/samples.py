"""Checks of labels, scores and levels that several functions share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Floats: TypeAlias = NDArray[np.float64]
Booleans: TypeAlias = NDArray[np.bool_]


def read_labels(labels: ArrayLike) -> Booleans:
    """Return the labels as booleans, True for the positive class.

    Args:
        labels: Shape (rows,), values 0 and 1 or False and True.

    Raises:
        ValueError: The shape is wrong, there is another value, or there is only one class.
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"labels must have one dimension, not {values.ndim}")
    positive = np.asarray(values == 1, dtype=np.bool_)
    if not np.all(positive | np.asarray(values == 0, dtype=np.bool_)):
        raise ValueError("labels must be 0 or 1")
    positives = int(np.count_nonzero(positive))
    if positives in (0, positive.size):
        raise ValueError(f"the labels must have both classes, but {positives} of {positive.size} rows are positive")
    return positive


def read_scores(scores: ArrayLike, rows: int) -> Floats:
    """Return the scores as floats, one per row. Infinite scores are ranked like any other.

    Args:
        scores: Shape (rows,). A higher score means more likely positive.
        rows: Expected number of rows.

    Raises:
        ValueError: The shape or length is wrong, or there is a NaN, which has no rank.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (rows,):
        raise ValueError(f"there must be one score for each of the {rows} labels, but the scores have shape {values.shape}")
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
