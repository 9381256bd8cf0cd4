"""A suite's process: in a group of its own, which ends with its leader, with the time allowed, and with the parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

GRACE_SECONDS = 5.0
"""How long a suite that is told to end may take to tear its fixtures down."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended.

    Attributes:
        code: Exit code; minus the signal's number where a signal ended it.
        timed_out: Whether it was ended because its time was over.
    """

    code: int
    timed_out: bool = False

    @property
    def signal_name(self) -> str:
        """``"SIGSEGV"`` and the like; empty where no signal ended it."""
        if self.code >= 0:
            return ""
        with contextlib.suppress(ValueError):
            return signal.Signals(-self.code).name
        return f"signal {-self.code}"


def run_group(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], log: Path, timeout: float | None) -> Ending:
    """Run a command in a process group of its own and wait until it ends.

    The group never outlives the call: what the leader leaves behind is killed, and so is all of it when the time is
    over or when an exception (ctrl-C) comes. A parent that is killed closes the pipe that `follow_parent` waits on.

    Args:
        command: The command; ``--sluice-lifeline=FD`` is added to it.
        cwd: Its working directory.
        environment: All of its environment.
        log: File that gets its output.
        timeout: Seconds; None waits for ever.
    """
    with _pipe() as (reading, _), log.open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--sluice-lifeline={reading}"],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[reading],
            start_new_session=True,
        )
        try:
            return Ending(process.wait(timeout))
        except subprocess.TimeoutExpired:
            return Ending(_interrupt(process), timed_out=True)
        finally:
            if process.poll() is None:
                _interrupt(process)
            _kill_group(process.pid)


def follow_parent(lifeline: int) -> None:
    """Kill this process's group as soon as the other end of a pipe is closed, that is when the parent is gone.

    Args:
        lifeline: File descriptor of the pipe's reading end, handed down by `run_group`.
    """
    os.set_inheritable(lifeline, False)  # noqa: FBT003 - positional only

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(lifeline, 1)
        # A suite that somebody started by hand with this option may share its group with a shell.
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="sluice-lifeline", daemon=True).start()


def _interrupt(process: subprocess.Popen[bytes]) -> int:
    """Ask the leader to end as ctrl-C does, so that fixtures are torn down; kill the group when it does not."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _kill_group(process.pid)
        return process.wait()
    except KeyboardInterrupt:  # a second ctrl-C does not wait
        _kill_group(process.pid)
        process.wait()
        raise


def _kill_group(group: int) -> None:
    """Kill what is left of a group; there may be nothing."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose ends are closed afterwards."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)
