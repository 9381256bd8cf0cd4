"""What Argo takes as a schedule, a time zone and a name: told here, before a controller finds out."""

from __future__ import annotations

import re
import zoneinfo

from sluice.errors import UsageError

_EXAMPLE = 'Five fields, as in --schedule "17 4 * * 1" (Mondays at 4:17), or @daily.'
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
"""Name, lowest, highest, and what the numbers are also called: Go's robfig/cron, which Argo reads schedules with."""

_SHORT_FORMS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_EVERY = re.compile(r"@every (\d+(\.\d+)?(ns|us|ms|s|m|h))+$")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_LONGEST = 52
"""Kubernetes' limit of 63, without what Argo adds to the name of a run."""


def check_schedule(text: str) -> None:
    """Check a cron expression.

    Raises:
        UsageError: It is none; the message names the field.
    """
    if text in _SHORT_FORMS or _EVERY.match(text):
        return
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise UsageError(f"the schedule {text!r} has {len(parts)} fields, not 5", hint=_EXAMPLE)
    for part, (name, low, high, names) in zip(parts, _FIELDS, strict=True):
        for each in part.split(","):
            if not _is_range(each.lower(), low, high, names):
                raise UsageError(f"the schedule {text!r}: {each!r} is no {name} ({low} to {high})", hint=_EXAMPLE)


def _is_range(text: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    """Whether a text is ``*``, a number, a range of them, or one of these with a step."""
    span, slash, step = text.partition("/")
    if slash and not (step.isdecimal() and int(step) > 0):
        return False
    if span in {"*", "?"}:
        return True
    first, dash, last = span.partition("-")
    ends = [str(names.index(end) + low) if end in names else end for end in ((first, last) if dash else (first,))]
    return all(end.isdecimal() and low <= int(end) <= high for end in ends) and int(ends[0]) <= int(ends[-1])


def check_timezone(name: str) -> None:
    """Check the name of a time zone, where the system knows any.

    Raises:
        UsageError: There is none of that name.
    """
    known = zoneinfo.available_timezones()
    if known and name not in known:
        raise UsageError(f"there is no time zone {name!r}", hint="Give a name of the tz database, for example Europe/Berlin.")


def check_name(text: str, option: str) -> None:
    """Check the name of an object of Kubernetes.

    Raises:
        UsageError: Kubernetes does not take it.
    """
    if not _NAME.match(text) or len(text) > _LONGEST:
        raise UsageError(
            f"{option} {text!r} is no name that Kubernetes takes",
            hint=f"Small letters, digits, '-' and '.', at most {_LONGEST}, with a letter or digit at both ends.",
        )
