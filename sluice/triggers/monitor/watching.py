"""The monitor's loop: count what has arrived, judge the windows, write the state, start a retraining, follow the champion."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.errors import SluiceError
from sluice.rollout.clocks import REAL_CLOCK
from sluice.triggers.monitor.duplicates import SeenEvents
from sluice.triggers.monitor.payloads import RequestCounter
from sluice.triggers.monitor.state_files import find_state_file, read_state, write_state
from sluice.triggers.monitor.windows import Look, WatchState, add_rows, advance, read_window_plan, swap_reference
from sluice.triggers.service_logs import log, logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluice.drift.references import DriftReference
    from sluice.project.projects import Project
    from sluice.rollout.clocks import Clock
    from sluice.triggers.monitor.events import Event
    from sluice.triggers.monitor.metrics import MonitorMetrics
    from sluice.triggers.starters import RetrainingStarter

STEP_SECONDS = 0.2
"""Pause between two rounds. The events of one pause are counted together."""

RETRY_SECONDS = 60.0
"""Pause between two tries to start a retraining."""

STALLED_SECONDS = 120.0
"""After this time without a round, the monitor counts as hanging. Starting a run is the longest part of a round."""

_MOST_AT_ONCE = 5_000
_LEAST_EVENT_BYTES = 200  # what an event takes in memory besides its data


@dataclass(slots=True)
class _Due:
    """When something happens next, in seconds of the steady clock."""

    reference: float = 0.0
    flush: float = 0.0
    start: float = 0.0


class Monitor:
    """Counts events and starts a retraining. One thread calls `step` or `run`; any thread may call the other methods."""

    def __init__(
        self,
        project: Project,
        read_reference: Callable[[], DriftReference],
        starter: RetrainingStarter,
        metrics: MonitorMetrics,
        *,
        clock: Clock = REAL_CLOCK,
    ) -> None:
        """Read the state.

        Args:
            project: The project, whose settings say how to watch.
            read_reference: Returns the champion's present reference.
            starter: What starts the retraining.
            metrics: What Prometheus reads.
            clock: The clock.

        Raises:
            DataError: The state is damaged.
        """
        self.project, self.settings = project, project.settings.monitor
        self.plan = read_window_plan(self.settings, project.settings.drift)
        self.metrics = metrics
        self._read_reference, self._starter, self._clock = read_reference, starter, clock
        self._file = find_state_file(project)
        self._seen = SeenEvents(self.settings.remembered_ids)
        self._waiting: deque[tuple[Event, int]] = deque()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._counter: RequestCounter | None = None
        self._state: WatchState | None = read_state(self._file)
        self._changed = False
        self._due = _Due()
        self._stepped = clock.steady()

    @property
    def state(self) -> WatchState | None:
        """All that the monitor remembers; None before it had a reference."""
        return self._state

    @property
    def is_ready(self) -> bool:
        """Whether there is a reference, so that events can be counted."""
        return self._counter is not None

    @property
    def is_alive(self) -> bool:
        """Whether the loop continues."""
        return self._clock.steady() - self._stepped < STALLED_SECONDS

    def put(self, events: Sequence[Event], size: int) -> bool:
        """Take events that will be counted soon.

        Args:
            events: The events.
            size: Bytes of the HTTP request that brought them.

        Returns:
            False if too many bytes wait already, or if there is no reference. Then none was taken.
        """
        taken = size + _LEAST_EVENT_BYTES * len(events)
        with self._lock:
            if self._counter is None or self._waiting_bytes + taken > self.settings.max_waiting_bytes:
                return False
            self._waiting_bytes += taken
            share = taken // max(1, len(events))
            self._waiting.extend((event, share) for event in events)
            if events:
                self._waiting_bytes -= taken - share * len(events)
            else:
                self._waiting_bytes -= taken
        return True

    def run(self, stopping: threading.Event) -> None:
        """Repeat `step` until the event is set, and write the state at the end.

        After an unexpected error the loop ends, so that `is_alive` becomes false and the service is started again.
        """
        try:
            while not stopping.wait(STEP_SECONDS):
                self.step()
            self.step()
        except Exception:  # noqa: BLE001 - the health must show any error
            logger.exception("the loop has ended after an unexpected error")
            return
        self.flush()

    def step(self) -> None:
        """Do what is due."""
        steady = self._clock.steady()
        if steady >= self._due.reference:
            self._due.reference = steady + self.settings.reference_seconds
            self._follow_champion()
        if self._counter is not None:
            while self._count(self._counter):
                pass
            self._judge(self._counter)
            self._start(steady)
        if steady >= self._due.flush:
            self._due.flush = steady + self.settings.flush_seconds
            self.flush()
        self._stepped = self._clock.steady()

    def flush(self) -> None:
        """Write the state if it has changed. If that fails, the next flush tries again."""
        if self._state is None or not self._changed:
            return
        try:
            write_state(self._file, self._state)
        except SluiceError as error:
            self.metrics.add_failure("state")
            log("the state cannot be written", reason=error.message)
            return
        self._changed = False
        self.metrics.show_flush(self._clock.now())

    def _follow_champion(self) -> None:
        try:
            reference = self._read_reference()
        except SluiceError as error:  # the present reference stays in use
            self.metrics.add_failure("reference")
            log("the reference cannot be read", reason=error.message)
            return
        digest = reference.digest
        if self._counter is not None and self._counter.digest == digest:
            return
        if self._counter is not None:
            while self._count(self._counter):  # what arrived before belongs to the former champion
                pass
        state = self._state or WatchState(reference=digest)
        log("the reference has changed", reference=digest, rows=reference.rows, columns=len(reference.columns))
        self._keep(swap_reference(state, digest))
        self.metrics.show_reference(reference.rows, reference.columns)
        self._counter = RequestCounter(reference)

    def _count(self, counter: RequestCounter) -> bool:
        """Count some of the waiting events, and return whether there were any."""
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE))]
        if not taken:
            return False
        new = [event.data for event, _ in taken if self._seen.add(event.identity)]
        counted = counter.count(new)
        self.metrics.add_events("duplicate", len(taken) - len(new))
        self.metrics.add_events("counted", counted.requests)
        self.metrics.add_rows(counted.profile.rows)
        for reason, number in counted.unusable.items():
            self.metrics.add_unusable(reason, number)
        if self._state is not None and counted.profile.rows:
            self._keep(add_rows(self._state, counted.profile, self._clock.now(), self.plan))
        with self._lock:
            self._waiting_bytes -= sum(share for _, share in taken)
        return True

    def _judge(self, counter: RequestCounter) -> None:
        if self._state is None:
            return
        name = self.project.settings.project.name
        state, look, result = advance(self._state, counter.reference, self._clock.now(), self.plan, project=name)
        if look is None:
            return
        self._keep(state)
        self.metrics.show_look(look.value, result)
        log("a window was judged", found=look.value, rows=result.rows if result else 0, drifted=result.drifted if result else [])
        if look is Look.FIRED:
            self.flush()  # a restart then tries the same start again, under the same key

    def _start(self, steady: float) -> None:
        """Start the retraining that was decided and is not started yet."""
        state = self._state
        if state is None or state.start is None or state.start.run or steady < self._due.start:
            return
        try:
            run = self._starter.submit(self.settings.pipeline, {}, key=state.start.key)
        except SluiceError as error:
            self._due.start = steady + RETRY_SECONDS
            self.metrics.add_start(started=False)
            log("the retraining cannot be started", reason=error.message, key=state.start.key)
            return
        self._keep(dataclasses.replace(state, start=dataclasses.replace(state.start, run=run)))
        self.metrics.add_start(started=True)
        log("a retraining was started", run=run, key=state.start.key, columns=state.start.columns)
        self.flush()

    def _keep(self, state: WatchState) -> None:
        if state is not self._state:
            self._state, self._changed = state, True
