"""The known faults of an export. The four layers should find them. Each has a name and a description.

There are two kinds. Either the file is wrong (a column, the ids or the number of rows), or the ground truth is different (the
features say less about churn, or something else).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from churn.customers import GROUND_TRUTH, LOG_SPEND_DEVIATION, GroundTruth, simulate_customers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

CENTS = 100
DAMAGED_IDS = 40
TRUNCATED_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Fault:
    """One known fault.

    Attributes:
        name: The name in the command line and in the story.
        description: What is wrong, in one sentence.
        make: (rows, seed) → the export with the fault.
    """

    name: str
    description: str
    make: Callable[[int, int], pd.DataFrame]


def find_fault(name: str) -> Fault:
    """Return the fault with this name.

    Raises:
        ValueError: There is no such fault. The message lists all faults.
    """
    if name not in FAULTS:
        raise ValueError(f"there is no fault {name!r}; the known faults are {', '.join(FAULTS)}")
    return FAULTS[name]


def _with_damage(damage: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[int, int], pd.DataFrame]:
    """Return a function that simulates a correct export and then damages it."""
    return lambda rows, seed: damage(simulate_customers(rows, seed))


def _with_ground_truth(truth: GroundTruth) -> Callable[[int, int], pd.DataFrame]:
    """Return a function that simulates a correct export of customers with another ground truth."""
    return lambda rows, seed: simulate_customers(rows, seed, truth=truth)


def _spend_in_cents(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(monthly_spend=(frame["monthly_spend"] * CENTS).round())


def _garble_contracts(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(contract_type=frame["contract_type"].map({"monthly": "M2M", "annual": "12M", "multi-year": "24M+"}))


def _swap_contracts(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(contract_type=frame["contract_type"].replace({"monthly": "annual", "annual": "monthly"}))


def _drop_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="usage_hour")


def _repeat_ids(frame: pd.DataFrame) -> pd.DataFrame:
    count = min(DAMAGED_IDS, len(frame) // 2)
    ids = frame["customer_id"].tolist()
    return frame.assign(customer_id=[*ids[:-count], *ids[:count]] if count else ids)


def _lose_ids(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(customer_id=frame["customer_id"].where(np.arange(len(frame)) >= DAMAGED_IDS, None))


def _lose_logins(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(last_login_at=frame["last_login_at"].where(np.arange(len(frame)) % 2 == 0, None))


def _truncate(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.head(max(1, round(len(frame) * TRUNCATED_SHARE)))


def _spoil_labels(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(churned=frame["churned"].where(np.arange(len(frame)) % 500 != 0, 2))


def _drift_charges(frame: pd.DataFrame, *, deviations: float) -> pd.DataFrame:
    factor = np.exp(deviations * LOG_SPEND_DEVIATION)
    return frame.assign(monthly_spend=(frame["monthly_spend"] * factor).round(2))


def _make_faults() -> Mapping[str, Fault]:
    faults = [
        Fault("broken_column", "monthly_spend is in cents", _with_damage(_spend_in_cents)),
        Fault("garbled_contracts", "contract_type contains the codes of the billing system", _with_damage(_garble_contracts)),
        Fault("swapped_contracts", "monthly and annual are swapped in contract_type", _with_damage(_swap_contracts)),
        Fault("missing_column", "the export has no usage_hour", _with_damage(_drop_column)),
        Fault("duplicate_ids", "some ids occur twice", _with_damage(_repeat_ids)),
        Fault("null_ids", "some customers have no id", _with_damage(_lose_ids)),
        Fault("missing_logins", "half of last_login_at is missing", _with_damage(_lose_logins)),
        Fault("truncated", "the export ends after 30 % of its rows", _with_damage(_truncate)),
        Fault("bad_labels", "churned has a value other than 0 and 1", _with_damage(_spoil_labels)),
        Fault(
            "weak_signal",
            "the features say less about churn (all effects x 0.4)",
            _with_ground_truth(dataclasses.replace(GROUND_TRUTH, signal=0.4)),
        ),
        Fault(
            "enterprise_flipped",
            "the longer enterprises are customers, the more of them churn",
            _with_ground_truth(dataclasses.replace(GROUND_TRUTH, enterprise_factors={"tenure": -1.0})),
        ),
    ]
    faults += [
        Fault(
            f"charge_drift_{tenths}",
            f"monthly_spend has risen by 0.{tenths} standard deviations of its logarithm within a segment",
            _with_damage(partial(_drift_charges, deviations=tenths / 10)),
        )
        for tenths in (2, 4, 6, 8)
    ]
    return {fault.name: fault for fault in faults}


FAULTS: Mapping[str, Fault] = _make_faults()
"""All known faults by name."""
