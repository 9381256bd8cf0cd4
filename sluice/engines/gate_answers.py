"""The gate's answer in a run, as a table shows it: what it decided, and the numbers that it makes public."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sluice.engines import GateNumbers

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_answer(decision: Mapping[str, Any]) -> str:
    """Return ``promote``, ``keep`` or ``override`` of the gate's public decision; empty if there is none."""
    if not decision:
        return ""
    return "promote" if decision.get("promote") else "override" if decision.get("override") else "keep"


def read_numbers(decision: Mapping[str, Any]) -> GateNumbers | None:
    """Return the numbers of the gate's public decision; None if there is none.

    The difference and its interval are public only after a promotion, because each further number about the gate rows would help
    to fit a model to them.
    """
    if not decision:
        return None
    verdict = _table(decision.get("verdict"))
    interval = _table(verdict.get("interval"))
    return GateNumbers(
        difference=_number(decision.get("difference")),
        low=_number(interval.get("low")),
        high=_number(interval.get("high")),
        margin=_number(verdict.get("threshold")),
        rows=_count(verdict.get("rows")),
        uses=_count(decision.get("uses")),
        budget=_count(decision.get("budget")),
        first=decision.get("first") is True,
    )


def describe_gate(answer: str, numbers: GateNumbers | None) -> str:
    """Return the answer with its numbers in a few words, for a cell of a table.

    >>> describe_gate("promote", GateNumbers(difference=0.0213, low=0.0101, high=0.0325))
    'promote +0.0213 [+0.0101, +0.0325]'
    >>> describe_gate("keep", GateNumbers(margin=0.002, uses=3, budget=20))
    'keep: not shown to be > +0.0020 (question 3 of 20)'
    """
    if not answer or numbers is None:
        return answer
    if numbers.first:
        return f"{answer}: first champion"
    if numbers.difference is not None:
        known = numbers.low is not None and numbers.high is not None
        return f"{answer} {numbers.difference:+.4f}" + (f" [{numbers.low:+.4f}, {numbers.high:+.4f}]" if known else "")
    shown = f": not shown to be > {numbers.margin:+.4f}" if numbers.margin is not None else ""
    question = (
        f" (question {numbers.uses} of {numbers.budget})" if numbers.uses is not None and numbers.budget is not None else ""
    )
    return f"{answer}{shown}{question}"


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def _count(value: object) -> int | None:
    found = _number(value)
    return None if found is None else int(found)
