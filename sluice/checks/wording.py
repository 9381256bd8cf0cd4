"""Verdicts in words: the same sentence in the terminal, in a test's failure and in a layer's pages."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice.verdicts import Interval, Verdict

# XML 1.0 knows no other control characters than these three, and a lone surrogate cannot be encoded at all.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_TERMINAL_CODES = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")


def describe_verdict(verdict: Verdict) -> str:
    """One line: name, what was observed against what, on how many rows, and the detail.

    Example: ``auc: 0.792 [0.781, 0.803] is not >= 0.8, 9,876 rows: slice enterprise``.
    """
    parts = [describe_observation(verdict)] if verdict.observed is not None else []
    if verdict.rows is not None:
        parts.append(f"{verdict.rows:,} rows")
    if verdict.unproven:
        parts.append("unproven")
    return ": ".join(part for part in (verdict.check, ", ".join(parts), verdict.detail) if part)


def describe_observation(verdict: Verdict) -> str:
    """The number with its interval, held against its threshold; empty without a number."""
    if verdict.observed is None:
        return ""
    words = [format_number(verdict.observed)]
    if verdict.interval is not None:
        words.append(describe_interval(verdict.interval))
    if verdict.threshold is not None and verdict.upper is not None:
        words.append(
            f"{'is not ' if verdict.failed else ''}in {format_number(verdict.threshold)} to {format_number(verdict.upper)}"
        )
    elif verdict.threshold is not None:
        words.append(f"{'is not ' if verdict.failed else ''}{verdict.comparison} {format_number(verdict.threshold)}")
    return " ".join(words)


def describe_interval(interval: Interval) -> str:
    """``[low, high]``."""
    return f"[{format_number(interval.low)}, {format_number(interval.high)}]"


def format_number(value: float) -> str:
    """A number for a person: whole ones with thousands separators, others with four significant digits.

    >>> format_number(12000.0), format_number(0.84567), format_number(-0.00012)
    ('12,000', '0.8457', '-0.00012')
    """
    if not math.isfinite(value):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:  # noqa: PLR2004 - beyond it a float has no digit to spare
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - four significant digits


def clean_text(text: str) -> str:
    """Text that XML and a browser take: no terminal codes, no control characters but tab and line ends.

    Messages of a failed test hold whatever the data held.
    """
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _TERMINAL_CODES.sub("", text))
