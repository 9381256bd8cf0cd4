"""The result of one question of `sluice doctor`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.errors import SluiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASS, NOTE, FAIL = "pass", "note", "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    Attributes:
        subject: What was looked at.
        outcome: ``pass``, ``note`` (something is missing that not every project needs) or ``fail``.
        detail: What was found, with the numbers.
        fix: What to do; empty if there is nothing to do.
    """

    subject: str
    outcome: str
    detail: str
    fix: str = ""


def ask(subject: str, question: Callable[[], str]) -> Finding:
    """Ask a question that raises an error if something is wrong, and return the answer or the error as a finding."""
    try:
        return Finding(subject, PASS, question())
    except SluiceError as error:
        return Finding(subject, FAIL, error.message, error.hint)


@contextlib.contextmanager
def collecting(findings: list[Finding], subject: str) -> Iterator[None]:
    """Add an error inside the block as a finding, so that the other questions are still asked."""
    try:
        yield
    except SluiceError as error:
        findings.append(Finding(subject, FAIL, error.message, error.hint))
