"""Models with a fault. Each wraps a healthy model, so that only the fault differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from sluice.statistics.samples import Floats


class Wrapped:
    """A model whose probabilities of label 1 a subclass changes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.classes_ = np.array([0, 1])

    def change(self, scores: Floats, rows: pd.DataFrame) -> Floats:
        raise NotImplementedError

    def predict_proba(self, rows: pd.DataFrame) -> Floats:
        scores = self.change(self.model.predict_proba(rows)[:, 1], rows)
        return np.column_stack([1 - scores, scores])


class NanForGaps(Wrapped):
    """NaN for rows without an hour, as a forgotten imputation would give."""

    def change(self, scores: Floats, rows: pd.DataFrame) -> Floats:
        return np.where(rows["usage_hour"].isna(), np.nan, scores)


class OutOfRange(Wrapped):
    """A score that was never turned into a probability."""

    def change(self, scores: Floats, rows: pd.DataFrame) -> Floats:
        return scores * 1.5


class OtherClass(Wrapped):
    """The probability of the other class."""

    def change(self, scores: Floats, rows: pd.DataFrame) -> Floats:
        return 1 - scores


class RanksOfTheBatch(Wrapped):
    """A row's probability depends on the other rows of its batch: it is standardised by them."""

    def change(self, scores: Floats, rows: pd.DataFrame) -> Floats:
        return np.clip(scores - 0.1 * (scores.mean() - 0.2), 0, 1)


class FailsOnGaps(Wrapped):
    """An error for rows with a missing contract."""

    def change(self, scores: Floats, rows: pd.DataFrame) -> Floats:
        if rows["contract_type"].isna().any():
            raise ValueError("contract_type contains NaN")
        return scores


class Shifted(Wrapped):
    """Probabilities as after training on balanced classes: the order is right, the level is not."""

    def change(self, scores: Floats, rows: pd.DataFrame) -> Floats:
        odds = scores / (1 - scores) * 4
        return odds / (1 + odds)
