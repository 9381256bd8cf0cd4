"""Simulated customers with a known ground truth: their attributes, and the logistic model that decides which of them churn.

Eight features drive churn. 21.5 % of the customers churn, 8 % are enterprises, and the best possible AUC is 0.847. The same
number of rows and the same seed give the same customers on every machine. For this reason, numbers are rounded before they are
used, so that nothing depends on the last bit of a mathematical library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

AS_OF = np.datetime64("2026-03-01", "D")
"""The day of the export from the warehouse. No date in the data is later."""

CONTRACT_TYPES = ("monthly", "annual", "multi-year")
CHANNELS: Mapping[str, float] = {
    "search": 0.34,
    "referral": 0.24,
    "partner": 0.16,
    "social": 0.12,
    "email": 0.08,
    "affiliate": 0.06,
}
"""Acquisition channels and their shares. The rarer a channel is, the more of its customers churn."""

NULL_SHARES: Mapping[str, float] = {
    "monthly_spend": 0.015,
    "last_login_at": 0.03,
    "usage_hour": 0.04,
    "acquisition_channel": 0.025,
}
"""The share of missing values in the columns that have them in real exports. The values are missing at random."""

DAYS_PER_MONTH = 30.44
HOURS_PER_DAY = 24
LONGEST_TENURE_MONTHS = 96
ENTERPRISE_SHARE = 0.08
DAYTIME_SHARE = 0.75
LOG_SPEND_DEVIATION = 0.5


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The logistic model that decides who churns.

    Attributes:
        intercept: Log-odds of the average customer.
        effects: Log-odds per unit of each driver of `_measure_drivers`.
        signal: Factor on all effects. Below 1, the features say less about churn than usual.
        enterprise_factors: Factor on the named effects for enterprises only. -1 reverses an effect.
    """

    intercept: float
    effects: Mapping[str, float]
    signal: float = 1.0
    enterprise_factors: Mapping[str, float] = field(default_factory=dict)


GROUND_TRUTH = GroundTruth(
    intercept=-1.84,
    effects={
        "tenure": -1.0,
        "spend": 0.92,
        "annual": -1.65,
        "multi_year": -2.85,
        "enterprise": -1.3,
        "recency": 0.57,
        "night": 0.5,
        "evening": 0.25,
        "channel": -0.36,
    },
)
"""The ground truth of the example's data."""


def simulate_customers(rows: int, seed: int, *, truth: GroundTruth = GROUND_TRUTH) -> pd.DataFrame:
    """Simulate an export of the warehouse.

    Args:
        rows: Number of customers, at least 1.
        seed: Seed of the generator. Another seed gives other customers with other ids.
        truth: The model that decides who churns.

    Returns:
        One row per customer: customer_id, tenure_months (whole), monthly_spend (two decimals), contract_type, is_enterprise,
        signup_date and last_login_at (ISO dates as text), usage_hour (0-23), acquisition_channel, churned (0 or 1).

    Raises:
        ValueError: `rows` is below 1.
    """
    frame, _ = simulate_with_probability(rows, seed, truth=truth)
    return frame


def simulate_with_probability(
    rows: int, seed: int, *, truth: GroundTruth = GROUND_TRUTH
) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """Simulate an export, and return it with each customer's true probability of churn, shape (rows,).

    Raises:
        ValueError: `rows` is below 1.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, not {rows}")
    random = np.random.default_rng(seed)
    frame = _draw_customers(random, rows, seed)
    probability = churn_probability(frame, truth)
    frame["churned"] = (random.random(rows) < probability).astype(np.int64)
    for column, share in NULL_SHARES.items():
        frame[column] = frame[column].mask(random.random(rows) < share)
    return frame, probability


def _draw_customers(random: np.random.Generator, rows: int, seed: int) -> pd.DataFrame:
    """Draw everything that is known about a customer except churn, without missing values."""
    enterprise = random.random(rows) < ENTERPRISE_SHARE
    age_days = np.minimum(random.exponential(26 * DAYS_PER_MONTH, rows), LONGEST_TENURE_MONTHS * DAYS_PER_MONTH).astype(np.int64)
    idle_days = np.minimum(random.gamma(1.2, 14.0, rows).astype(np.int64), age_days)
    log_spend = np.where(enterprise, np.log(260.0), np.log(60.0)) + LOG_SPEND_DEVIATION * random.standard_normal(rows)
    daytime = random.normal(15.0, 4.5, rows)
    hour = np.where(random.random(rows) < DAYTIME_SHARE, daytime, 24 * random.random(rows)).astype(np.int64) % HOURS_PER_DAY
    return pd.DataFrame(
        {
            "customer_id": [f"C{seed % 10**8:08d}-{number:06d}" for number in range(rows)],
            "tenure_months": (age_days / DAYS_PER_MONTH).astype(np.int64),
            "monthly_spend": np.round(np.exp(log_spend), 2),
            "contract_type": _draw_contracts(random, enterprise),
            "is_enterprise": enterprise,
            "signup_date": (AS_OF - age_days.astype("timedelta64[D]")).astype(str),
            "last_login_at": (AS_OF - idle_days.astype("timedelta64[D]")).astype(str),
            "usage_hour": pd.array(hour, dtype="Int64"),  # This type stays whole when values are missing.
            "acquisition_channel": random.choice(list(CHANNELS), size=rows, p=list(CHANNELS.values())).astype(object),
        }
    )


def _draw_contracts(random: np.random.Generator, enterprise: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
    """Draw contract types. Enterprises have longer contracts."""
    draw = random.random(len(enterprise))
    monthly = np.where(enterprise, 0.30, 0.55)
    annual = np.where(enterprise, 0.75, 0.85)
    types: npt.NDArray[np.object_] = np.array(CONTRACT_TYPES, dtype=object)
    return np.take(types, (draw >= monthly).astype(int) + (draw >= annual))


def churn_probability(frame: pd.DataFrame, truth: GroundTruth = GROUND_TRUTH) -> npt.NDArray[np.float64]:
    """Return the true probability of churn for customers without missing values, shape (rows,), rounded to six decimals."""
    drivers = _measure_drivers(frame)
    enterprise = frame["is_enterprise"].to_numpy(dtype=bool)
    log_odds = np.zeros(len(frame))
    for name, effect in truth.effects.items():
        factor = np.where(enterprise, truth.enterprise_factors.get(name, 1.0), 1.0)
        log_odds += effect * factor * drivers[name]
    return np.asarray(np.round(1.0 / (1.0 + np.exp(-(truth.intercept + truth.signal * log_odds))), 6))


def _measure_drivers(frame: pd.DataFrame) -> dict[str, npt.NDArray[np.float64]]:
    """Return the inputs of the ground truth, each roughly in standard deviations around 0."""
    contract = frame["contract_type"].to_numpy(dtype=object)
    angle = 2 * np.pi * frame["usage_hour"].to_numpy(dtype=float) / HOURS_PER_DAY
    idle = (AS_OF - frame["last_login_at"].to_numpy(dtype="datetime64[D]")).astype(float)
    return {
        "tenure": (frame["tenure_months"].to_numpy(dtype=float) - 25.0) / 22.0,
        "spend": (np.log(frame["monthly_spend"].to_numpy(dtype=float)) - np.log(66.0)) / 0.62,
        "annual": (contract == "annual") - 0.31,
        "multi_year": (contract == "multi-year") - 0.16,
        "enterprise": frame["is_enterprise"].to_numpy(dtype=float) - ENTERPRISE_SHARE,
        "recency": (idle - 16.0) / 15.0,
        "night": np.cos(angle),
        "evening": np.sin(angle),
        "channel": (frame["acquisition_channel"].map(dict(CHANNELS)).to_numpy(dtype=float) - 0.22) / 0.1,
    }
