"""Run a suite in its own process group, which never outlives the suite, its time limit or the parent process."""

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
"""How long a suite may take to tear down its fixtures after it was asked to stop."""


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a process ended.

    Attributes:
        code: Exit code. If a signal ended the process, the negative number of the signal.
        timed_out: Whether the process was stopped because it reached its time limit.
    """

    code: int
    timed_out: bool = False

    @property
    def signal_name(self) -> str:
        """The name of the signal that ended the process, for example ``"SIGSEGV"``; empty if no signal did."""
        if self.code >= 0:
            return ""
        with contextlib.suppress(ValueError):
            return signal.Signals(-self.code).name
        return f"signal {-self.code}"


def run_in_process_group(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], log: Path, timeout: float | None
) -> ProcessResult:
    """Run a command in its own process group, and wait until it ends.

    The group never outlives the call: processes that the command leaves behind are killed. All of them are killed after the time
    limit and after an exception (for example ctrl-C). If the parent itself is killed, the pipe closes that `end_with_parent`
    waits for.

    Args:
        command: The command. ``--sluice-lifeline=FD`` is added to it.
        cwd: Its working directory.
        environment: Its complete environment.
        log: File for its output.
        timeout: Time limit in seconds; None for no limit.
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
            return ProcessResult(process.wait(timeout))
        except subprocess.TimeoutExpired:
            return ProcessResult(_interrupt(process), timed_out=True)
        finally:
            if process.poll() is None:
                _interrupt(process)
            _kill_group(process.pid)


def end_with_parent(lifeline: int) -> None:
    """Kill the process group of this process as soon as the other end of a pipe closes, which means that the parent has ended.

    Args:
        lifeline: File descriptor of the reading end of the pipe, inherited from `run_in_process_group`.
    """
    os.set_inheritable(lifeline, False)  # noqa: FBT003 - positional only

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(lifeline, 1)
        # If a person starts a suite with this option, the suite may be in the same group as a shell. Then only the process ends.
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="sluice-lifeline", daemon=True).start()


def _interrupt(process: subprocess.Popen[bytes]) -> int:
    """Stop the first process as ctrl-C does, so that fixtures are torn down. If it does not end, kill the group."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _kill_group(process.pid)
        return process.wait()
    except KeyboardInterrupt:  # After a second ctrl-C, the group is killed at once.
        _kill_group(process.pid)
        process.wait()
        raise


def _kill_group(group: int) -> None:
    """Kill the processes that are left in a group. There may be none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe, and close both ends afterwards."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)
