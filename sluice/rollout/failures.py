"""What failed in a rollout that was rolled back: the errors, an example, the failed answers, and the server's log. Pure.

Everything is short, on one line each, and contains no values of requests unless the project allows them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_KIND_LENGTH = 120
MAX_TEXT_LENGTH = 300
MAX_EXAMPLE_LENGTH = 600
MAX_LOG_LINES = 8
MAX_LOG_LENGTH = 200
MAX_BRIEF_LENGTH = 240

_MEANINGS = {"503": "503 (the server was not reachable)", "504": "504 (there was no answer in time)"}
_SAFE_LINES = (
    re.compile(r'File "[^"]*", line \d+, in \S+'),
    re.compile(r"Traceback \(most recent call last\):"),
    re.compile(r"\[[\d\- :+]+\] \[\d+\] \[[A-Z]+\] (?:Starting|Listening|Using|Booting|Worker|Shutting|Handling)\b.*"),
    re.compile(r"[\d\- :,]+ - sluice\.serving:\w+:\d+ - [A-Z]+: .*"),
    re.compile(r"(Killed|Terminated|Segmentation fault|Aborted|Bus error)\b.*"),
)
"""Lines that contain no values: the frames of tracebacks, the lines of gunicorn about its workers, and Sluice's own lines."""

_STARTUP_LINE = re.compile(
    r"\[[\d\- :+]+\] \[\d+\] \[INFO\] (?:Starting|Listening|Using|Booting)\b.*|"
    r"[\d\- :,]+ - (?:sluice\.serving:load|seldon_core\.\w+:\w+):\d+ - INFO: .*"
)
_REFUSAL = "refused: "
_ERROR_LINE = re.compile(r"((?:\w+\.)*\w*(?:Error|Exception|Warning|Interrupt|Exit))(?::.*)?")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    """One kind of error of the canary.

    Attributes:
        kind: What failed and where.
        count: How often.
        text: The text of the first one.
        example: The first row of the first request: its columns with their types, or with their values if they may be shown.
    """

    kind: str
    count: int
    text: str = ""
    example: str = ""

    @property
    def line(self) -> str:
        """The kind with its count and text, as one line."""
        times = "once" if self.count == 1 else f"{self.count} times"
        return f"{self.kind}, {times}" + (f": {self.text}" if self.text else "")

    def plus(self, count: int) -> ErrorKind:
        """Return the same kind, counted so many times more."""
        return dataclasses.replace(self, count=self.count + count)

    def shortened(self) -> ErrorKind:
        """Return the same kind with texts of limited length, without control characters."""
        return dataclasses.replace(
            self,
            kind=shorten(self.kind, MAX_KIND_LENGTH),
            text=shorten(self.text, MAX_TEXT_LENGTH),
            example=shorten(self.example, MAX_EXAMPLE_LENGTH),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureSummary:
    """What failed in a rollout that was rolled back.

    Attributes:
        errors: The errors that the canary's servers reported, the most frequent first.
        statuses: The canary's answers with a 5xx, by status. A 504 is a time-out, and a 503 a server that could not be reached.
        log: The last lines of its server's log.
    """

    errors: tuple[ErrorKind, ...] = ()
    statuses: Mapping[str, int] = field(default_factory=dict)
    log: tuple[str, ...] = ()

    @property
    def brief(self) -> str:
        """The most frequent error in one short clause, or the server's last words; empty if nothing is known."""
        if self.errors:
            return shorten(self.errors[0].line, MAX_BRIEF_LENGTH)
        return self._describe_statuses() or shorten(find_last_words(self.log), MAX_BRIEF_LENGTH)

    def list_lines(self) -> list[str]:
        """Return the whole summary as lines for a person."""
        lines = []
        for one in self.errors:
            lines.append(one.line)
            if one.example:
                lines.append(f"first input: {one.example}")
        if self.statuses:
            lines.append(f"failed answers: {self._describe_statuses()}")
        return lines + [f"log: {line}" for line in self.log]

    def _describe_statuses(self) -> str:
        return ", ".join(f"{count} with {_MEANINGS.get(status, status)}" for status, count in self.statuses.items())


def select_log_lines(lines: Sequence[str], *, show_values: bool) -> tuple[str, ...]:
    """Return the last lines of a server's log that may be shown.

    A model may write anything into its log. Unless values may be shown, only lines of known forms stay whole, of a line with an
    error the error's type stays, and a note says how many other lines there are. What a server writes at every start is left out
    if there is anything else.

    Args:
        lines: The last lines of the log, oldest first.
        show_values: Whether values of requests may be shown.
    """
    cleaned = [line for one in lines if (line := shorten(_ANSI.sub("", one), MAX_LOG_LENGTH))]
    if show_values:
        return tuple(_leave_out_startup(cleaned)[-MAX_LOG_LINES:])
    known = [line for line in cleaned if _hide_line(line) or _STARTUP_LINE.fullmatch(line)]
    hidden = len(cleaned) - len(known)
    shown = [found for line in _leave_out_startup(known) if (found := _hide_line(line))]
    note = f"({hidden} more lines are hidden, because they may contain values; rollout.show_values = true shows them)"
    return (*shown[-MAX_LOG_LINES:], *([note] if hidden else []))


def find_last_words(lines: Sequence[str]) -> str:
    """Return the line of a log that says why a server ended: its refusal, else its last error, else its last line. No values.

    Args:
        lines: The last lines of the log, oldest first.

    Returns:
        One line; empty if no line may be shown.
    """
    cleaned = [shorten(_ANSI.sub("", one), MAX_TEXT_LENGTH) for one in lines]
    shown = _leave_out_startup([line for line in cleaned if _hide_line(line)])
    refusals = [line[line.index(_REFUSAL) :] for line in shown if _REFUSAL in line]
    errors = [found[1] for line in shown if (found := _ERROR_LINE.fullmatch(line))]
    last = [line for line in map(_hide_line, shown) if line]
    return (refusals or errors or last or [""])[-1]


def shorten(text: str, length: int) -> str:
    """Return a text on one line, without control characters, with at most `length` characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 4 * length]).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _leave_out_startup(lines: list[str]) -> list[str]:
    """Return the lines without those of an ordinary start, or all of them if there are no others."""
    return [line for line in lines if not _STARTUP_LINE.fullmatch(line)] or lines


def _hide_line(line: str) -> str:
    """Return a line of a log without values; empty if it may consist of values."""
    if any(pattern.fullmatch(line) for pattern in _SAFE_LINES):
        return line
    found = _ERROR_LINE.fullmatch(line)
    return found[1] if found else ""
