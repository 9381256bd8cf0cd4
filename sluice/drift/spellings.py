"""New categories that are known ones in another spelling: other case, other spaces, or another Unicode form."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MOST_HINTS = 3


def find_spellings(known: Iterable[str], new: Mapping[str, int]) -> list[str]:
    """Return a sentence for each of the most frequent new categories that is a known one in another spelling.

    Args:
        known: The categories of the reference, the most frequent one first.
        new: New category → its rows.
    """
    plain: dict[str, str] = {}
    for name in known:
        plain.setdefault(normalise(name), name)
    ranked = sorted(new.items(), key=lambda item: (-item[1], item[0]))
    found = [(name, rows, plain[normalise(name)]) for name, rows in ranked if normalise(name) in plain]
    hints = [
        f"{name!r} ({rows:,} row{'s' if rows > 1 else ''}) is {old!r} in another spelling"
        for name, rows, old in found[:_MOST_HINTS]
    ]
    more = len(found) - len(hints)
    return [*hints, f"{more} more new categories are known ones in another spelling"] if more else hints


def normalise(name: str) -> str:
    """Return a category without differences in case, spaces and Unicode form (NFKC).

    >>> normalise("  Month-to-Month\u00a0")
    'month-to-month'
    """
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())
