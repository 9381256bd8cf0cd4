import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin


class Encode(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.median_ = X["weight"].median()
        self.shares_ = X["zone"].value_counts(normalize=True).to_dict()
        return self

    def transform(self, X):
        day = (X["shipped_at"] - pd.Timestamp("2024-01-01")).dt.days.fillna(0)
        return np.column_stack([
            X["weight"].fillna(self.median_),
            X["zone"].map(self.shares_).fillna(0.0).astype(float),
            X["express"].astype(bool),
            X["items"],
            np.sin(day / 365.25),
        ]).astype(float)
