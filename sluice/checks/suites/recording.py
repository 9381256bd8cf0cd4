"""The pytest hooks that turn tests into verdicts. `sluice.checks.plugin` describes the rules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sluice import errors
from sluice.checks.announcements import listening
from sluice.checks.events import MAX_FAILURE_TEXT
from sluice.checks.suites.allowances import allow_inconclusive
from sluice.checks.verdict_text import clean_text, describe_verdict
from sluice.errors import IntegrityError, SluiceError, UsageError
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from sluice.checks.events import EventLog


@dataclass(slots=True)
class RunningTest:
    """What is known about one test while it runs.

    Attributes:
        name: Name of the check if the test records no verdict.
        summary: First line of the docstring.
        verdicts: The verdicts so far.
        given: The same verdicts as the test passed them to ``verify``.
        handled: How many of these verdicts have already failed or skipped the test.
        outcome_from_verdicts: Whether the verdicts, and nothing else, have just failed or skipped the test.
        errors: Messages of failures that do not come from a verdict.
        skip_reason: Reason of a skip or an expected failure that does not come from a verdict.
        seconds: Duration of setup, call and teardown so far.
    """

    name: str
    summary: str
    verdicts: list[Verdict] = field(default_factory=list)
    given: list[Verdict] = field(default_factory=list)
    handled: int = 0
    outcome_from_verdicts: bool = False
    errors: list[str] = field(default_factory=list)
    skip_reason: str = ""
    seconds: float = 0.0


RUNNING_TEST = pytest.StashKey[RunningTest]()
RECORDER = pytest.StashKey["Recorder"]()


class Recorder:
    """The part of the plugin that keeps state: the event log and the verdicts so far."""

    def __init__(
        self, log: EventLog, find_allowances: Callable[[], Mapping[str, str]], find_suites: Callable[[], tuple[Path, ...]]
    ) -> None:
        """Start without verdicts.

        Args:
            log: Where the events go.
            find_allowances: Returns the checks that may be inconclusive, with the reasons. It is called when a check is.
            find_suites: Returns the folders of the project's suites. It is called when a test drops a verdict.
        """
        self._log = log
        self._find_allowances = find_allowances
        self._find_suites = find_suites
        self._verdicts: list[Verdict] = []
        self._undecided: list[str] = []

    def record(self, item: pytest.Item, verdict: Verdict) -> None:
        """Record a verdict from a test."""
        item.stash[RUNNING_TEST].given.append(verdict)
        verdict = self._write_verdict(verdict)
        item.stash[RUNNING_TEST].verdicts.append(verdict)
        if verdict.blocks and not verdict.failed:
            self._undecided.append(verdict.check)
        if verdict.failed:
            message = describe_verdict(verdict)
            self._log.write("failure", check=verdict.check, place=item.nodeid, message=message, text="")

    def _write_verdict(self, verdict: Verdict) -> Verdict:
        """Write a verdict, and return it as written: an inconclusive one with the reason why it is allowed, if there is one."""
        if verdict.outcome is Outcome.INCONCLUSIVE:
            verdict = allow_inconclusive(verdict, self._find_allowances())
        self._verdicts.append(verdict)
        self._log.write("verdict", verdict=verdict.to_dict())
        return verdict

    def _write_failure(self, check: str, place: str, message: str, *, summary: str = "", text: str = "") -> None:
        """Record a failure that does not come from a verdict."""
        detail = f"{summary.rstrip('.')}: {message}" if summary else message
        self._write_verdict(Verdict(check=check, outcome=Outcome.FAIL, detail=detail))
        self._log.write("failure", check=check, place=place, message=message, text=text)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Give every test the name of its check, and report the number of tests."""
        counts = Counter(item.name for item in session.items)
        for item in session.items:
            name = item.name if counts[item.name] == 1 else f"{item.path.stem}.{item.name}"
            item.stash[RUNNING_TEST] = RunningTest(name, _summary(item))
        self._log.write("collected", count=len(session.items))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Record modules that cannot be imported or that skip themselves."""
        report = yield
        if report.failed:
            text = clean_text(str(report.longrepr))
            self._write_failure(
                collector.nodeid or str(collector.path), collector.nodeid, _import_message(text), text=text[-MAX_FAILURE_TEXT:]
            )
        elif report.skipped:
            self._write_verdict(
                Verdict(check=collector.nodeid, outcome=Outcome.INCONCLUSIVE, detail=_read_skip_reason(report.longrepr))
            )
        return report

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Report which test starts."""
        self._log.write("started", place=nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """After the test's function has returned, let its verdicts fail or skip the test. A dropped verdict fails it, too."""
        with listening() as returned:
            result = yield
        dropped = _find_dropped(returned, item.stash[RUNNING_TEST].given)
        if dropped and any(suite in item.path.parents for suite in self._find_suites()):
            _refuse_dropped(dropped)
        _apply_new_verdicts(item.stash[RUNNING_TEST])
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Do the same for verdicts that a fixture records during its teardown."""
        result = yield
        _apply_new_verdicts(item.stash[RUNNING_TEST])
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Record the result of each phase of a test, and after the last phase the verdict of the test itself."""
        report = yield
        running = item.stash[RUNNING_TEST]
        running.seconds += report.duration
        cause = call.excinfo.value if call.excinfo is not None else None
        if call.when == "setup" and isinstance(cause, UsageError | IntegrityError):
            self._stop_session(item.session, cause)
        outcome_from_verdicts, running.outcome_from_verdicts = running.outcome_from_verdicts, False
        if report.failed and not outcome_from_verdicts:
            message, text = _failure_message(cause, report), clean_text(report.longreprtext)[-MAX_FAILURE_TEXT:]
            name = running.name if not running.errors else f"{running.name} ({report.when})"
            running.errors.append(message)
            self._write_failure(name, item.nodeid, message, summary=running.summary, text=text)
        elif report.skipped and not outcome_from_verdicts:
            running.skip_reason = _describe_skip(report)
        if report.when == "teardown":
            self._finish_test(item, running)
        return report

    def _stop_session(self, session: pytest.Session, cause: SluiceError) -> None:
        """Stop the session. A missing input would fail every test that needs it with the same message."""
        if self._log.is_open:
            name = next(kind.__name__ for kind in type(cause).__mro__ if kind.__module__ == errors.__name__)
            self._log.write("refused", error=name, message=cause.message, hint=cause.hint)
            session.shouldstop = cause.message

    def _finish_test(self, item: pytest.Item, running: RunningTest) -> None:
        """Record a verdict for a test that recorded none, and report that the test ended."""
        has_own_verdict = not running.errors and (running.skip_reason != "" or not running.verdicts)
        if has_own_verdict:
            outcome = Outcome.INCONCLUSIVE if running.skip_reason else Outcome.PASS
            self._write_verdict(Verdict(check=running.name, outcome=outcome, detail=running.skip_reason or running.summary))
        names = [verdict.check for verdict in running.verdicts] + ([running.name] if has_own_verdict or running.errors else [])
        checked_nothing = bool(running.skip_reason) and not running.verdicts and not running.errors
        self._log.write("ended", place=item.nodeid, checks=names, seconds=round(running.seconds, 4), skipped=checked_nothing)

    def pytest_internalerror(self, excrepr: object) -> None:
        """Record an error inside pytest itself."""
        lines = [line for line in clean_text(str(excrepr)).splitlines() if line.strip()]
        self._log.write("internal", message=lines[-1].strip() if lines else "no message")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Record that the session ran to the end."""
        self._log.write("finished", status=int(exitstatus))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the verdicts that have a number. The outcome of a plain test is on the screen already."""
        shown = [verdict for verdict in self._verdicts if verdict.observed is not None]
        if shown:
            terminalreporter.section("verdicts")
        for verdict in shown:
            terminalreporter.line(f"{verdict.outcome.value:<12} {describe_verdict(verdict)}")
        if self._undecided:
            terminalreporter.section("inconclusive checks that block production")
            terminalreporter.line(", ".join(self._undecided))
            terminalreporter.line(
                "[tests.allow_inconclusive] of sluice.toml can allow a check to be inconclusive, with a reason."
            )


def _find_dropped(returned: list[Verdict], given: list[Verdict]) -> list[Verdict]:
    """Return the verdicts of judgements that a test did not pass on to ``verify``.

    A test may rename a verdict or change its text, so only the result and the numbers are compared.
    """
    known = [_identify(verdict) for verdict in given]
    return [verdict for verdict in returned if _identify(verdict) not in known]


def _refuse_dropped(dropped: list[Verdict]) -> None:
    first = f"{dropped[0].outcome.value}: {describe_verdict(dropped[0])}"
    more = f", and {len(dropped) - 1} more" if len(dropped) > 1 else ""
    pytest.fail(
        f"the test did not pass {len(dropped)} verdict{'s' if len(dropped) > 1 else ''} to verify ({first}{more}), "
        "so it would pass for every model. Write verify(judge_…(…)).",
        pytrace=False,
    )


def _identify(verdict: Verdict) -> tuple[object, ...]:
    return verdict.outcome, verdict.observed, verdict.threshold, verdict.rows


def _apply_new_verdicts(running: RunningTest) -> None:
    """Fail or skip the test by the verdicts that were not handled yet."""
    new = running.verdicts[running.handled :]
    running.handled = len(running.verdicts)
    texts = [(verdict, "" if verdict.failed else "inconclusive: ") for verdict in new if verdict.outcome is not Outcome.PASS]
    blocking = [begin + describe_verdict(verdict) for verdict, begin in texts if verdict.blocks]
    allowed = [begin + describe_verdict(verdict) for verdict, begin in texts if not verdict.blocks]
    running.outcome_from_verdicts = bool(texts)
    if blocking:
        pytest.fail("\n".join(blocking), pytrace=False)
    if allowed:
        pytest.skip("; ".join(allowed))


def _summary(item: pytest.Item) -> str:
    """Return the first line of a test's docstring."""
    text = getattr(getattr(item, "obj", None), "__doc__", None) or ""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _failure_message(cause: BaseException | None, report: pytest.TestReport) -> str:
    """Return the reason of a failure in one line. An error of Sluice comes with its hint, any other error with its type."""
    if isinstance(cause, SluiceError):
        return clean_text(f"{cause.message}. {cause.hint}".strip())
    if cause is None:
        return clean_text(report.longreprtext).strip().partition("\n")[0]
    text = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    if isinstance(cause, pytest.fail.Exception):
        message = text or "failed"
    elif isinstance(cause, AssertionError) and text:
        message = text
    else:
        message = f"{type(cause).__name__}: {text}".rstrip(": ")
    return clean_text(message if report.when == "call" else f"{report.when}: {message}")


def _import_message(text: str) -> str:
    """Return the line of a collection error that names the exception: the last line that pytest marks with an E."""
    marked = [line[1:].strip() for line in text.splitlines() if line.startswith("E ") and line[1:].strip()]
    plain = [line.strip() for line in text.splitlines() if line.strip()]
    return f"cannot be imported: {(marked or plain or ['no message'])[-1]}"


def _describe_skip(report: pytest.TestReport) -> str:
    """Return why a test was skipped, or why it was expected to fail."""
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return clean_text(f"expected to fail: {expected}".rstrip(": "))
    return f"skipped: {_read_skip_reason(report.longrepr)}"


def _read_skip_reason(longrepr: object) -> str:
    """Return the reason from pytest's (path, line, "Skipped: reason")."""
    text = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
    return clean_text(text.removeprefix("Skipped: ") or "no reason given")
