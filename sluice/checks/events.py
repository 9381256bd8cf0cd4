"""What a suite's process tells the process that started it: one JSON document per line, written as things happen.

A file that grows line by line keeps every verdict up to the moment when a suite is killed, and the name of the test
that it was in. The last line may be half-written then, and is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.verdicts import Verdict

if TYPE_CHECKING:
    from pathlib import Path

MOST_TEXT = 6000
"""Characters of a failure's text that are kept: its end, where the message is."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a check failed, for the pages.

    Attributes:
        check: Name of the verdict.
        place: The test's node id, or the module's path.
        message: One line.
        text: What pytest printed of it, cut to `MOST_TEXT`; may be empty.
    """

    check: str
    place: str
    message: str
    text: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain JSON types."""
        return {"check": self.check, "place": self.place, "message": self.message, "text": self.text}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An input that a fixture could not give: no check has failed, there was nothing to check.

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
    """All that a suite's process told.

    Attributes:
        verdicts: In the order in which they were given.
        failures: Of the verdicts that failed.
        seconds: Check → duration of its test, for tests that ended.
        collected: Number of tests; None when collecting did not end.
        ended: Number of tests that ended.
        skipped: Number of tests that ended without having judged anything.
        current: Node id of the test that had begun and not ended; empty when there is none.
        internal: Message of pytest's own breakdown; empty when there was none.
        finished: pytest's exit status; None when its session never came to an end.
        refusal: Why what was to be tested cannot be tested; None where nothing refused.
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
    refusal: Refusal | None = None


class EventLog:
    """Appends events to a file, each complete on its line; without a file it does nothing."""

    def __init__(self, path: Path | None) -> None:
        """Open the file for appending, unbuffered: what was written survives the death of the process."""
        self._stream = path.open("ab", buffering=0) if path is not None else None

    @property
    def listened(self) -> bool:
        """Whether anybody reads it."""
        return self._stream is not None

    def write(self, kind: str, **values: Any) -> None:  # noqa: ANN401 - JSON
        """Add one event."""
        if self._stream is not None:
            self._stream.write(json.dumps({"event": kind, **values}).encode() + b"\n")

    def close(self) -> None:
        """Close the file; nothing can be written afterwards."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def read_events(path: Path) -> SuiteRecord:
    """Read what an `EventLog` wrote, up to the last complete line; a missing file is an empty record."""
    record = SuiteRecord()
    if not path.exists():
        return record
    for line in path.read_bytes().split(b"\n")[:-1]:
        _take(record, json.loads(line))
    return record


def _take(record: SuiteRecord, event: dict[str, Any]) -> None:
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
            record.refusal = Refusal(event["error"], event["message"], event["hint"])
        case "finished":
            record.finished = event["status"]
