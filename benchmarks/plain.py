"""The plain Seldon class that `benchmarks.serving` compares the model server with. Each request is one frame and one call."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import joblib
import pandas as pd

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL_VARIABLE = "PLAIN_MODEL"
"""Environment variable with the path of the fitted pipeline."""

TYPES_VARIABLE = "PLAIN_TYPES"
"""Environment variable with column → pandas type as JSON. Seldon converts all numbers of a row to texts if the row has a text."""


class Plain:
    """The class from the documentation of Seldon Core, for a pipeline that needs named columns."""

    def load(self) -> None:
        """Load the model."""
        self.model = joblib.load(os.environ[MODEL_VARIABLE])
        self.types = json.loads(os.environ[TYPES_VARIABLE])

    def predict(self, X: NDArray[np.object_], names: list[str], meta: object = None) -> NDArray[np.float64]:  # noqa: N803 - Seldon's name
        """Return the probabilities of the positive class, shape (rows, 1)."""
        del meta
        found: NDArray[np.float64] = self.model.predict_proba(pd.DataFrame(X, columns=names).astype(self.types))[:, 1:]
        return found
