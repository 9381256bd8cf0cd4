"""Numbers, times and digests as a person reads them.

All functions are pure, and their results do not depend on the locale or on the machine's time zone.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice.verdicts import Interval, Verdict

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
_MINUTE, _HOUR = 60, 3600
_SHORT_DIGITS = 12
_DIGEST = re.compile(r"^(?:sha256:)?([0-9a-f]{40,64})$")
_COMPARISONS = {">=": "≥", "<=": "≤", "==": "=", ">": ">", "<": "<"}


def format_number(value: float | None, *, decimals: int | None = None) -> str:
    """Format a number with about three significant digits: 0.846, 12.35, 20,000. Whole numbers get no decimals."""
    if value is None:
        return MISSING
    places = choose_decimals(value) if decimals is None else decimals
    text = f"{abs(value):,.{places}f}" if abs(value) < 1e12 else f"{abs(value):.2e}"  # noqa: PLR2004 - more digits do not fit into a cell
    shows_zero = not text.strip("0.,")
    if shows_zero and value and decimals is None:
        text = f"{abs(value):.1e}"
    return MINUS + text if value < 0 and not (shows_zero and decimals is not None) else text


def choose_decimals(value: float) -> int:
    """Return the number of decimals that leaves about three significant digits."""
    size = abs(value)
    if size == round(size) or size >= 1000:  # noqa: PLR2004 - thousands need no decimals
        return 0
    limits = ((100, 1), (1, 2), (0.01, 3), (0.001, 4))
    return next((places for limit, places in limits if size >= limit), 6)


def format_signed(value: float | None, *, decimals: int = 4) -> str:
    """Format a difference with its sign: +0.0121."""
    if value is None:
        return MISSING
    text = format_number(value, decimals=decimals)
    return text if text.startswith(MINUS) or not value else f"+{text}"


def format_interval(interval: Interval | None, *, signed: bool = False) -> str:
    """Format an interval as ``[0.821, 0.868]``, both ends with the same number of decimals."""
    if interval is None:
        return MISSING
    if signed:
        return f"[{format_signed(interval.low)}, {format_signed(interval.high)}]"
    decimals = max(choose_decimals(interval.low), choose_decimals(interval.high))
    return f"[{format_number(interval.low, decimals=decimals)}, {format_number(interval.high, decimals=decimals)}]"


def format_threshold(verdict: Verdict) -> str:
    """Format what the observed number was compared with: ``≥ 0.80``."""
    if verdict.threshold is None:
        return MISSING
    lower = f"{_COMPARISONS.get(verdict.comparison, verdict.comparison)} {_format_limit(verdict.threshold)}".strip()
    return lower if verdict.upper is None else f"{lower}, ≤ {_format_limit(verdict.upper)}"


def _format_limit(value: float) -> str:
    """Format a limit that a person chose, without rounding it: 0.80, 0.005, 400."""
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    padded = f"{value:.2f}" if len(text.partition(".")[2]) == 1 else text
    return padded.replace("-", MINUS) if value == 0 or padded.strip("-0.,") else format_number(value)


def format_level(level: float | None) -> str:
    """Format a confidence level: 0.95 → ``95 %``; 0.99904 → ``99.904 %``."""
    if level is None:
        return MISSING
    return f"{level * 100:.3f}".rstrip("0").rstrip(".") + " %"


def format_percent(value: float | None, *, decimals: int = 1) -> str:
    """Format a fraction as per cent: 0.021 → ``2.1 %``."""
    if value is None:
        return MISSING
    text = f"{value * 100:.{decimals}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"


def format_count(value: int | None) -> str:
    """Format a count: ``20,000``."""
    return MISSING if value is None else f"{value:,}"


def format_duration(seconds: float | None) -> str:
    """Format a duration: ``412 ms``, ``8.4 s``, ``1 min 12 s``, ``2 h 5 min``."""
    if seconds is None:
        return MISSING
    if seconds < 0.9995:  # noqa: PLR2004 - a larger value would read "1000 ms"
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 9.95:  # noqa: PLR2004 - from ten seconds on, tenths do not matter
        return f"{seconds:.1f} s".replace(".0 ", " ")
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    units = (
        ((whole // _MINUTE, "min"), (whole % _MINUTE, "s"))
        if whole < _HOUR
        else ((whole // _HOUR, "h"), (whole % _HOUR // _MINUTE, "min"))
    )
    return " ".join(f"{count} {unit}" for place, (count, unit) in enumerate(units) if count or not place)


def format_moment(epoch: float | None) -> str:
    """Format seconds since the epoch as ``2026-03-02 14:05:11 UTC``."""
    return MISSING if epoch is None else format_datetime(datetime.fromtimestamp(epoch, tz=UTC))


def format_datetime(moment: datetime) -> str:
    """Format an aware datetime as ``2026-03-02 14:05:11 UTC``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def shorten_digest(digest: str) -> str:
    """Return the first 12 hexadecimal digits of a digest or a commit id. Other text is returned unchanged."""
    match = _DIGEST.match(digest)
    return match[1][:_SHORT_DIGITS] if match else digest


def is_digest(text: str) -> bool:
    """Return whether the text is a SHA-256 digest or a full commit id."""
    return _DIGEST.match(text) is not None


def format_words(name: str) -> str:
    """Format an identifier as words: ``model_tests`` → ``model tests``."""
    return name.replace("_", " ").replace("-", " ").strip()
