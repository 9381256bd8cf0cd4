"""The story that `sluice demo` plays with this project: five acts. All but the last are commits of a data scientist.

The test layers of this project know what the warehouse exports. Production also gets requests from the mobile app, whose
timestamps have a time zone. No test covers them, and the third act shows what happens then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import TYPE_CHECKING, Literal

import numpy as np

from churn.customers import simulate_customers
from churn.data import FEATURES
from churn.simulation import SNAPSHOT_ROWS, SNAPSHOT_SEED, make_export, write_example_data, write_export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APP_SHARE = 0.15
"""The share of production's rows that come from the mobile app."""

APP_ZONES_HOURS = (-5, 0, 1, 2, 5.5, 9)
"""The offsets from UTC of the app's users, in hours."""

_BATCH_ROWS = 2_000
_LIVE_SEED = 77_000_000
_MINUTES_PER_DAY = 24 * 60

Outcome = Literal["promoted", "rolled_back", "failed", "restored"]


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one file: `old`, which occurs exactly once, is replaced by `new`.

    Attributes:
        path: The file, relative to the project.
        old: Text that occurs exactly once when the act begins.
        new: Text that replaces it.
    """

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One part of the story.

    Attributes:
        name: Short name.
        title: One line for the screen and the report.
        message: Commit message; empty for an act without a commit.
        edits: The changes of the commit, in this order, on top of the earlier acts.
        break_snapshot: The fault of `churn.faults` in the act's snapshot; None for the snapshot without a fault.
        expect: The expected result: promoted, rolled_back (by the canary), failed (in a test layer), or restored (N-1, by a
            person).
    """

    name: str
    title: str
    message: str = ""
    edits: tuple[Edit, ...] = ()
    break_snapshot: str | None = None
    expect: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A story.

    Attributes:
        prepare: Writes the snapshot and the holdout into the project's data folder.
        break_data: (fault, target) → writes a snapshot with that fault.
        live_rows: Seed → endless rows as production sends them: the features by name as JSON types, without id and label.
        acts: The acts in order. Each builds on the earlier ones.
    """

    prepare: Callable[[Path], None]
    break_data: Callable[[str, Path], None]
    live_rows: Callable[[int], Iterator[dict[str, object]]]
    acts: tuple[Act, ...]


def break_data(fault: str, target: Path) -> None:
    """Write the snapshot with a known fault.

    Raises:
        ValueError: There is no such fault.
    """
    write_export(make_export(SNAPSHOT_ROWS, SNAPSHOT_SEED, fault=fault), target)


def live_rows(seed: int) -> Iterator[dict[str, object]]:
    """Yield endless rows as production sends them. The same seed gives the same rows.

    About `APP_SHARE` of the rows come from the mobile app. Their dates are timestamps with the time zone of the user's phone. The
    other rows have dates as the warehouse exports them.
    """
    for batch in count():
        random = np.random.default_rng((_LIVE_SEED, seed, batch))
        frame = simulate_customers(_BATCH_ROWS, int(random.integers(2**32)))[list(FEATURES)].astype(object)
        from_app = random.random(_BATCH_ROWS) < APP_SHARE
        for values, is_app in zip(frame.where(frame.notna(), None).to_dict("records"), from_app, strict=True):
            row = {str(name): _as_json(value) for name, value in values.items()}
            yield _as_the_app_sends(row, random) if is_app else row


def _as_json(value: object) -> object:
    """Return a plain JSON value; None if it is missing."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain


def _as_the_app_sends(row: dict[str, object], random: np.random.Generator) -> dict[str, object]:
    """Return the same row with timestamps in the user's time zone instead of dates."""
    zone = timezone(timedelta(hours=float(random.choice(APP_ZONES_HOURS))))
    sent = dict(row)
    for column in ("signup_date", "last_login_at"):
        day = row[column]
        if isinstance(day, str):
            moment = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(minutes=int(random.integers(_MINUTES_PER_DAY)))
            sent[column] = moment.astimezone(zone).isoformat(timespec="seconds")
    return sent


_ALL_GROUPS = 'DEFAULT_FEATURES = ("account", "activity", "usage", "channel")'
_TWO_GROUPS = 'DEFAULT_FEATURES = ("account", "activity")'
_ONE_GROUP = 'DEFAULT_FEATURES = ("account",)'

_TOLERANT_DATES = """    return np.array([_read_day(value) for value in series.tolist()], dtype="float64")
"""
_STRICT_DATES = """    days = pd.to_datetime(series, format="%Y-%m-%d").to_numpy().astype("datetime64[D]")
    return np.where(np.isnat(days), np.nan, days.astype("float64"))
"""

_ACTS = (
    Act(
        name="first release",
        title="A first release goes live",
        message="Predict churn from the customer's account\n\nTenure, spend, contract and segment: enough to start with.",
        edits=(Edit("churn/model.py", _ALL_GROUPS, _ONE_GROUP),),
        expect="promoted",
    ),
    Act(
        name="better challenger",
        title="A better challenger is promoted, 5 → 25 → 100 %",
        message="Add how long ago customers signed up and last logged in",
        edits=(Edit("churn/model.py", _ONE_GROUP, _TWO_GROUPS),),
        expect="promoted",
    ),
    Act(
        name="hidden fault",
        title="A challenger that passes every offline test fails on rows that only production sends",
        message=(
            "Add hour of use and acquisition channel; read dates in one go\n\n"
            "The warehouse exports plain dates, so there is no need to look at each one: pandas reads the whole column at once."
        ),
        edits=(Edit("churn/model.py", _TWO_GROUPS, _ALL_GROUPS), Edit("churn/features.py", _TOLERANT_DATES, _STRICT_DATES)),
        expect="rolled_back",
    ),
    Act(
        name="broken snapshot",
        title="A snapshot with a broken column is stopped before training",
        message=(
            "Read timestamps with a time zone again\n\n"
            "The mobile app sends them. This reverts the faster reading of dates and retrains on the latest export."
        ),
        edits=(Edit("churn/features.py", _STRICT_DATES, _TOLERANT_DATES),),
        break_snapshot="broken_column",
        expect="failed",
    ),
    Act(name="rollback by hand", title="A person rolls production back to the previous release", expect="restored"),
)

STORY = Story(prepare=write_example_data, break_data=break_data, live_rows=live_rows, acts=_ACTS)
"""The story of this project."""
