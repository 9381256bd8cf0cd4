"""From what a suite's process told, and how it ended, to the layer's verdicts. Pure.

A layer passes only where its suite came to its end and judged something: whatever cuts it short is a failed verdict of the
suite itself, named ``<layer>_suite``.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sluice.checks.events import MOST_TEXT, Failure
from sluice.checks.wording import clean_text
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from sluice.checks.events import SuiteRecord
    from sluice.checks.processes import Ending

# pytest.ExitCode, without importing pytest into the tool.
_INTERRUPTED, _INTERNAL_ERROR, _USAGE_ERROR, _NO_TESTS = 2, 3, 4, 5
_OK = 0


def conclude(
    record: SuiteRecord, ending: Ending, *, layer: str, suite: str, log: str, timeout: float | None
) -> tuple[list[Verdict], tuple[Failure, ...]]:
    """The layer's verdicts, under unique names, and why some failed.

    Args:
        record: What the process told.
        ending: How it ended.
        layer: The layer's name.
        suite: Path of the suite, for messages.
        log: What the process printed.
        timeout: Seconds that it was allowed.
    """
    verdicts = list(record.verdicts)
    failures = list(record.failures)
    fault = _find_fault(record, ending, suite=suite, log=log, timeout=timeout)
    if fault:
        check = f"{layer}_suite"
        verdicts.append(Verdict(check=check, outcome=Outcome.FAIL, detail=fault))
        failures.append(Failure(check, suite, fault, clean_text(log)[-MOST_TEXT:].strip()))
    return _name_apart(verdicts, failures)


def _find_fault(record: SuiteRecord, ending: Ending, *, suite: str, log: str, timeout: float | None) -> str:
    """What kept the suite from coming to its end, or from judging anything; empty where nothing did."""
    where = f" in {record.current}" if record.current else ""
    if ending.timed_out:
        return f"{suite} did not end within {timeout:g} s and was stopped{where}"
    if ending.signal_name:
        return f"{suite} was killed by {ending.signal_name}{where or _before(record)}"
    if record.internal or ending.code == _INTERNAL_ERROR:
        return f"pytest broke down{where}: {record.internal or _last_words(log)}"
    if record.finished is None and record.collected is None:
        return f"{suite} could not be started: {_last_words(log)}"
    if record.finished is None:
        return f"{suite} ended by itself with exit code {ending.code}{where or _before(record)}"
    return _find_gap(record, ending, suite=suite, log=log)


def _find_gap(record: SuiteRecord, ending: Ending, *, suite: str, log: str) -> str:
    """What is missing in a session that came to its end."""
    failed = any(verdict.failed for verdict in record.verdicts)
    if ending.code == _USAGE_ERROR:
        return f"{suite} could not be started: {_last_words(log)}"
    if record.collected == 0 and not failed:
        return f"{suite} has no tests" if not record.verdicts else f"{suite} has no tests that run: every module is skipped"
    if record.collected is not None and record.ended < record.collected:
        return f"{suite} was stopped after {record.ended} of {record.collected} tests"
    if record.collected and record.skipped == record.collected:
        return f"all {record.collected} tests of {suite} were skipped: nothing was checked"
    if ending.code not in {_OK, _NO_TESTS} and not failed:
        return f"{suite} ended with exit code {ending.code} though no test failed: {_last_words(log)}"
    return ""


def _before(record: SuiteRecord) -> str:
    return " before its first test" if not record.ended else f" after {record.ended} of {record.collected} tests"


def _last_words(log: str) -> str:
    """The line of the log that says why: the last that pytest marks as an error, else the last one."""
    lines = [line.strip() for line in clean_text(log).splitlines() if line.strip()]
    marked = [line.removeprefix("E ").strip() for line in lines if line.startswith("E ")]
    named = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (marked or named or lines or ["it printed nothing"])[-1]


def _name_apart(verdicts: list[Verdict], failures: list[Failure]) -> tuple[list[Verdict], tuple[Failure, ...]]:
    """Number the names that come more than once, in verdicts and their failures alike: metrics and pages go by the name."""
    taken: set[str] = set()
    renamed: dict[str, list[str]] = {}
    unique = []
    for verdict in verdicts:
        name, number = verdict.check, 1
        while name in taken:
            number += 1
            name = f"{verdict.check} ({number})"
        taken.add(name)
        unique.append(dataclasses.replace(verdict, check=name))
        if verdict.failed:
            renamed.setdefault(verdict.check, []).append(name)
    # The n-th failure of a name belongs to its n-th failed verdict: they are written together.
    named = (dataclasses.replace(failure, check=renamed[failure.check].pop(0)) for failure in failures)
    return unique, tuple(named)
