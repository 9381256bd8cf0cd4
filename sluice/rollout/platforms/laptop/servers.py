"""One server for each release that has a place: started, watched, restarted with growing pauses, given up when it crash-loops."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sluice.errors import IntegrityError, SluiceError
from sluice.rollout.decisions.health import MOST_CRASHES, Health

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path
    from typing import Any

STEADY_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


class ServerProcess(Protocol):
    """A started server."""

    @property
    def pid(self) -> int:
        """Of the process."""

    @property
    def port(self) -> int:
        """Where it listens on the loopback interface; to be relied on once it is ready."""

    def alive(self) -> bool:
        """Whether the process runs."""

    def poll_ready(self) -> bool:
        """Whether it is ready; never blocks.

        Raises:
            ServiceError: It has ended.
        """

    def failure_reason(self) -> str:
        """Why it ended, as far as its log tells."""

    def stop(self) -> None:
        """End it and wait; called once, from another thread."""


class Launcher(Protocol):
    """How servers of releases are started."""

    def prepare(self, release: str) -> Path:
        """Verify and unpack a release; may take a while.

        Raises:
            SluiceError: The release is not sound.
        """

    def spawn(self, release: str, folder: Path) -> ServerProcess:
        """Start its server and come back at once; the server dies with this process."""

    def mark(self, champion: str | None, previous: str | None) -> None:
        """Let the release store's tags follow the journal."""


@dataclass(slots=True)
class _Kept:
    """A release that shall be served.

    Attributes:
        preparing: Its folder, as soon as it is unpacked.
        process: Its server; None between a crash and the restart.
        ready_at: When it became ready, on the servers' clock.
        started_at: When the process was started.
        retry_at: Not before that is it started again.
        crashes: In a row.
        failure: Why it was given up on; it goes on being restarted, with long pauses.
        damage: What was wrong with the release's own bytes when it was last prepared; None where nothing.
    """

    preparing: Future[Path] | None = None
    process: ServerProcess | None = None
    ready_at: float | None = None
    started_at: float = 0.0
    retry_at: float = 0.0
    crashes: int = 0
    failure: str = ""
    damage: IntegrityError | None = None


@dataclass(slots=True)
class Servers:
    """The servers of a supervisor.

    Attributes:
        launcher: Starts them.
        start_timeout: Seconds until a server that is not ready counts as crashed.
        notify: Told what happens, one line at a time.
    """

    launcher: Launcher
    start_timeout: float
    notify: Callable[[str], object]
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, thread_name_prefix="servers"))

    def keep(self, releases: Collection[str]) -> list[str]:
        """Let exactly these be served; gives those that were stopped."""
        gone = [release for release in self._kept if release not in releases]
        for release in gone:
            self._end(self._kept.pop(release))
        for release in releases:
            self._kept.setdefault(release, _Kept())
        return gone

    def tend(self, now: float) -> None:
        """Start what shall run, notice what became ready or died. `now` is a clock that never goes back."""
        for release, kept in self._kept.items():
            if kept.process is None:
                self._start(release, kept, now)
            elif not kept.process.alive():
                self._crash(release, kept, now, f"its process ended: {kept.process.failure_reason()}")
            elif kept.ready_at is None:
                self._ask(release, kept, kept.process, now)
            elif kept.crashes and now - kept.ready_at > STEADY_SECONDS:
                kept.crashes, kept.failure = 0, ""

    def health(self) -> dict[str, Health]:
        """How each is."""
        return {release: Health(ready=kept.ready_at is not None, failure=kept.failure) for release, kept in self._kept.items()}

    def damage(self, release: str) -> IntegrityError | None:
        """What was wrong with a release's own bytes; None where nothing is known to be."""
        return self._kept[release].damage if release in self._kept else None

    def ports(self) -> dict[str, int | None]:
        """Where each listens; None while it is not ready."""
        return {
            release: kept.process.port if kept.process and kept.ready_at is not None else None
            for release, kept in self._kept.items()
        }

    def describe(self) -> list[dict[str, Any]]:
        """Each as plain JSON types."""
        return [
            {
                "release": release,
                "pid": kept.process.pid if kept.process else None,
                "port": kept.process.port if kept.process else None,
                "ready": kept.ready_at is not None,
                "crashes": kept.crashes,
                "failure": kept.failure,
            }
            for release, kept in self._kept.items()
        ]

    def stop(self) -> None:
        """End all of them."""
        self.keep(())
        self._threads.shutdown(wait=True)

    def _start(self, release: str, kept: _Kept, now: float) -> None:
        if now < kept.retry_at:
            return
        if kept.preparing is None:
            kept.preparing = self._threads.submit(self.launcher.prepare, release)
        if not kept.preparing.done():
            return
        try:
            # In this thread: the kernel ties a child's life to that of the thread that started it.
            kept.process = self.launcher.spawn(release, kept.preparing.result())
        except (SluiceError, OSError) as error:
            kept.crashes = max(kept.crashes, MOST_CRASHES - 1)  # what cannot be started does not become so by waiting
            kept.damage = error if isinstance(error, IntegrityError) else None
            self._crash(release, kept, now, str(error))
            return
        kept.started_at, kept.damage = now, None

    def _ask(self, release: str, kept: _Kept, process: ServerProcess, now: float) -> None:
        try:
            ready = process.poll_ready()
        except SluiceError as error:
            self._crash(release, kept, now, str(error))
            return
        if ready:
            kept.ready_at = now
            self.notify(f"{release[:19]} is ready (pid {process.pid})")
        elif now - kept.started_at > self.start_timeout:
            self._crash(release, kept, now, f"it was not ready within {self.start_timeout:g} s: {process.failure_reason()}")

    def _crash(self, release: str, kept: _Kept, now: float, what: str) -> None:
        kept.crashes += 1
        self._end(kept)
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (kept.crashes - 1))
        kept.retry_at = now + pause
        if kept.crashes >= MOST_CRASHES:
            kept.failure = what
        if kept.damage is None:
            self.notify(f"{release[:19]} failed, {kept.crashes} in a row: {what}; again in {pause:.1f} s")
        else:
            self.notify(f"{release[:19]} cannot be served: {what}")

    def _end(self, kept: _Kept) -> None:
        if kept.process is not None:
            self._threads.submit(kept.process.stop)  # waits for the process: the control loop must not
        if kept.preparing is not None and kept.preparing.done():
            kept.preparing = None
        kept.process = kept.ready_at = None
