"""Text and scalars of records made safe to show: the one place where foreign input is cleaned.

Commit messages, details of checks and columns of somebody's data are foreign: they may hold terminal escapes, characters that XML
forbids, or marks that turn the reading direction around. Every text of the report's model passes through here, so that the
renderers need to escape for their own language only.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

LONGEST = 4000
"""Characters of one text that are kept; a whole traceback or diff belongs in the run's log."""

_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, terminal escapes among them; tab and newline stay
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the reading direction
    "\ufdd0-\ufdef\ufffe\uffff]"  # noncharacters; XML 1.0 forbids the last two
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean_text(value: str) -> str:
    """Drop what no reader should meet: control and direction characters; half surrogates become U+FFFD; overlong text is cut."""
    text = _SURROGATES.sub("\ufffd", _FORBIDDEN.sub("", value.replace("\r\n", "\n")))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text) - LONGEST} more characters)"


def read_text(value: object) -> str:
    """Any scalar of a record as clean text; None is the empty text."""
    return "" if value is None else clean_text(str(value))


def read_number(value: object) -> float | None:
    """A finite number, or None for everything else (NaN, infinity, text, nothing)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_count(value: object) -> int | None:
    """A whole number of things, or None."""
    number = read_number(value)
    return None if number is None or number < 0 else round(number)


def read_moment(value: object) -> float | None:
    """A point in time in seconds since the epoch, from such a number or ISO 8601 text (without a zone: UTC); else None."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    number = read_number(value)
    earliest, latest = 0.0, 253402300799.0  # 1970 to 9999: what a calendar date can be made of
    return number if number is not None and earliest <= number <= latest else None


def clean_json(value: object) -> object:
    """A JSON value with clean text in it and without numbers that are not finite (they become None)."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in value]
    return value


def first_line(text: str, *, most: int = 120) -> str:
    """The first line that says something, cut at `most` characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"
