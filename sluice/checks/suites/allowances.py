"""Which checks may be inconclusive. All others block production, because what cannot be decided must not reach it."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from sluice.checks.suites.project_folder import find_project_folder
from sluice.errors import SluiceError
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


def read_allowances(config: pytest.Config) -> Mapping[str, str]:
    """Return ``tests.allow_inconclusive`` of the suite's project. Without a project that can be read, nothing is allowed."""
    root = find_project_folder(config)
    if root is None:
        return {}
    from sluice.project.projects import read_project  # noqa: PLC0415 - pydantic, which only an inconclusive check needs

    try:
        return read_project(root).settings.tests.allow_inconclusive
    except SluiceError:
        return {}


def allow_inconclusive(verdict: Verdict, allowances: Mapping[str, str]) -> Verdict:
    """Return the verdict with the reason why it does not block production, if there is one.

    Args:
        verdict: Any verdict. Only an inconclusive one that has no reason yet changes.
        allowances: Name of a check, in which ``*`` stands for any characters → reason. The exact name takes precedence, and then
            the first pattern that fits.
    """
    if verdict.outcome is not Outcome.INCONCLUSIVE or verdict.allowed:
        return verdict
    fitting = (why for pattern, why in allowances.items() if _fits(pattern, verdict.check))
    return dataclasses.replace(verdict, allowed=allowances.get(verdict.check) or next(fitting, ""))


def _fits(pattern: str, name: str) -> bool:
    """Return whether a name has the form of a pattern. Only ``*`` is special, because names of checks contain brackets."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), name, re.DOTALL) is not None
