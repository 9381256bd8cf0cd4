"""Layer 2: the snapshot, by Great Expectations.

The expectations look at the export as it is, not through the loader: what the loader refuses is shown here with its counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.data import COLUMNS, read_export
from churn.expectations import expect_snapshot
from sluice.checks.expectations import run_expectations

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.checks.suites.inputs import PinnedData


def test_expectations(snapshot: PinnedData, verify: Callable[..., None]) -> None:
    """Ids, null rates, sets, ranges, means and the number of rows are as expected."""
    verify(run_expectations(read_export(snapshot.path), expect_snapshot(), name="customers"))


def test_the_loader_takes_the_snapshot(snapshot: PinnedData) -> None:
    """What training will read keeps the loader's contract."""
    assert tuple(snapshot.frame.columns) == COLUMNS


def test_both_labels_are_there(snapshot: PinnedData) -> None:
    """There is something to learn: customers who left and customers who stayed, also among enterprises."""
    frame = snapshot.frame
    assert set(frame["churned"]) == {0, 1}
    assert set(frame.loc[frame["is_enterprise"], "churned"]) == {0, 1}
