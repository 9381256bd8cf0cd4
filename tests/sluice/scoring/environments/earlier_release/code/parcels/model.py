import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from parcels.features import Encode


class Careless(LogisticRegression):
    """Returns values that are not probabilities for weights that no holdout has."""

    def predict_proba(self, X):
        found = super().predict_proba(X)
        found[X[:, 0] > 1e6, 1] = float("nan")
        found[X[:, 0] > 2e6, 1] = 1.5
        return found


def load(path):
    return pd.read_parquet(path)


def build(strength=1.0):
    return make_pipeline(Encode(), Careless(C=strength))
