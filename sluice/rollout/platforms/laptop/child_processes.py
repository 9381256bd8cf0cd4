"""Child processes that do not outlive the supervisor, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

GRACE_SECONDS = 5.0
_LAST_BYTES = 4000
_LAST_LINES = 5
_PR_SET_PDEATHSIG = 1

# Where the kernel cannot tie a child to its parent, a shell does: its stdin is a pipe that closes when the parent ends.
_LIFELINE = """
exec 3<&0
"$@" </dev/null & child=$!
trap 'kill "$child"' TERM
(cat >/dev/null; kill -9 "$child") <&3 & watch=$!
wait "$child"; wait "$child"; status=$?
kill "$watch"; exit "$status"
"""


def start_child(command: Sequence[str], *, log: Path) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, its output in a file; it is killed when the calling thread's process ends.

    The kernel kills it when the thread that started it ends: call this from a thread that lives as long as the child shall.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        options: dict[str, Any] = {"stdout": file, "stderr": file, "start_new_session": True}
        if sys.platform == "linux":
            return subprocess.Popen(list(command), stdin=subprocess.DEVNULL, preexec_fn=_tie_to_parent(), **options)  # noqa: PLW1509
        return start_with_lifeline(command, options)


def start_with_lifeline(command: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start a program below a shell that kills it when this process is gone."""
    return subprocess.Popen(["/bin/sh", "-c", _LIFELINE, "sh", *command], stdin=subprocess.PIPE, **options)


def end_child(process: subprocess.Popen[bytes], *, grace: float = GRACE_SECONDS) -> None:
    """Ask a child to end, make it after `grace` seconds, and wait for it."""
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
    """The end of a log, in one line; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join(line.strip() for line in lines[-_LAST_LINES:] if line.strip())


def _tie_to_parent() -> Callable[[], None]:
    """What the child does before it becomes the program: ask to be killed with its parent."""
    library, parent = ctypes.CDLL(None), os.getpid()

    def tie() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before it could be asked
            os.kill(os.getpid(), signal.SIGKILL)

    return tie
