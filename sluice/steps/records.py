"""What a step leaves behind for `watch` and the report: events while it runs, one JSON document of results when it ends.

The engine names the run's folder in the environment. Where it names none (KFP, Argo), nothing is written: there the backend's own
events and artifacts say the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.errors import SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_FOLDER_VARIABLE = "SLUICE_RUN_FOLDER"
EVENTS_FILE = "events.jsonl"
PARTS_FOLDER = "parts"


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
def running_step(name: str) -> Iterator[Step]:
    """Record a step's start and end, whatever way it ends.

    Raises:
        SystemExit: After a `SluiceError` was recorded: a log gets its message and hint instead of a traceback.
    """
    step = Step(name)
    record_event(name, "started")
    try:
        yield step
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
