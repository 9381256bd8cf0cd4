"""Run one server for each release: start it, watch it, and restart it after a crash, or after it has stopped answering.

The pauses before a restart grow. After three crashes in a row the server counts as failed. It is still restarted, with long
pauses.

A server hangs if it misses several liveness probes in a row and answers no request of a user in that time either. A busy server
may miss probes, but it answers some requests. Then its queue is full: it is not ready, although it keeps its traffic.

A server that has taken almost all of its memory is replaced without losing a request.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.errors import IntegrityError, SluiceError
from sluice.rollout.decisions.health import MAX_CRASHES, Health
from sluice.rollout.observations import ServerEvent
from sluice.rollout.platforms.laptop.child_processes import read_end
from sluice.rollout.platforms.laptop.launching.replacements import LOOK_SECONDS, PAUSE_SECONDS, Replacement, find_fullness
from sluice.scoring.health_probes import ANSWER_SECONDS
from sluice.scoring.server_process import GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path
    from typing import Any

    from sluice.rollout.platforms.laptop.launching.launchers import Launcher, ServerProcess

CRASH_RESET_SECONDS = 30.0
"""After it has been ready for this long, the earlier crashes of a server no longer count."""

MAX_MISSES = 3
"""After so many missed liveness probes in a row, the server hangs."""

FULL_MISSES = 2
"""After so many, the queue of a server that still answers users is full: a health check has waited in it for seconds."""

HANG_SECONDS = MAX_MISSES * ANSWER_SECONDS
"""A server that hangs has answered nothing for at least this long."""

LOG_LINES = 60
"""Lines of a log that are read to explain a failure. Few of them are shown."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class _ServerState:
    """The server of one release, and what happened to it.

    Attributes:
        preparing: The folder of the release, as soon as it is unpacked.
        process: The server; None before the start, and between a crash and the restart.
        ready_at: When the server became ready, on a clock that never goes back; None while it is not ready.
        started_at: When the process was started.
        retry_at: The process is not started again before this time.
        crashes: Crashes in a row.
        failure: Why the server counts as failed; empty while it does not.
        hung: Why the server was replaced although its process ran; empty if it was not, or if that was long ago.
        answers: The requests of users that it has answered so far.
        answered_at: When it last answered a request of a user, or became ready.
        silent_since: Since when it has answered nobody, because it hung or crashed; None while it answers or starts for the first
            time.
        log: The file with the output of its processes; None before the first start.
        log_start: The position in this file at which the output of the first of these processes begins. Before it are the lines
            of earlier rollouts of this release.
        integrity_error: Why the bytes of the release could not be verified when it was last prepared; None if they could.
        misses: The liveness probes in a row that the server did not answer while it answered users.
        replacement: The server that takes its place while it still answers, and the one whose place it took.
    """

    preparing: Future[Path] | None = None
    process: ServerProcess | None = None
    ready_at: float | None = None
    started_at: float = 0.0
    retry_at: float = 0.0
    crashes: int = 0
    failure: str = ""
    hung: str = ""
    answers: int = 0
    answered_at: float = 0.0
    silent_since: float | None = None
    log: Path | None = None
    log_start: int = 0
    integrity_error: IntegrityError | None = None
    misses: int = 0
    replacement: Replacement = field(default_factory=Replacement)

    @property
    def overload(self) -> str:
        """Why the server is not ready although it answers users; empty if it is, or if it answers nobody."""
        if self.ready_at is None or self.misses < FULL_MISSES:
            return ""
        return f"it missed {self.misses} health checks in a row, because its queue is full or a call of its model hangs"


@dataclass(slots=True)
class Servers:
    """The servers of a supervisor.

    Attributes:
        launcher: Starts the servers.
        start_timeout: A server that is not ready after this time counts as crashed, in seconds.
        notify: Called with each event, one line of text.
        memory_limit: Bytes of data that each process of a server may have; 0 if there is no limit.
        drain_seconds: How long a server that was replaced answers what it was sent.
    """

    launcher: Launcher
    start_timeout: float
    notify: Callable[[str], object]
    memory_limit: int = 0
    drain_seconds: float = 6.0
    _states: dict[str, _ServerState] = field(default_factory=dict)
    _events: list[ServerEvent] = field(default_factory=list)
    _updated_at: float = 0.0
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, thread_name_prefix="servers"))

    def set_releases(self, releases: Collection[str]) -> list[str]:
        """Serve exactly these releases; return the releases that are no longer served."""
        removed = [release for release in self._states if release not in releases]
        for release in removed:
            self._stop_all(self._states.pop(release))
        for release in releases:
            self._states.setdefault(release, _ServerState())
        return removed

    def update(self, now: float) -> None:
        """Start the servers that have to run, and record which became ready and which crashed.

        Args:
            now: Seconds of a clock that never goes back.
        """
        self._updated_at = now
        for release, state in self._states.items():
            self._drain(state, now)
            if state.process is None:
                self._start(release, state, now)
            elif not state.process.alive():
                self._record_crash(release, state, now, f"its process ended: {state.process.failure_reason()}")
            elif state.ready_at is None:
                self._check_ready(release, state, state.process, now)
            elif self._hangs(state, state.process, now):
                self._replace_hung(release, state, now)
            elif state.replacement.successor is not None:
                self._follow_successor(release, state, state.replacement.successor, now)
            elif self._is_full(state, state.process, now):
                self._start_successor(release, state, now)
            elif state.crashes and now - state.ready_at > CRASH_RESET_SECONDS:
                state.crashes, state.failure, state.hung = 0, "", ""

    def note_answers(self, answers: Mapping[str, int], now: float) -> None:
        """Note how many requests of users each server has answered so far, because a server that answers does not hang.

        Args:
            answers: Cumulative numbers, by release.
            now: Seconds of a clock that never goes back.
        """
        for release, state in self._states.items():
            if (found := answers.get(release, 0)) != state.answers:
                state.answers, state.answered_at = found, now

    def take_events(self) -> list[ServerEvent]:
        """Return what happened to the servers since the last call."""
        events, self._events = self._events, []
        return events

    def read_log(self, release: str) -> list[str]:
        """Return the last lines that a release's server has written since it was first needed; empty if there are none."""
        state = self._states.get(release)
        return read_end(state.log, LOG_LINES, start=state.log_start) if state and state.log else []

    def find_hang(self, release: str) -> str:
        """Return why a server was replaced although its process ran; empty if it was not, or if that was long ago."""
        return self._states[release].hung if release in self._states else ""

    def read_health(self) -> dict[str, Health]:
        """Return the health of each server, by release."""
        return {
            release: Health(
                ready=state.ready_at is not None and not state.overload,
                failure=state.failure,
                waiting=state.overload,
                silent_seconds=0.0 if state.silent_since is None else self._updated_at - state.silent_since,
            )
            for release, state in self._states.items()
        }

    def find_integrity_error(self, release: str) -> IntegrityError | None:
        """Return why the bytes of a release could not be verified; None if no such error is known."""
        return self._states[release].integrity_error if release in self._states else None

    def read_ports(self) -> dict[str, int | None]:
        """Return the port of each server, by release; None while a server is not ready."""
        return {
            release: state.process.port if state.process and state.ready_at is not None else None
            for release, state in self._states.items()
        }

    def find_reader_url(self, release: str) -> str | None:
        """Return the URL with which the controller reads recent requests and faults; None while the server is not ready."""
        state = self._states.get(release)
        return state.process.reader_url if state and state.process and state.ready_at is not None else None

    def describe(self) -> list[dict[str, Any]]:
        """Return each server as plain JSON types."""
        return [
            {
                "release": release,
                "pid": state.process.pid if state.process else None,
                "port": state.process.port if state.process else None,
                "ready": state.ready_at is not None and not state.overload,
                "waiting": state.overload,
                "crashes": state.crashes,
                "failure": state.failure,
                "hung": state.hung,
            }
            for release, state in self._states.items()
        ]

    def stop(self) -> None:
        """Stop all servers, and wait until they have ended."""
        self.set_releases(())
        self._threads.shutdown(wait=True)

    def _start(self, release: str, state: _ServerState, now: float) -> None:
        if now < state.retry_at:
            return
        if state.preparing is None:
            state.preparing = self._threads.submit(self.launcher.prepare, release)
        if not state.preparing.done():
            return
        try:
            # Start the server in this thread, because the kernel kills a child when the thread that started it ends.
            state.process = self.launcher.spawn(release, state.preparing.result())
        except (SluiceError, OSError) as error:
            state.crashes = max(state.crashes, MAX_CRASHES - 1)  # waiting does not repair a release that cannot be started
            state.integrity_error = error if isinstance(error, IntegrityError) else None
            self._record_crash(release, state, now, str(error))
            return
        state.started_at, state.integrity_error = now, None
        if state.log is None:
            state.log, state.log_start = state.process.log, state.process.log_start

    def _check_ready(self, release: str, state: _ServerState, process: ServerProcess, now: float) -> None:
        try:
            ready = process.poll_ready()
        except SluiceError as error:
            self._record_crash(release, state, now, str(error))
            return
        if ready:
            state.ready_at = state.answered_at = now
            state.silent_since = None
            self.notify(f"the server of {release[:19]} is ready (pid {process.pid})")
        elif now - state.started_at > self.start_timeout:
            self._record_crash(
                release, state, now, f"it was not ready within {self.start_timeout:g} s: {process.failure_reason()}"
            )

    def _hangs(self, state: _ServerState, process: ServerProcess, now: float) -> bool:
        misses, is_silent = process.count_misses(now), now - state.answered_at >= HANG_SECONDS
        state.misses = 0 if is_silent else misses  # a server without traffic, such as N-1, has no queue
        return misses >= MAX_MISSES and is_silent

    def _is_full(self, state: _ServerState, process: ServerProcess, now: float) -> bool:
        """Look at the memory of a server from time to time, and return whether it must be replaced."""
        found = state.replacement
        if not self.memory_limit or now < found.next_look:
            return False
        found.next_look = now + LOOK_SECONDS
        found.reason = find_fullness(process.read_memory(), self.memory_limit)
        return bool(found.reason)

    def _start_successor(self, release: str, state: _ServerState, now: float) -> None:
        """Start the server that takes the place of one that still answers."""
        found = state.replacement
        found.next_look = now + PAUSE_SECONDS
        if state.preparing is None or not state.preparing.done():
            return
        try:
            found.successor, found.started_at = self.launcher.spawn(release, state.preparing.result()), now
        except (SluiceError, OSError) as error:
            self.notify(f"the server of {release[:19]} must be replaced ({found.reason}), but another one cannot start: {error}")

    def _follow_successor(self, release: str, state: _ServerState, successor: ServerProcess, now: float) -> None:
        """Let the successor take over as soon as it is ready. If it fails, the present server stays."""
        found = state.replacement
        try:
            ready, failure = successor.poll_ready(), ""
        except SluiceError as error:
            ready, failure = False, str(error)
        if not ready and not failure and now - found.started_at > self.start_timeout:
            failure = f"it was not ready within {self.start_timeout:g} s"
        if failure:
            found.successor, found.next_look = None, now + PAUSE_SECONDS
            self._end(successor)
            self.notify(f"the server of {release[:19]} stays, because the one that should replace it failed: {failure}")
        elif ready:
            self._end(found.leaving)  # if an earlier one has not left yet
            found.leaving, found.leaves_at = state.process, now + self.drain_seconds
            state.process, found.successor = successor, None
            state.answered_at, state.misses = now, 0
            self._events.append(
                ServerEvent(release=release, text=f"was replaced without losing a request, because {found.reason}")
            )

    def _drain(self, state: _ServerState, now: float) -> None:
        """End a server that was replaced, as soon as it has had time to answer everything that it was sent."""
        found = state.replacement
        if found.leaving is not None and now >= found.leaves_at:
            leaving, found.leaving = found.leaving, None
            self._end(leaving)

    def _end(self, process: ServerProcess | None, *, grace: float = GRACE_SECONDS) -> None:
        """End a process in another thread, because stopping waits for it."""
        if process is not None:
            self._threads.submit(process.stop, grace=grace)

    def _stop_all(self, state: _ServerState) -> None:
        """End the server of a release, and those that replace it or were replaced."""
        self._end(state.replacement.successor)
        self._end(state.replacement.leaving)
        state.replacement = Replacement()
        self._stop_process(state)

    def _replace_hung(self, release: str, state: _ServerState, now: float) -> None:
        """Kill a server that does not answer, and start it again at once. It would not end when it is asked to."""
        state.crashes += 1
        state.silent_since = now - HANG_SECONDS
        state.hung = f"it did not answer for {HANG_SECONDS:.0f} s, so it was killed"
        if state.crashes >= MAX_CRASHES:
            state.failure = state.hung
        self._stop_process(state, grace=0.0)
        state.retry_at = now + _plan_pause(state.crashes - 1)
        self._events.append(ServerEvent(release=release, text=f"did not answer for {HANG_SECONDS:.0f} s; it was replaced"))

    def _record_crash(self, release: str, state: _ServerState, now: float, reason: str) -> None:
        state.crashes += 1
        state.silent_since = now if state.silent_since is None else state.silent_since
        self._stop_process(state)
        pause = _plan_pause(state.crashes)
        state.retry_at = now + pause
        if state.crashes >= MAX_CRASHES:
            state.failure = reason
        if state.integrity_error is None:
            self.notify(
                f"the server of {release[:19]} crashed ({state.crashes} in a row): {reason}; it starts again in {pause:.1f} s"
            )
        else:
            self.notify(f"{release[:19]} cannot be served: {reason}")

    def _stop_process(self, state: _ServerState, *, grace: float = GRACE_SECONDS) -> None:
        self._end(state.process, grace=grace)
        if state.preparing is not None and state.preparing.done():
            state.preparing = None
        found = state.replacement
        # A server that was to take its place takes it now. It is ready sooner than one that is still to be started.
        state.process, found.successor, state.started_at = found.successor, None, found.started_at
        state.ready_at, state.misses = None, 0


def _plan_pause(crashes: int) -> float:
    """Return the seconds before a restart after so many crashes in a row; 0 if there was none."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (crashes - 1)) if crashes else 0.0
