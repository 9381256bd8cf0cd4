"""The windows of the monitor, and the decision to start a retraining. Everything here is pure: state and time in, state out.

Time is cut into slices. A window is the sum of the last slices, and moves on by one slice. Each window is judged once, when its
last slice is complete, by the rule of `sluice drift`. Two things keep repeated looks from adding up to false alarms:

1. A look uses the level ``drift.alpha / PLANNED_LOOKS``. By the union bound, the probability of any false alarm in 10,000 looks
   is then at most ``drift.alpha``, however much the windows overlap. With 1,000 rows or more this costs no power, because the
   threshold of the index is the stricter condition there.
2. Drift in one window is only a suspicion. The next window that has no row in common with it must show drift of the same column
   too. So a short burst of unusual requests starts nothing, and both windows are of the same length, so that the same hours of
   the day are in both.

docs/statistics.md says what is claimed, and where it was measured.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from sluice.drift.comparisons import DriftRule, compare_profile
from sluice.drift.profiles import DriftProfile
from sluice.drift.references import VERSION
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.drift.comparisons import DriftResult
    from sluice.drift.references import DriftReference
    from sluice.project.tables.drift import DriftTable
    from sluice.project.tables.services.monitor import MonitorTable

PLANNED_LOOKS = 10_000
"""The level of the whole sequence of looks is divided by this. With a slice of one hour, 10,000 looks take 14 months."""

_FORMAT, _STATE_VERSION = "sluice-monitor-state", 1


class Look(StrEnum):
    """What a look at the windows found."""

    TOO_FEW_ROWS = "too few rows"
    STEADY = "steady"
    SUSPECTED = "suspected"
    NOT_CONFIRMED = "not confirmed"
    FIRED = "fired"
    COOLING_DOWN = "cooling down"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlan:
    """How windows are cut and judged.

    Attributes:
        window: Seconds of a window.
        slice: Seconds of a slice.
        cooldown: Seconds after a start in which there is no other start.
        rule: When a column has drifted in one look.
    """

    window: float
    slice: float
    cooldown: float
    rule: DriftRule


def read_window_plan(monitor: MonitorTable, drift: DriftTable) -> WindowPlan:
    """Return the plan of the tables ``[monitor]`` and ``[drift]``."""
    rule = DriftRule(
        threshold=drift.threshold, alpha=drift.alpha / PLANNED_LOOKS, least_rows=max(drift.least_rows, monitor.least_rows)
    )
    return WindowPlan(window=monitor.window_seconds, slice=monitor.slice_seconds, cooldown=monitor.cooldown_seconds, rule=rule)


@dataclass(frozen=True, slots=True)
class Slice:
    """The counts of one slice. `start` is in seconds since the epoch, a multiple of the slice's length."""

    start: float
    profile: DriftProfile


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Drift in one window that the next disjoint window must confirm.

    Attributes:
        since: End of that window, in seconds since the epoch. The next one begins here.
        columns: The columns that had drifted.
    """

    since: float
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """A retraining that the monitor starts.

    Attributes:
        key: The idempotency key.
        time: When drift was confirmed, in seconds since the epoch. The cooldown begins here.
        columns: The columns that have drifted.
        run: Id of the run; empty while it is not started yet.
    """

    key: str
    time: float
    columns: tuple[str, ...]
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """All that the monitor remembers.

    Attributes:
        reference: Digest of the reference whose bins the slices have.
        slices: The slices of the last window with rows, oldest first.
        judged: End of the last window that was judged; 0 if there is none.
        suspicion: Drift that waits for its confirmation.
        start: The last start.
    """

    reference: str
    slices: tuple[Slice, ...] = ()
    judged: float = 0.0
    suspicion: Suspicion | None = None
    start: Start | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON types, without the new categories, so that it has counts only."""
        return {
            "format": _FORMAT,
            "version": _STATE_VERSION,
            "counts_version": VERSION,
            "reference": self.reference,
            "slices": [
                {"start": one.start, "profile": dataclasses.replace(one.profile, new={}).to_dict()} for one in self.slices
            ],
            "judged": self.judged,
            "suspicion": dataclasses.asdict(self.suspicion) if self.suspicion else None,
            "start": dataclasses.asdict(self.start) if self.start else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote. Counts that another version of Sluice made are dropped, and the last start is kept.

        Raises:
            DataError: It is something else, another version, or damaged.
        """
        found = (values.get("format"), values.get("version"))
        if found != (_FORMAT, _STATE_VERSION):
            raise DataError(
                f"the monitor's state is {found[0]!r} of version {found[1]!r}, not {_FORMAT!r} of version {_STATE_VERSION}",
                hint="Delete the file. The monitor then counts from the beginning.",
            )
        if values.get("counts_version") != VERSION:
            values = {**values, "slices": [], "suspicion": None}
        try:
            suspicion, start = values["suspicion"], values["start"]
            return cls(
                reference=str(values["reference"]),
                slices=tuple(Slice(float(one["start"]), DriftProfile.from_dict(one["profile"])) for one in values["slices"]),
                judged=float(values["judged"]),
                suspicion=Suspicion(float(suspicion["since"]), tuple(suspicion["columns"])) if suspicion else None,
                start=Start(str(start["key"]), float(start["time"]), tuple(start["columns"]), str(start["run"]))
                if start
                else None,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the monitor's state is damaged: {error}", hint="Delete the file. The monitor then counts from the beginning."
            ) from error


def swap_reference(state: WatchState, digest: str) -> WatchState:
    """Return the state for a new champion's reference: without any slice, and with the cooldown of the last start."""
    return state if state.reference == digest else WatchState(reference=digest, start=state.start)


def add_rows(state: WatchState, profile: DriftProfile, now: float, plan: WindowPlan) -> WatchState:
    """Add rows that have just arrived to the present slice.

    Raises:
        ValueError: They were counted in the bins of another reference.
    """
    if profile.reference != state.reference:
        raise ValueError("the rows were counted in the bins of another reference")
    if not profile.rows:
        return state
    start = now // plan.slice * plan.slice
    *before, last = state.slices or (None,)
    if last is not None and last.start >= start:  # also if the clock was set back
        return dataclasses.replace(state, slices=(*before, Slice(last.start, last.profile.merge(profile))))
    return dataclasses.replace(state, slices=(*state.slices, Slice(start, profile)))


def sum_slices(state: WatchState, since: float, until: float) -> DriftProfile:
    """Return the counts of the slices that lie between two times."""
    profiles = (one.profile for one in state.slices if since <= one.start < until)
    return functools.reduce(DriftProfile.merge, profiles, DriftProfile(reference=state.reference))


def advance(
    state: WatchState, reference: DriftReference, now: float, plan: WindowPlan, *, project: str
) -> tuple[WatchState, Look | None, DriftResult | None]:
    """Judge the windows if a slice is complete.

    Args:
        state: The present state.
        reference: The champion's reference, whose digest the state has.
        now: Seconds since the epoch.
        plan: How windows are cut and judged.
        project: Name of the project, for the idempotency key.

    Returns:
        The new state. What the look found; None if no slice has ended since the last look. And the comparison of the window; None
        if it has too few rows.
    """
    end = now // plan.slice * plan.slice
    if end <= state.judged or not any(one.start < end for one in state.slices):
        return state, None, None
    state = dataclasses.replace(state, judged=end, slices=tuple(one for one in state.slices if one.start >= end - plan.window))
    window = sum_slices(state, end - plan.window, end)
    suspicion = state.suspicion
    is_next = suspicion is not None and end >= suspicion.since + plan.window
    if window.rows < plan.rule.least_rows:
        return dataclasses.replace(state, suspicion=None if is_next else suspicion), Look.TOO_FEW_ROWS, None
    result = compare_profile(reference, window, plan.rule)
    if state.start is not None and now < state.start.time + plan.cooldown:
        return dataclasses.replace(state, suspicion=None), Look.COOLING_DOWN, result
    if suspicion is None:
        return (*_suspect(state, result, end), result)
    if not is_next:
        return state, Look.SUSPECTED, result
    return (*_confirm(state, suspicion, result, end, project=project), result)


def _suspect(state: WatchState, result: DriftResult, end: float) -> tuple[WatchState, Look]:
    if not result.drifted:
        return state, Look.STEADY
    return dataclasses.replace(state, suspicion=Suspicion(end, tuple(result.drifted))), Look.SUSPECTED


def _confirm(
    state: WatchState, suspicion: Suspicion, result: DriftResult, end: float, *, project: str
) -> tuple[WatchState, Look]:
    """Judge the window after a suspicion. The suspicion ends either way, so that waiting gives no second chance."""
    drifted = [name for name in result.drifted if name in suspicion.columns]
    state = dataclasses.replace(state, suspicion=None)
    if not drifted:
        return state, Look.NOT_CONFIRMED
    start = Start(name_start(project, state.reference, suspicion.since), end, tuple(drifted))
    return dataclasses.replace(state, start=start), Look.FIRED


def name_start(project: str, reference: str, since: float) -> str:
    """Return the idempotency key of a start. The same drift of the same champion gives the same key, also after a restart."""
    return f"drift-{hashlib.sha256(f'{project} {reference} {since:.0f}'.encode()).hexdigest()[:24]}"
