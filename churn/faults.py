"""The known faults of an export: what the four layers are there to catch, each with a name and a sentence.

Two kinds: the file is wrong (a column, the ids, the number of rows), or the world is (the features say less, or
something else).
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
        name: What the command and the story call it.
        description: What is wrong, one sentence.
        make: (rows, seed) → the export with the fault.
    """

    name: str
    description: str
    make: Callable[[int, int], pd.DataFrame]


def find_fault(name: str) -> Fault:
    """The fault of that name.

    Raises:
        ValueError: There is none; the message lists all.
    """
    if name not in FAULTS:
        raise ValueError(f"there is no fault {name!r}; the known ones are {', '.join(FAULTS)}")
    return FAULTS[name]


def _with_damage(damage: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[int, int], pd.DataFrame]:
    """A right export, then a wrong step on its way into the file."""
    return lambda rows, seed: damage(simulate_customers(rows, seed))


def _with_ground_truth(truth: GroundTruth) -> Callable[[int, int], pd.DataFrame]:
    """A right export of a world that is another."""
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
        Fault("garbled_contracts", "contract_type has the billing system's codes", _with_damage(_garble_contracts)),
        Fault("swapped_contracts", "monthly and annual are swapped in contract_type", _with_damage(_swap_contracts)),
        Fault("missing_column", "usage_hour is not in the export", _with_damage(_drop_column)),
        Fault("duplicate_ids", "some customers are there twice under one id", _with_damage(_repeat_ids)),
        Fault("null_ids", "some customers have no id", _with_damage(_lose_ids)),
        Fault("missing_logins", "half of last_login_at is missing", _with_damage(_lose_logins)),
        Fault("truncated", "the export broke off after 30 % of its rows", _with_damage(_truncate)),
        Fault("bad_labels", "churned has a third value", _with_damage(_spoil_labels)),
        Fault(
            "weak_signal",
            "the features say less about churn (effects x .4)",
            _with_ground_truth(dataclasses.replace(GROUND_TRUTH, signal=0.4)),
        ),
        Fault(
            "enterprise_flipped",
            "enterprises leave the more, the longer they are customers",
            _with_ground_truth(dataclasses.replace(GROUND_TRUTH, enterprise_factors={"tenure": -1.0})),
        ),
    ]
    faults += [
        Fault(
            f"charge_drift_{tenths}",
            f"monthly_spend has risen by .{tenths} standard deviations (of its logarithm, within a segment)",
            _with_damage(partial(_drift_charges, deviations=tenths / 10)),
        )
        for tenths in (2, 4, 6, 8)
    ]
    return {fault.name: fault for fault in faults}


FAULTS: Mapping[str, Fault] = _make_faults()
"""All known faults by name."""
