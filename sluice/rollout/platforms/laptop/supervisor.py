"""The process behind `sluice serve`. It runs Envoy, a server for each release, and the control rounds.

One thread runs about ten control rounds a second. A supervisor may be killed at any point: the next one reads the journal and
continues.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from sluice.errors import SluiceError, StateError
from sluice.project.projects import read_project
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.laptop.envoy import EnvoyProxy
from sluice.rollout.platforms.laptop.journal_file import JournalFile, open_journal_file
from sluice.rollout.platforms.laptop.microservices import MicroserviceLauncher
from sluice.rollout.platforms.laptop.platform import DRAIN_MARGIN_SECONDS, LaptopPlatform
from sluice.rollout.platforms.laptop.ports import reserve_port
from sluice.rollout.platforms.laptop.servers import Servers
from sluice.rollout.round import ControlLoop
from sluice.rollout.settings_in_force import describe_changes, plan_settings
from sluice.rollout.signals import set_on_hangup, set_on_signals
from sluice.rollout.verifications import verify_stored_releases
from sluice.scoring.resources.server_limits import MEGABYTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluice.project.projects import Project
    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.platforms.laptop.launching.launchers import Launcher

POLL_SECONDS = 0.1
_LOCK_RETRY_SECONDS = 1.0


def run_supervisor(
    project: Project,
    *,
    port: int | None = None,
    notify: Callable[[str], object] = lambda _: None,
    launcher: Launcher | None = None,
    stop: threading.Event | None = None,
    reload: threading.Event | None = None,
) -> None:
    """Serve until ctrl-C, SIGTERM or `stop`. No process that was started outlives the supervisor.

    On SIGHUP or `reload` it reads ``[rollout]`` of sluice.toml again (`sluice.rollout.settings_in_force`).

    Args:
        project: The project whose releases are served.
        port: Port of the proxy. The default is ``serving.port``; 0 chooses a free port.
        notify: Called with each event, one line of text.
        launcher: Starts the servers. The default starts Seldon microservices of the releases in the project's release store.
        stop: Ends the supervisor when it is set.
        reload: Lets the supervisor read sluice.toml again when it is set. It is cleared then.

    Raises:
        StateError: A supervisor of this project is running already.
        PortInUseError: Another process listens on the port. Nothing was started.
        ConfigurationError: A key of ``[trust]`` cannot be used.
        DataError: The journal cannot be read.
        IntegrityError: The champion's bytes are not those that were released.
        ServiceError: Envoy cannot be started, or the state folder cannot be written.
    """
    stopping, reloading = stop or threading.Event(), reload or threading.Event()
    file = open_journal_file(project)
    with _hold_lock(file), set_on_signals(stopping), contextlib.ExitStack() as stack:
        stack.enter_context(set_on_hangup(reloading, stopping))
        file.read()
        file.keep_time()
        for draft in file.folder.glob(".*.json.*"):  # left behind by a writer that was killed
            draft.unlink(missing_ok=True)
        reserved = stack.enter_context(reserve_port(project.settings.serving.port if port is None else port))
        servers = _make_servers(project, launcher or MicroserviceLauncher(project), notify)
        stack.callback(servers.stop)
        proxy = EnvoyProxy(
            folder=file.folder / "envoy",
            port=reserved.getsockname()[1],
            request_timeout_seconds=project.settings.rollout.request_timeout_seconds,
            slow_seconds=project.settings.rollout.slow_seconds,
        )
        stack.callback(proxy.stop)
        stack.callback(file.write_status, {})
        platform = LaptopPlatform(project, file, servers, proxy, notify, reserved.close, verify_stored_releases(project).verify)
        loop = ControlLoop(platform, project.settings.rollout, notify, file.clock)
        _run_rounds(loop, platform, stopping, _SettingsReader(project, loop, platform, reloading, notify))
        notify("stopping the proxy and all servers")


def _make_servers(project: Project, launcher: Launcher, notify: Callable[[str], object]) -> Servers:
    settings = project.settings
    return Servers(
        launcher,
        settings.serving.start_timeout_seconds,
        notify,
        memory_limit=settings.serving.memory_megabytes * MEGABYTE,
        drain_seconds=settings.rollout.request_timeout_seconds + DRAIN_MARGIN_SECONDS,
    )


@dataclass(slots=True)
class _SettingsReader:
    """Reads ``[rollout]`` again when a person asks for it, and lets it apply as soon as no rollout is running."""

    project: Project
    loop: ControlLoop
    platform: LaptopPlatform
    asked: threading.Event
    notify: Callable[[str], object]
    _wanted: RolloutTable | None = None

    def apply_changes(self) -> None:
        """Read the file if a person asked for it, and apply what was read if no rollout is running.

        Raises:
            DataError: The journal cannot be read.
        """
        if self.asked.is_set():
            self.asked.clear()
            self._read()
        if self._wanted is None or self.platform.file.read().request is not None:
            return
        wanted, self._wanted = self._wanted, None
        self.notify(f"sluice.toml was read again: {describe_changes(self.loop.settings, wanted) or 'nothing has changed'}")
        settings = plan_settings(self.loop.settings, wanted)
        self.loop.use_settings(settings)
        self.platform.use_settings(settings)

    def _read(self) -> None:
        """Read the file. A file with an error changes nothing."""
        try:
            self._wanted = read_project(self.project.root).settings.rollout
        except SluiceError as error:
            self.notify(f"the settings stay as they are, because sluice.toml cannot be used: {error.message}")
            return
        if self.platform.file.read().request is not None:
            self.notify("sluice.toml was read again; its [rollout] applies when the running rollout has ended")


def _run_rounds(loop: ControlLoop, platform: LaptopPlatform, stopping: threading.Event, settings: _SettingsReader) -> None:
    """Run control rounds until `stopping` is set.

    Once the proxy runs, no error may end the traffic. The supervisor reports each error once, and the next round tries again.
    """
    last_problem = ""
    while not stopping.is_set():
        started = time.monotonic()
        try:
            settings.apply_changes()
            loop.run_round()
            last_problem = ""
        except ConflictError:
            continue  # another process wrote the journal, so the next round reads it again
        except (SluiceError, OSError) as error:
            if not platform.started:
                raise
            if str(error) != last_problem:
                loop.notify(f"problem: {error}")
                with contextlib.suppress(OSError):
                    platform.report_problem(str(error))
            last_problem = str(error)
        stopping.wait(max(0.0, POLL_SECONDS - (time.monotonic() - started)))


@contextlib.contextmanager
def _hold_lock(file: JournalFile) -> Iterator[None]:
    """Be the only supervisor of this project. The kernel frees the lock however the process ends."""
    file.folder.mkdir(parents=True, exist_ok=True)
    with file.lock_path.open("ab") as lock, file.alive_path.open("ab") as alive:
        deadline = time.monotonic() + _LOCK_RETRY_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                pid = file.read_status().get("pid", "unknown")
                raise StateError(
                    f"a supervisor of this project is running already (pid {pid})",
                    hint="Use that supervisor, or end it with ctrl-C in its terminal.",
                )
            time.sleep(POLL_SECONDS)
        file.write_status({"pid": os.getpid()})
        fcntl.flock(alive, fcntl.LOCK_EX)  # this waits, because a process that only looks holds the lock for an instant
        yield


def _try_lock(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
