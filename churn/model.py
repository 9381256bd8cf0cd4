"""The churn model: one scikit-learn Pipeline from raw columns to a probability. Everything that is learned is inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from churn.features import (
    CategoryEncoder,
    ColumnEncoder,
    CyclicalEncoder,
    DaysEncoder,
    FeatureEncoder,
    FlagEncoder,
    FrequencyEncoder,
    NumberEncoder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_FEATURES = ("account", "activity", "usage", "channel")
"""The groups of features that the model uses."""

FEATURE_GROUPS: Mapping[str, Callable[[], list[ColumnEncoder]]] = {
    "account": lambda: [
        NumberEncoder("tenure_months"),
        NumberEncoder("monthly_spend", logarithm=True),
        CategoryEncoder("contract_type"),
        FlagEncoder("is_enterprise"),
    ],
    "activity": lambda: [DaysEncoder("signup_date"), DaysEncoder("last_login_at")],
    "usage": lambda: [CyclicalEncoder("usage_hour", period=24)],
    "channel": lambda: [FrequencyEncoder("acquisition_channel")],
}
"""Group → its unfitted encoders."""


def build_model(
    *,
    features: Sequence[str] = DEFAULT_FEATURES,
    regularization: float = 1.0,
    iterations: int = 300,
    random_state: int = 0,
) -> Pipeline:
    """Return an unfitted model: encode the columns, fill in medians, scale, and classify by logistic regression.

    Args:
        features: Names of `FEATURE_GROUPS`, each at most once.
        regularization: Inverse strength of the L2 penalty, above 0.
        iterations: Largest number of iterations of the solver.
        random_state: Seed of the solver. With equal rows, the fit is the same.

    Returns:
        A Pipeline for DataFrames with the raw columns of the groups. Other columns are ignored, and nulls and unseen categories
        are allowed. ``predict_proba(rows)[:, 1]`` is the probability of churn.

    Raises:
        ValueError: A group does not exist or is named twice, or no group is named.
    """
    unknown = [name for name in features if name not in FEATURE_GROUPS]
    if unknown or not features or len(set(features)) != len(features):
        raise ValueError(f"features must be one or more of {', '.join(FEATURE_GROUPS)}, each once, not {list(features)}")
    encoders = [encoder for name in features for encoder in FEATURE_GROUPS[name]()]
    return Pipeline(
        [
            ("encode", FeatureEncoder(encoders)),
            ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(C=regularization, max_iter=iterations, random_state=random_state)),
        ]
    )
