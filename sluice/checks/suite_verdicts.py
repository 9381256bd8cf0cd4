"""Turn what a suite's process reported, and how it ended, into the verdicts of the layer. The functions here are pure.

A layer passes only if its suite ran to the end and checked something. If the suite was cut short, the layer gets one more
verdict, ``<layer>_suite``, which fails and says why.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sluice.checks.events import MAX_FAILURE_TEXT, Failure
from sluice.checks.verdict_text import clean_text
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from sluice.checks.events import SuiteRecord
    from sluice.checks.processes import ProcessResult

# The values of pytest.ExitCode. They are repeated here so that the tool does not import pytest.
_INTERRUPTED, _INTERNAL_ERROR, _USAGE_ERROR, _NO_TESTS = 2, 3, 4, 5
_OK = 0


def derive_verdicts(
    record: SuiteRecord, process_result: ProcessResult, *, layer: str, suite: str, log: str, timeout: float | None
) -> tuple[list[Verdict], tuple[Failure, ...]]:
    """Return the verdicts of the layer, each with a unique name, and the reasons of those that failed.

    Args:
        record: What the process reported.
        process_result: How the process ended.
        layer: Name of the layer.
        suite: Path of the suite, for the messages.
        log: What the process printed.
        timeout: The time limit of the process in seconds; None if it had none.
    """
    verdicts = list(record.verdicts)
    failures = list(record.failures)
    fault = _find_fault(record, process_result, suite=suite, log=log, timeout=timeout)
    if fault:
        check = f"{layer}_suite"
        verdicts.append(Verdict(check=check, outcome=Outcome.FAIL, detail=fault))
        failures.append(Failure(check, suite, fault, clean_text(log)[-MAX_FAILURE_TEXT:].strip()))
    return _make_names_unique(verdicts, failures)


def _find_fault(record: SuiteRecord, process_result: ProcessResult, *, suite: str, log: str, timeout: float | None) -> str:
    """Return why the suite did not run to the end or checked nothing; empty if it did both."""
    where = f" during {record.current}" if record.current else ""
    if process_result.timed_out:
        return f"{suite} did not end within {timeout:g} s, so Sluice stopped it{where}"
    if process_result.signal_name:
        return f"{suite} was killed by {process_result.signal_name}{where or _describe_progress(record)}"
    if record.internal or process_result.code == _INTERNAL_ERROR:
        return f"pytest itself failed{where}: {record.internal or _find_reason(log)}"
    if record.finished is None and record.collected is None:
        return f"{suite} could not be started: {_find_reason(log)}"
    if record.finished is None:
        return f"the process of {suite} exited with code {process_result.code}{where or _describe_progress(record)}"
    return _find_missing_tests(record, process_result, suite=suite, log=log)


def _find_missing_tests(record: SuiteRecord, process_result: ProcessResult, *, suite: str, log: str) -> str:
    """Return what is missing in a session that ran to the end; empty if nothing is."""
    blocked = any(verdict.blocks for verdict in record.verdicts)
    if process_result.code == _USAGE_ERROR:
        return f"{suite} could not be started: {_find_reason(log)}"
    if record.collected == 0 and not any(verdict.failed for verdict in record.verdicts):
        return f"{suite} has no tests" if not record.verdicts else f"{suite} has no tests to run, because every module is skipped"
    if record.collected is not None and record.ended < record.collected:
        return f"{suite} was stopped after {record.ended} of {record.collected} tests"
    if record.collected and record.skipped == record.collected:
        return f"all {record.collected} tests of {suite} were skipped, so nothing was checked"
    if process_result.code not in {_OK, _NO_TESTS} and not blocked:
        return f"{suite} ended with exit code {process_result.code} although no test failed: {_find_reason(log)}"
    return ""


def _describe_progress(record: SuiteRecord) -> str:
    """Return how far the suite came, as the end of a sentence."""
    return " before its first test" if not record.ended else f" after {record.ended} of {record.collected} tests"


def _find_reason(log: str) -> str:
    """Return the line of the log that says why: the last line that pytest marks as an error, or else the last line."""
    lines = [line.strip() for line in clean_text(log).splitlines() if line.strip()]
    marked = [line.removeprefix("E ").strip() for line in lines if line.startswith("E ")]
    named = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (marked or named or lines or ["the process printed nothing"])[-1]


def _make_names_unique(verdicts: list[Verdict], failures: list[Failure]) -> tuple[list[Verdict], tuple[Failure, ...]]:
    """Number the names that occur more than once, because metrics and result files use the name as a key.

    A verdict and its failure get the same new name.
    """
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
    # The n-th failure of a name belongs to the n-th failed verdict of that name, because both are written together.
    named = (dataclasses.replace(failure, check=renamed[failure.check].pop(0)) for failure in failures)
    return unique, tuple(named)
