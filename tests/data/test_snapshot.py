"""Layer 2: the snapshot, checked by Great Expectations.

The expectations are evaluated on the export itself and not on the loader's result. What the loader rejects is therefore reported
here with its counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.data import COLUMNS, read_export
from churn.expectations import DATES, LATEST_DATE, expect_snapshot
from sluice.checks.expectations import run_expectations

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.checks.suites.inputs import PinnedData


def test_the_snapshot_meets_the_expectations(snapshot: PinnedData, verify: Callable[..., None]) -> None:
    """Ids, null shares, sets, ranges, means and the number of rows are as expected."""
    verify(run_expectations(read_export(snapshot.path), expect_snapshot(), name="customers"))


def test_the_loader_accepts_the_snapshot(snapshot: PinnedData) -> None:
    """The training data meets the contract of the loader."""
    assert tuple(snapshot.frame.columns) == COLUMNS


def test_no_date_is_later_than_the_export(snapshot: PinnedData) -> None:
    """No date tells what happened after the label was decided."""
    frame = snapshot.frame
    late = {name: int((frame[name].dropna() > LATEST_DATE).sum()) for name in DATES}
    assert late == dict.fromkeys(DATES, 0), f"rows with a date after {LATEST_DATE}: {late}"


def test_both_labels_occur(snapshot: PinnedData) -> None:
    """There are customers who left and customers who stayed, also among enterprises."""
    frame = snapshot.frame
    assert set(frame["churned"]) == {0, 1}
    assert set(frame.loc[frame["is_enterprise"], "churned"]) == {0, 1}
