"""SIGHUP means that the settings are to be read again, unless the terminal was closed."""

from __future__ import annotations

import os
import pty
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sluice.rollout.signals import set_on_hangup

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = f"""
import os, signal, sys, threading
sys.path.insert(0, {str(Path(__file__).resolve().parents[5])!r})
from sluice.rollout.signals import set_on_hangup
reload, stop = threading.Event(), threading.Event()
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with set_on_hangup(reload, stop):
    os.write(int(sys.argv[1]), b"ready")
    while not (reload.wait(0.05) or stop.is_set()):
        pass
os.write(int(sys.argv[1]), b" stop" if stop.is_set() else b" reload")
"""


@pytest.fixture
def _heeded() -> Iterator[None]:
    """SIGHUP has its default action, also if the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_heeded")
def test_sighup_sets_the_event_and_the_old_handler_returns() -> None:
    reload, stop = threading.Event(), threading.Event()
    before = signal.getsignal(signal.SIGHUP)
    with set_on_hangup(reload, stop):
        os.kill(os.getpid(), signal.SIGHUP)
        assert reload.wait(60)
        assert not stop.is_set()
    assert signal.getsignal(signal.SIGHUP) is before


def test_an_ignored_sighup_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _number: signal.SIG_IGN)
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("the handler was changed"))
    with set_on_hangup(threading.Event(), threading.Event()):
        pass


@pytest.mark.parametrize("closes", [False, True])
def test_a_closed_terminal_ends_the_program_and_a_signal_does_not(closes: bool) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-S", "-c", PROGRAM, str(writing)])  # noqa: S606 - a fork becomes the program
    os.close(writing)
    try:
        assert os.read(reading, 5) == b"ready"
        if closes:
            os.close(terminal)
        else:
            os.kill(child, signal.SIGHUP)
        assert os.read(reading, 10) == (b" stop" if closes else b" reload")
    finally:
        os.kill(child, signal.SIGKILL)  # it has ended, unless the test failed
        os.waitpid(child, 0)
        os.close(reading)
        if not closes:
            os.close(terminal)
