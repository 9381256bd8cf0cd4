"""What `sluice serve` runs: it owns Envoy and a server for each release that has a place, and makes the journal come true.

One thread, about ten rounds a second: read the journal and the proxy's counters, decide (``plan``), write the
decision, apply it, see that the proxy has followed. Killed at any point, the next supervisor goes on from the
journal.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from typing import IO, TYPE_CHECKING

from sluice.errors import SluiceError, StateError
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.laptop.envoy import EnvoySplitter
from sluice.rollout.platforms.laptop.journal_file import JournalFile, open_journal_file
from sluice.rollout.platforms.laptop.microservices import Microservices
from sluice.rollout.platforms.laptop.platform import LaptopPlatform
from sluice.rollout.platforms.laptop.ports import reserve_port
from sluice.rollout.platforms.laptop.servers import Servers
from sluice.rollout.round import ControlLoop
from sluice.rollout.signals import end_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluice.project.projects import Project
    from sluice.rollout.platforms.laptop.servers import Launcher

POLL_SECONDS = 0.1
_LOCK_PATIENCE_SECONDS = 1.0


def run_supervisor(
    project: Project,
    *,
    port: int | None = None,
    notify: Callable[[str], object] = lambda _: None,
    launcher: Launcher | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve until ctrl-C, SIGTERM or `stop`; nothing that was started outlives it.

    Args:
        project: Whose releases.
        port: Of the proxy; default ``serving.port``; 0 chooses a free one.
        notify: Told what happens, one line at a time.
        launcher: Starts servers; default: Seldon microservices of the project's release store.
        stop: Ends it when set.

    Raises:
        StateError: A supervisor of this project is running already.
        PortInUseError: Something else listens on the port; nothing was started.
        DataError: The journal cannot be read.
        IntegrityError: The champion's bytes are not those that were released.
        ServiceError: Envoy cannot be started, or the state folder cannot be written.
    """
    ending = stop or threading.Event()
    file = open_journal_file(project)
    with _hold_lock(file), end_on_signals(ending), contextlib.ExitStack() as stack:
        file.read()
        for draft in file.folder.glob(".*.json.*"):  # of a writer that was killed
            draft.unlink(missing_ok=True)
        held = stack.enter_context(reserve_port(project.settings.serving.port if port is None else port))
        servers = Servers(launcher or Microservices(project), project.settings.serving.start_timeout_seconds, notify)
        stack.callback(servers.stop)
        splitter = EnvoySplitter(
            folder=file.folder / "envoy",
            port=held.getsockname()[1],
            request_timeout_seconds=project.settings.rollout.request_timeout_seconds,
            slow_seconds=project.settings.rollout.slow_seconds,
        )
        stack.callback(splitter.stop)
        stack.callback(file.write_status, {})
        platform = LaptopPlatform(project, file, servers, splitter, notify, release_port=held.close)
        loop = ControlLoop(platform, project.settings.rollout, notify)
        _run(loop, platform, ending, notify)
        notify("ending: the proxy and all servers")


def _run(loop: ControlLoop, platform: LaptopPlatform, ending: threading.Event, notify: Callable[[str], object]) -> None:
    """Rounds until the end. What fails once the proxy is up must not end the traffic: it is said, and tried again."""
    said = ""
    while not ending.is_set():
        started = time.monotonic()
        try:
            loop.run_round()
            said = ""
        except ConflictError:
            continue  # another process wrote the journal meanwhile, so the next round decides anew
        except (SluiceError, OSError) as error:
            if not platform.started:
                raise
            if str(error) != said:
                notify(f"problem: {error}")
                with contextlib.suppress(OSError):
                    platform.report_problem(str(error))
            said = str(error)
        ending.wait(max(0.0, POLL_SECONDS - (time.monotonic() - started)))


@contextlib.contextmanager
def _hold_lock(file: JournalFile) -> Iterator[None]:
    """Be the only supervisor of this project. The kernel frees the lock however the process ends."""
    file.folder.mkdir(parents=True, exist_ok=True)
    with file.lock_path.open("ab") as lock, file.alive_path.open("ab") as alive:
        deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                pid = file.read_status().get("pid", "unknown")
                raise StateError(
                    f"a supervisor of this project is running already (pid {pid})",
                    hint="Use it as it is, or end it with ctrl-C where it runs.",
                )
            time.sleep(POLL_SECONDS)
        file.write_status({"pid": os.getpid()})
        fcntl.flock(alive, fcntl.LOCK_EX)  # whoever asks holds it for an instant only
        yield


def _try_lock(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
