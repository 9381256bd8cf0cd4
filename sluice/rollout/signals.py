"""Ctrl-C and SIGTERM as events, so that a loop ends between two rounds."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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
