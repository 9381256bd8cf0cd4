"""Checks of schedules, time zones and object names, so that the user learns of an error when compiling and not from Argo."""

from __future__ import annotations

import re
import zoneinfo

from sluice.errors import UsageError

_EXAMPLE = 'Give five fields, for example --schedule "17 4 * * 1" (Mondays at 4:17), or a short form such as @daily.'
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
"""Name, lowest number, highest number, and names of the numbers. Argo reads schedules with the Go library robfig/cron."""

_SHORT_FORMS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_EVERY = re.compile(r"@every (\d+(\.\d+)?(ns|us|ms|s|m|h))+$")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_MAX_LENGTH = 52
"""Kubernetes' limit of 63 characters, less the suffix that Argo adds to the name of a run."""


def check_schedule(text: str) -> None:
    """Check a cron expression.

    Raises:
        UsageError: The text is not a cron expression. The message names the field that is wrong.
    """
    if text in _SHORT_FORMS or _EVERY.match(text):
        return
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise UsageError(f"the schedule {text!r} has {len(parts)} fields instead of 5", hint=_EXAMPLE)
    for part, (name, low, high, names) in zip(parts, _FIELDS, strict=True):
        for each in part.split(","):
            if not _is_range(each.lower(), low, high, names):
                raise UsageError(f"in the schedule {text!r}, {each!r} is not a valid {name} ({low} to {high})", hint=_EXAMPLE)


def _is_range(text: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    """Return whether a text is ``*``, a number, a range of numbers, or one of these with a step."""
    span, slash, step = text.partition("/")
    if slash and not (step.isdecimal() and int(step) > 0):
        return False
    if span in {"*", "?"}:
        return True
    first, dash, last = span.partition("-")
    ends = [str(names.index(end) + low) if end in names else end for end in ((first, last) if dash else (first,))]
    return all(end.isdecimal() and low <= int(end) <= high for end in ends) and int(ends[0]) <= int(ends[-1])


def check_timezone(name: str) -> None:
    """Check the name of a time zone. If the system has no database of time zones, every name passes.

    Raises:
        UsageError: No time zone has this name.
    """
    known = zoneinfo.available_timezones()
    if known and name not in known:
        raise UsageError(
            f"no time zone has the name {name!r}", hint="Give a name from the tz database, for example Europe/Berlin."
        )


def check_name(text: str, option: str) -> None:
    """Check the name of a Kubernetes object.

    Args:
        text: The name.
        option: The option that gives the name, for the message.

    Raises:
        UsageError: Kubernetes does not accept the name.
    """
    if not _NAME.match(text) or len(text) > _MAX_LENGTH:
        raise UsageError(
            f"{option} {text!r} is not a name that Kubernetes accepts",
            hint=(
                f"Use at most {_MAX_LENGTH} lower-case letters, digits, hyphens and full stops. "
                "The first and the last character must be a letter or a digit."
            ),
        )
