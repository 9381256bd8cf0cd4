"""The events by which a suite's process reports to the process that started it: one JSON document per line.

Each event is written when it happens. If the suite is killed, the file therefore still has every verdict so far and the name of
the running test. The last line may then be incomplete, and the reader skips it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.verdicts import Verdict

if TYPE_CHECKING:
    from pathlib import Path

MAX_FAILURE_TEXT = 6000
"""Number of characters of a failure's text that are kept. The end is kept, because the message is there."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a check failed, for the result files.

    Attributes:
        check: Name of the verdict.
        place: The node id of the test, or the path of the module.
        message: One line.
        text: What pytest printed about the failure, cut to `MAX_FAILURE_TEXT` characters; may be empty.
    """

    check: str
    place: str
    message: str
    text: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the failure as plain JSON types."""
        return {"check": self.check, "place": self.place, "message": self.message, "text": self.text}


@dataclass(frozen=True, slots=True)
class FixtureError:
    """An error of a fixture that could not provide its input. No check failed, because there was nothing to check.

    Attributes:
        error: Name of the class in `sluice.errors`.
        message: What happened.
        hint: What to do next.
    """

    error: str
    message: str
    hint: str


@dataclass(slots=True)
class SuiteRecord:
    """Everything that a suite's process reported.

    Attributes:
        verdicts: The verdicts in the order in which they were recorded.
        failures: The reasons of the failed verdicts.
        seconds: Check → duration of its test, for tests that ended.
        collected: Number of tests; None if pytest did not finish collecting them.
        ended: Number of tests that ended.
        skipped: Number of tests that ended without checking anything.
        current: Node id of the test that was running; empty if none was.
        internal: Message of an error inside pytest; empty if there was none.
        finished: pytest's exit status; None if its session did not end.
        fixture_error: The error of a fixture that could not provide its input; None if there was none.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    collected: int | None = None
    ended: int = 0
    skipped: int = 0
    current: str = ""
    internal: str = ""
    finished: int | None = None
    fixture_error: FixtureError | None = None


class EventLog:
    """Append events to a file, one complete line for each. Without a file, the log does nothing."""

    def __init__(self, path: Path | None) -> None:
        """Open the file for appending, without a buffer, so that an event survives the death of the process."""
        self._stream = path.open("ab", buffering=0) if path is not None else None

    @property
    def is_open(self) -> bool:
        """Whether events are written to a file."""
        return self._stream is not None

    def write(self, kind: str, **values: Any) -> None:  # noqa: ANN401 - JSON
        """Append one event."""
        if self._stream is not None:
            self._stream.write(json.dumps({"event": kind, **values}).encode() + b"\n")

    def close(self) -> None:
        """Close the file. Later events are discarded."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def read_events(path: Path) -> SuiteRecord:
    """Read what an `EventLog` wrote, up to the last complete line. If there is no file, the record is empty."""
    record = SuiteRecord()
    if not path.exists():
        return record
    for line in path.read_bytes().split(b"\n")[:-1]:
        _add_event(record, json.loads(line))
    return record


def _add_event(record: SuiteRecord, event: dict[str, Any]) -> None:
    match event["event"]:
        case "collected":
            record.collected = event["count"]
        case "started":
            record.current = event["place"]
        case "verdict":
            record.verdicts.append(Verdict.from_dict(event["verdict"]))
        case "failure":
            record.failures.append(Failure(event["check"], event["place"], event["message"], event["text"]))
        case "ended":
            record.current = ""
            record.ended += 1
            record.skipped += event["skipped"]
            record.seconds.update(dict.fromkeys(event["checks"], event["seconds"]))
        case "internal":
            record.internal = event["message"]
        case "refused":
            record.fixture_error = FixtureError(event["error"], event["message"], event["hint"])
        case "finished":
            record.finished = event["status"]
