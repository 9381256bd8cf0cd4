"""The records that a step writes for the engine and the report: events while it runs, and its results as JSON when it ends.

The local engine names the run's folder in an environment variable, and events and results become files there. On every engine,
the step's component has an output artifact for them too, and `sluice.carried_records` writes it. In a cluster the artifact
is all that is left of a step when its pod is gone.
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

from sluice import carried_records
from sluice.errors import InterruptedRunError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluice.run_warnings import RunWarning

RUN_FOLDER_VARIABLE = "SLUICE_RUN_FOLDER"
"""Environment variable with the path of the run's folder."""

RUNTIME_VARIABLE = "_KFP_RUNTIME"
"""Environment variable that KFP's bootstrap of a component sets. With it, this process is a step of a pipeline."""

EVENTS_FILE = "events.jsonl"
PARTS_FOLDER = "parts"
WARNINGS_PREFIX = "warnings-"
"""The part ``warnings-<step>`` holds the warnings of one step. ``run.json`` has those of all steps under ``warnings``."""

REJECTION_FILE = "refused-by.txt"
"""Holds the name of the person who rejected the run's release."""


def run_folder() -> Path | None:
    """Return the folder of the run that this step belongs to; None outside the local engine."""
    value = os.environ.get(RUN_FOLDER_VARIABLE)
    return Path(value) if value else None


def record_event(step: str, event: str, *, outcome: str = "", detail: str = "", error: SluiceError | None = None) -> None:
    """Append one line to the run's events: time in epoch seconds, step, event, outcome, detail, and the error if there is one."""
    line: dict[str, Any] = {"time": time.time(), "step": step, "event": event, "outcome": outcome, "detail": detail}
    if error is not None:
        line |= {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
    carried_records.carry_event(line)
    folder = run_folder()
    if folder is None:
        return
    # Each line is one write. O_APPEND then keeps the lines whole even if several processes write.
    with (folder / EVENTS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def record_part(name: str, document: dict[str, Any]) -> None:
    """Write one part of the run's record. The file appears as a whole or not at all."""
    carried_records.carry_part(name, document)
    folder = run_folder()
    if folder is None:
        return
    target = folder / PARTS_FOLDER / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".draft")
    draft.write_text(json.dumps(document, indent=1), encoding="utf-8")
    draft.replace(target)


def record_warnings(step: str, warnings: Sequence[RunWarning]) -> None:
    """Record the warnings of a step, and print them, because a step in a cluster has only its log."""
    for warning in warnings:
        sys.stderr.write(f"warning: {warning.text}\nnext: {warning.hint}\n")
    record_part(f"{WARNINGS_PREFIX}{step}", {"warnings": [warning.to_dict() for warning in warnings]})


def read_warnings(folder: Path) -> list[dict[str, Any]]:
    """Return the warnings that the steps of a run have recorded so far, in the order of the steps' names."""
    files = sorted((folder / PARTS_FOLDER).glob(f"{WARNINGS_PREFIX}*.json"))
    return [warning for file in files for warning in json.loads(file.read_text(encoding="utf-8"))["warnings"]]


def record_rejection(folder: Path, by: str) -> None:
    """Record in a run's folder that a person rejected the run's release."""
    draft = folder / f".{REJECTION_FILE}.draft"
    draft.write_text(by, encoding="utf-8")
    draft.replace(folder / REJECTION_FILE)


def read_rejection() -> str | None:
    """Return the person who rejected this run's release; None if there is no rejection."""
    folder = run_folder()
    try:
        return (folder / REJECTION_FILE).read_text(encoding="utf-8") if folder else None
    except FileNotFoundError:
        return None


class Step:
    """A running step. When it ends, `detail` is recorded with its outcome."""

    def __init__(self, name: str) -> None:
        """Create the step with its name in the pipeline."""
        self.name = name
        self.detail = ""

    def wait(self, reason: str) -> None:
        """Record that the step waits, and for what."""
        record_event(self.name, "waiting", detail=reason)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that temporary folders are deleted and child processes are ended.

    Outside the main thread this does nothing, because only the main thread receives signals.

    Raises:
        InterruptedRunError: SIGTERM arrived.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise InterruptedRunError("the run was ended by SIGTERM", hint="Start it again with `sluice run`.")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def running_step(name: str) -> Iterator[Step]:
    """Record the start and the end of a step, also if the step fails.

    Raises:
        SystemExit: A `SluiceError` was raised and recorded in a step of a pipeline, on any engine. Standard error gets its
            message and hint instead of a traceback, and the exit code of the process says what happened.
    """
    step = Step(name)
    try:
        with interruptible():
            record_event(name, "started")
            yield step
    except InterruptedRunError as error:
        raise SystemExit(error.exit_code) from error  # no end is recorded, because the engine records the interruption
    except SluiceError as error:
        record_event(name, "ended", outcome="fail", detail=error.message, error=error)
        carried_records.print_record()
        if not (run_folder() or os.environ.get(RUNTIME_VARIABLE)) or os.environ.get("SLUICE_DEBUG"):
            raise
        sys.stderr.write(f"error: {error.message}\nnext: {error.hint}\n")
        raise SystemExit(error.exit_code) from error
    except BaseException as error:
        record_event(name, "ended", outcome="fail", detail=f"{type(error).__name__}: {error}")
        carried_records.print_record()
        raise
    record_event(name, "ended", outcome="pass", detail=step.detail)
