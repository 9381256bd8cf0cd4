"""Child processes that end when the supervisor ends, however it ends."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

GRACE_SECONDS = 5.0
_LAST_BYTES = 16_000
_LAST_LINES = 5
_PR_SET_PDEATHSIG = 1
_OPEN_FILES = 8192
"""Open files of a child, if the system allows it. The proxy needs more than the usual limit of 1,024."""

# The standard input of this shell is a pipe that closes when the parent ends. The shell kills the child then.
_WATCHING_SHELL = """
exec 3<&0
"$@" </dev/null & child=$!
trap 'kill "$child"' TERM
(cat >/dev/null; kill -9 "$child") <&3 & watch=$!
wait "$child"; wait "$child"; status=$?
kill "$watch"; exit "$status"
"""


def start_child(command: Sequence[str], *, log: Path) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, with its output in a file. It is killed when this process ends.

    On Linux the kernel kills the child as soon as the thread that started it ends. Call this from a thread that lives as long as
    the child has to.

    Args:
        command: The program and its arguments.
        log: The file that receives the output. The output is appended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        options: dict[str, Any] = {"stdout": file, "stderr": file, "start_new_session": True}
        if sys.platform == "linux":
            return subprocess.Popen(list(command), stdin=subprocess.DEVNULL, preexec_fn=_prepare_death_signal(), **options)  # noqa: PLW1509
        return start_below_shell(command, options)


def start_below_shell(command: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start a program below a shell that kills it when this process ends, for systems whose kernel cannot do that.

    Args:
        command: The program and its arguments.
        options: Further arguments of `subprocess.Popen`.
    """
    return subprocess.Popen(["/bin/sh", "-c", _WATCHING_SHELL, "sh", *command], stdin=subprocess.PIPE, **options)


def end_child(process: subprocess.Popen[bytes], *, grace: float = GRACE_SECONDS) -> None:
    """Ask a child to end, kill it after `grace` seconds if it still runs, and wait for it.

    Args:
        process: The child. It may have ended already.
        grace: The time that it has to end, in seconds.
    """
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def read_last_lines(path: Path) -> str:
    """Return the last five lines of a log, joined to one line; empty if there is no log."""
    return " | ".join(line for one in read_end(path, _LAST_LINES) if (line := one.strip()))


def read_end(path: Path, lines: int, *, start: int = 0) -> list[str]:
    """Return the last lines of a log; empty if there is no log. Of a long log, only the end is read.

    Args:
        path: The log.
        lines: How many lines.
        start: The position in bytes before which nothing is read.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - _LAST_BYTES))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def _prepare_death_signal() -> Callable[[], None]:
    """Return the function that the child runs before it becomes the program: it asks the kernel to kill it with its parent.

    It also allows the child more open files.
    """
    library, parent = ctypes.CDLL(None), os.getpid()

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)

    def set_death_signal() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the kernel was asked
            os.kill(os.getpid(), signal.SIGKILL)

    return set_death_signal
