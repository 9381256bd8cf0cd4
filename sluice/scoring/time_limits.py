"""The time limits of a server: for loading a release, for a worker that gives no sign of life, and for a call of the model.

A server's workers are processes of gunicorn, which replaces a worker that gives no sign of life. A worker that loads a model
gives none either, so another process gives them for it, until the limit for loading is over. A worker whose model hangs answers
its health checks from other threads, until no thread is left, so the calls that are under way are watched too.

This module needs only the standard library, because the serving environment uses it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STUCK_SECONDS = 30.0
"""A call that takes longer hangs. Its client has not waited for it: proxies give up after ``rollout.request_timeout_seconds``."""

SIGN_SECONDS = 0.5
"""The pause between two signs of life of a worker that loads."""


class RunningCalls:
    """The calls that are under way in one process. Any number of threads may use it."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._started: dict[int, float] = {}

    @contextlib.contextmanager
    def track(self) -> Iterator[None]:
        """Track a call for as long as this context lasts."""
        number = next(self._numbers)
        self._started[number] = time.monotonic()
        try:
            yield
        finally:
            del self._started[number]

    def find_longest(self) -> float:
        """Return the seconds that the longest call has taken so far; 0 if none is under way."""
        oldest = min(list(self._started.values()), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest


class SignsOfLife:
    """Another process that gives the signs of life of a worker that loads.

    It is a process and not a thread, because code that loads a model may keep the interpreter from running other threads.
    """

    def __init__(self) -> None:
        self._process = 0

    def start(self, descriptor: int, seconds: float) -> None:
        """Give signs of life for this process until `end` is called, it ends, or the time is over.

        Args:
            descriptor: The file whose change of mode is the sign, as gunicorn's workers give it.
            seconds: The time limit.
        """
        worker = os.getpid()
        self._process = os.fork()
        if self._process == 0:
            try:
                # The launcher of a laptop lets each process end its group when its parent ends. A worker that refuses its release
                # ends before its server does, which still has to exit by itself.
                os.setpgid(0, 0)
                _give_signs(descriptor, worker, seconds)
            finally:
                os._exit(0)

    def end(self) -> None:
        """Stop giving signs of life, because the worker has loaded and gives them itself."""
        if self._process:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._process, signal.SIGKILL)
                os.waitpid(self._process, 0)
            self._process = 0


def _give_signs(descriptor: int, worker: int, seconds: float) -> None:
    deadline, mode = time.monotonic() + seconds, 0
    while os.getppid() == worker and time.monotonic() < deadline:
        mode = 1 - mode
        os.fchmod(descriptor, mode)
        time.sleep(SIGN_SECONDS)
