"""Make the texts and numbers of records safe to show. This is the only place that cleans input from outside.

Commit messages, details of checks and column names come from outside. They may hold terminal escapes, characters that XML
forbids, or marks that reverse the reading direction. Every text of the report's model passes through this module, so a renderer
only has to escape for its own language.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

MAX_CHARACTERS = 4000
"""Number of characters of one text that are kept. A longer text, such as a traceback, is in the run's log."""

_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, which include terminal escapes; tab and newline stay
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the reading direction
    "\ufdd0-\ufdef\ufffe\uffff]"  # noncharacters; XML 1.0 forbids the last two
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean_text(value: str) -> str:
    """Return the text without control characters and direction marks. A lone surrogate becomes U+FFFD, and a long text is cut."""
    text = _SURROGATES.sub("\ufffd", _FORBIDDEN.sub("", value.replace("\r\n", "\n")))
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}… ({len(text) - MAX_CHARACTERS} more characters)"


def read_text(value: object) -> str:
    """Return a scalar of a record as clean text. None becomes the empty text."""
    return "" if value is None else clean_text(str(value))


def read_number(value: object) -> float | None:
    """Return a finite number, or None for everything else: NaN, infinity, text, a boolean, None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_count(value: object) -> int | None:
    """Return a count as a whole number, or None if the value is no number or negative."""
    number = read_number(value)
    return None if number is None or number < 0 else round(number)


def read_moment(value: object) -> float | None:
    """Return a point in time in seconds since the epoch.

    Args:
        value: Seconds since the epoch, or ISO 8601 text. Text without a zone is UTC.

    Returns:
        None if the value is neither, or not between the years 1970 and 9999.
    """
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    number = read_number(value)
    earliest, latest = 0.0, 253402300799.0  # the years 1970 to 9999, which `datetime` can show
    return number if number is not None and earliest <= number <= latest else None


def clean_json(value: object) -> object:
    """Return a JSON value in which every text is clean and every number that is not finite is None."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in value]
    return value


def first_line(text: str, *, max_characters: int = 120) -> str:
    """Return the first line that is not empty, cut to `max_characters`."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= max_characters else f"{line[: max_characters - 1].rstrip()}…"
