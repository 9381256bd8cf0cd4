"""What layer 2 expects of a snapshot, as expectations of Great Expectations: about values, their shares and the number of rows.

The expectations are evaluated on the export itself and not on the loader's result. What the loader rejects is therefore reported
here too, with its counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.customers import AS_OF
from churn.data import COLUMNS, ID, LABEL
from sluice.checks.expectations import switch_telemetry_off

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from great_expectations.expectations import Expectation

MIN_ROWS, MAX_ROWS = 10_000, 5_000_000

CONTRACT_TYPES = ("monthly", "annual", "multi-year")
CHANNELS = ("search", "referral", "partner", "social", "email", "affiliate")

RANGES: Mapping[str, tuple[float, float]] = {
    "tenure_months": (0, 240),
    "monthly_spend": (0, 10_000),
    "usage_hour": (0, 23),
}
"""Column → smallest and largest value."""

MEANS: Mapping[str, tuple[float, float]] = {
    "tenure_months": (6, 60),
    "monthly_spend": (20, 400),
    "is_enterprise": (0.04, 0.15),
    LABEL: (0.10, 0.35),
}
"""Column → smallest and largest mean."""

MAX_NULL_SHARES: Mapping[str, float] = {
    "tenure_months": 0.0,
    "contract_type": 0.0,
    "is_enterprise": 0.0,
    "signup_date": 0.0,
    "monthly_spend": 0.05,
    "last_login_at": 0.10,
    "usage_hour": 0.10,
    "acquisition_channel": 0.10,
    LABEL: 0.0,
}
"""Column → largest share of missing values."""

ISO_DATE = r"^\d{4}-\d{2}-\d{2}$"

DATES = ("signup_date", "last_login_at")

LATEST_DATE = str(AS_OF)
"""No date is later than the day of the export. A later one would tell what happened after the label was decided."""


def expect_snapshot() -> list[Expectation]:
    """Return all expectations about the snapshot. They are not bound to data."""
    gxe = _import_library()
    return [
        *_expect_table(gxe),
        gxe.ExpectColumnValuesToNotBeNull(column=ID),
        gxe.ExpectColumnValuesToBeUnique(column=ID),
        *(gxe.ExpectColumnValuesToNotBeNull(column=name, mostly=1.0 - share) for name, share in MAX_NULL_SHARES.items()),
        *_expect_values(gxe),
        *(gxe.ExpectColumnMeanToBeBetween(column=name, min_value=low, max_value=high) for name, (low, high) in MEANS.items()),
    ]


def _import_library() -> ModuleType:
    """Import Great Expectations after switching its telemetry off.

    The import takes seconds, and layer 3 imports this module without needing it.
    """
    switch_telemetry_off()
    import great_expectations.expectations  # noqa: PLC0415

    library: ModuleType = great_expectations.expectations
    return library


def _expect_table(gxe: ModuleType) -> list[Expectation]:
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=MIN_ROWS, max_value=MAX_ROWS),
        gxe.ExpectTableColumnsToMatchSet(column_set=list(COLUMNS), exact_match=False),
    ]


def _expect_values(gxe: ModuleType) -> list[Expectation]:
    """Return the expectations about sets, ranges and formats. The null shares cover missing values."""
    return [
        gxe.ExpectColumnValuesToBeInSet(column="contract_type", value_set=list(CONTRACT_TYPES)),
        # A new channel is not an error of the export, unless more than a tenth of the customers come from unknown channels.
        gxe.ExpectColumnValuesToBeInSet(column="acquisition_channel", value_set=list(CHANNELS), mostly=0.9),
        gxe.ExpectColumnValuesToBeInSet(column="is_enterprise", value_set=[True, False]),
        gxe.ExpectColumnValuesToBeInSet(column=LABEL, value_set=[0, 1]),
        *(gxe.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high) for name, (low, high) in RANGES.items()),
        *(gxe.ExpectColumnValuesToMatchRegex(column=name, regex=ISO_DATE) for name in DATES),
    ]
