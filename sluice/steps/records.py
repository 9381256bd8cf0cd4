"""What a step leaves behind for `watch` and the report: events while it runs, one JSON document of results when it ends.

The engine names the run's folder in the environment. Where it names none (KFP, Argo), nothing is written: there the backend's own
events and artifacts say the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.errors import InterruptedRunError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_FOLDER_VARIABLE = "SLUICE_RUN_FOLDER"
EVENTS_FILE = "events.jsonl"
PARTS_FOLDER = "parts"
REJECTION_FILE = "refused-by.txt"


def run_folder() -> Path | None:
    """The folder of the run that this step belongs to; None outside the local engine."""
    value = os.environ.get(RUN_FOLDER_VARIABLE)
    return Path(value) if value else None


def record_event(step: str, event: str, *, outcome: str = "", detail: str = "", error: SluiceError | None = None) -> None:
    """Append one line to the run's events: time in epoch seconds, step, event, outcome, detail and what an error said."""
    folder = run_folder()
    if folder is None:
        return
    line: dict[str, Any] = {"time": time.time(), "step": step, "event": event, "outcome": outcome, "detail": detail}
    if error is not None:
        line |= {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
    # One write of one line: O_APPEND keeps lines whole when several processes write.
    with (folder / EVENTS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def record_part(name: str, document: dict[str, Any]) -> None:
    """Write one part of the run's record whole, or not at all."""
    folder = run_folder()
    if folder is None:
        return
    target = folder / PARTS_FOLDER / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".draft")
    draft.write_text(json.dumps(document, indent=1), encoding="utf-8")
    draft.replace(target)


def record_rejection(folder: Path, by: str) -> None:
    """Leave word in a run's folder that the person who was asked to approve said no."""
    draft = folder / f".{REJECTION_FILE}.draft"
    draft.write_text(by, encoding="utf-8")
    draft.replace(folder / REJECTION_FILE)


def read_rejection() -> str | None:
    """Who refused this run's release; None while nobody has."""
    folder = run_folder()
    try:
        return (folder / REJECTION_FILE).read_text(encoding="utf-8") if folder else None
    except FileNotFoundError:
        return None


class Step:
    """A running step; `detail` is the sentence its end is recorded with."""

    def __init__(self, name: str) -> None:
        """Name the step as the pipeline does."""
        self.name = name
        self.detail = ""

    def wait(self, reason: str) -> None:
        """Record that the step waits for somebody or something."""
        record_event(self.name, "waiting", detail=reason)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM unwind what runs, so that temporary folders go and children are ended; only the main thread can.

    Raises:
        InterruptedRunError: The signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise InterruptedRunError("ended by SIGTERM", hint="Run it again.")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def running_step(name: str) -> Iterator[Step]:
    """Record a step's start and end, whatever way it ends.

    Raises:
        SystemExit: After a `SluiceError` was recorded: a log gets its message and hint instead of a traceback.
    """
    step = Step(name)
    try:
        with interruptible():
            record_event(name, "started")
            yield step
    except InterruptedRunError as error:
        raise SystemExit(error.exit_code) from error  # without an end: whoever ended the run knows that it was interrupted
    except SluiceError as error:
        record_event(name, "ended", outcome="fail", detail=error.message, error=error)
        if run_folder() is None or os.environ.get("SLUICE_DEBUG"):
            raise
        sys.stderr.write(f"error: {error.message}\nnext: {error.hint}\n")
        raise SystemExit(error.exit_code) from error
    except BaseException as error:
        record_event(name, "ended", outcome="fail", detail=f"{type(error).__name__}: {error}")
        raise
    record_event(name, "ended", outcome="pass", detail=step.detail)
