"""Signals as events, so that a loop acts on them between two rounds."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TERMINAL = "/dev/tty"


@contextlib.contextmanager
def set_on_signals(*events: threading.Event) -> Iterator[None]:
    """Let ctrl-C and SIGTERM set these events.

    Outside the main thread this does nothing, because Python handles signals in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def set_events(*_: object) -> None:
        for event in events:
            event.set()

    before = {number: signal.signal(number, set_events) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def set_on_hangup(reload: threading.Event, stop: threading.Event) -> Iterator[None]:
    """Let SIGHUP set `reload`. If its cause is that the terminal was closed, it sets `stop`, as it ends a program by default.

    If SIGHUP is ignored, as under nohup, it stays ignored. Outside the main thread this does nothing.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        yield
        return
    had_terminal = _has_terminal()

    def handle(*_: object) -> None:
        (stop if had_terminal and not _has_terminal() else reload).set()

    before = signal.signal(signal.SIGHUP, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _has_terminal() -> bool:
    """Return whether this process has a terminal that is still open."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
