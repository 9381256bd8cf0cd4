"""What the judgements take: labels, scores, counts and thresholds. Everything is read here, and what cannot be used is an error.

A mistake in a test must not look like a result. So no function guesses what was meant, and none answers "inconclusive" for input
that it cannot use.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.data.external_errors import external_call
from sluice.errors import DataError
from sluice.statistics.samples import read_binary_labels, read_numbers

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from sluice.statistics.samples import Booleans, Floats

LEAST_ROWS = 30
LEAST_PER_CLASS = 10

_LABEL_HINT = "Pass one label per row, 0 or 1, for example (column == 'yes').astype(int), and leave out rows without an outcome."
_SCORE_HINT = "Pass one probability of label 1 per row, as predict_probability(model, features) returns it."


def predict_probability(model: Any, features: pd.DataFrame) -> npt.NDArray[np.float64]:  # noqa: ANN401 - scikit-learn is untyped
    """Return the probability of label 1, as the server will return it.

    It is not clipped, so that a value out of range can be seen.

    Args:
        model: A fitted classifier with ``predict_proba`` for labels 0 and 1.
        features: One row per prediction.

    Returns:
        Shape (rows,).

    Raises:
        DataError: The model does not return a probability of label 1 for every row.
    """
    hint = "Fit a classifier on labels 0 and 1. Its predict_proba must return one column for each of the two labels."
    classes = list(getattr(model, "classes_", (0, 1)))
    with external_call("the model cannot predict these rows", hint="Pass the columns that the model was fitted on."):
        answers = np.asarray(model.predict_proba(features))
    positive = [at for at, label in enumerate(classes) if not isinstance(label, str) and label == 1]
    if len(positive) != 1 or answers.shape != (len(features), len(classes)):
        shown = [label.item() if isinstance(label, np.generic) else label for label in classes]
        raise DataError(
            f"the model returns probabilities of shape {answers.shape} for classes {shown} and {len(features):,} rows", hint=hint
        )
    try:
        return read_numbers(answers[:, positive[0]], "probabilities")
    except ValueError as error:
        raise DataError(f"the model returns no numbers: {error}", hint=hint) from error


def read_truths(check: str, labels: npt.ArrayLike) -> Booleans:
    """Return the labels as booleans. There may be only one class.

    Raises:
        DataError: The labels are not one list of 0 and 1.
    """
    try:
        return read_binary_labels(labels)
    except ValueError as error:
        raise DataError(f"{check}: {error}", hint=_LABEL_HINT) from error


def read_predictions(check: str, scores: npt.ArrayLike, rows: int | None = None) -> Floats:
    """Return the scores as floats. NaN and infinities stay, because a model that returns them fails its check.

    Args:
        check: Name of the verdict, for the messages.
        scores: Shape (rows,).
        rows: The number of labels; None if the number of scores is free.

    Raises:
        DataError: The scores are not one list of numbers, or there are more or fewer of them than labels.
    """
    try:
        values = read_numbers(scores, "scores")
    except ValueError as error:
        raise DataError(f"{check}: {error}", hint=_SCORE_HINT) from error
    if rows is not None and values.size != rows:
        raise DataError(f"{check}: there are {values.size:,} scores for {rows:,} labels", hint=_SCORE_HINT)
    return values


def read_count(check: str, value: object, what: str) -> int:
    """Return a whole number that is not negative.

    Raises:
        DataError: It is not one. A fraction is not rounded, because then it is not a count.
    """
    try:
        count = -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = -1
    if count < 0:
        raise DataError(f"{check}: {what} must be a whole number from 0 on, not {value!r}", hint="Pass a number of rows.")
    return count


def read_limit(check: str, value: object, what: str = "threshold", *, low: float = 0.0, high: float = 1.0) -> float:
    """Return a threshold that lies within the range of what it is compared with.

    Raises:
        DataError: It is not a number or lies outside. A threshold outside would pass or fail every model.
    """
    number = math.nan if isinstance(value, bool | str) else _to_float(value)
    if not low <= number <= high:
        span = f"from {low:g} to {high:g}" if math.isfinite(high) else f"from {low:g} on"
        raise DataError(
            f"{check}: {what} must be a number {span}, not {value!r}",
            hint="Correct it in the test, or in [thresholds] of sluice.toml.",
        )
    return number


def read_level(check: str, level: object) -> float:
    """Return the coverage of an interval.

    Raises:
        DataError: It does not lie between 0 and 1.
    """
    number = read_limit(check, level, "level")
    if number in {0.0, 1.0}:
        raise DataError(f"{check}: level must lie between 0 and 1, not {level!r}", hint="Pass the coverage, for example 0.95.")
    return number


def _to_float(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
