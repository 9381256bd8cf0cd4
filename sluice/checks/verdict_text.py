"""Verdicts as text. The terminal, the failure of a test and the files of a layer all show the same sentence."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from sluice.verdicts import Interval, Verdict

# XML 1.0 allows only three control characters (tab, line feed, carriage return), and a lone surrogate cannot be encoded.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_TERMINAL_CODES = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")


def describe_verdict(verdict: Verdict) -> str:
    """Return one line: the name, the observed value with its threshold, the number of rows, and the explanation.

    Example: ``auc: 0.792 [0.781, 0.803] is not >= 0.8, 9,876 rows: slice enterprise``.
    """
    parts = [describe_observation(verdict)] if verdict.observed is not None else []
    if verdict.rows is not None:
        parts.append(f"{verdict.rows:,} rows")
    if verdict.unproven:
        parts.append("unproven")
    return ": ".join(part for part in (verdict.check, ", ".join(parts), verdict.explanation) if part)


def describe_observation(verdict: Verdict) -> str:
    """Return the observed value with its interval and its threshold; empty if the verdict has no observed value."""
    if verdict.observed is None:
        return ""
    words = [format_number(verdict.observed)]
    if verdict.interval is not None:
        words.append(describe_interval(verdict.interval))
    relation = {Outcome.FAIL: "is not ", Outcome.INCONCLUSIVE: "must be "}.get(verdict.outcome, "")
    if verdict.threshold is not None and verdict.upper is not None:
        words.append(f"{relation}in {format_number(verdict.threshold)} to {format_number(verdict.upper)}")
    elif verdict.threshold is not None:
        words.append(f"{relation}{verdict.comparison} {format_number(verdict.threshold)}")
    return " ".join(words)


def describe_interval(interval: Interval) -> str:
    """Return ``[low, high]``."""
    return f"[{format_number(interval.low)}, {format_number(interval.high)}]"


def format_number(value: float) -> str:
    """Return a number for people: a whole number with thousands separators, any other with four significant digits.

    >>> format_number(12000.0), format_number(0.84567), format_number(-0.00012)
    ('12,000', '0.8457', '-0.00012')
    """
    if not math.isfinite(value):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:  # noqa: PLR2004 - beyond that a float has no spare digit
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - four significant digits


def join_parts(*parts: str) -> str:
    """Join the parts that are not empty with semicolons."""
    return "; ".join(part for part in parts if part)


def clean_text(text: str) -> str:
    """Return a text that XML and a browser accept: without terminal codes and control characters, except tab and line ends.

    The message of a failed test can contain anything that the data contained.
    """
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _TERMINAL_CODES.sub("", text))
