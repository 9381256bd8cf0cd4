"""The hooks that turn tests into verdicts; see `sluice.checks.plugin` for the rules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sluice import errors
from sluice.checks.events import MOST_TEXT
from sluice.checks.wording import clean_text, describe_verdict
from sluice.errors import IntegrityError, SluiceError, UsageError
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Generator

    from sluice.checks.events import EventLog


@dataclass(slots=True)
class Case:
    """What is known of one test.

    Attributes:
        name: The check's name where the test gives no verdict of its own.
        summary: First line of the docstring.
        verdicts: Verdicts so far.
        settled: How many of them have already been looked at for the test's outcome.
        decided: Whether they, and nothing else, have just failed or skipped the test.
        faults: Messages of failures that are no verdict's.
        pause: Reason of a skip or an expected failure that is no verdict's.
        seconds: Duration of set-up, call and teardown so far.
    """

    name: str
    summary: str
    verdicts: list[Verdict] = field(default_factory=list)
    settled: int = 0
    decided: bool = False
    faults: list[str] = field(default_factory=list)
    pause: str = ""
    seconds: float = 0.0


CASE = pytest.StashKey[Case]()
RECORDER = pytest.StashKey["Recorder"]()


class Recorder:
    """The part of the plugin that has a state: the log and the verdicts given so far."""

    def __init__(self, log: EventLog) -> None:
        """Start without verdicts."""
        self._log = log
        self._verdicts: list[Verdict] = []

    def record(self, item: pytest.Item, verdict: Verdict) -> None:
        """Note a verdict that a test gave."""
        item.stash[CASE].verdicts.append(verdict)
        self._tell(verdict)
        if verdict.failed:
            message = describe_verdict(verdict)
            self._log.write("failure", check=verdict.check, place=item.nodeid, message=message, text="")

    def _tell(self, verdict: Verdict) -> None:
        self._verdicts.append(verdict)
        self._log.write("verdict", verdict=verdict.to_dict())

    def _fail(self, check: str, place: str, message: str, *, summary: str = "", text: str = "") -> None:
        """Note a failure that is no verdict's."""
        detail = f"{summary.rstrip('.')}: {message}" if summary else message
        self._tell(Verdict(check=check, outcome=Outcome.FAIL, detail=detail))
        self._log.write("failure", check=check, place=place, message=message, text=text)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Give every test its check's name, and tell how many there are."""
        counts = Counter(item.name for item in session.items)
        for item in session.items:
            name = item.name if counts[item.name] == 1 else f"{item.path.stem}.{item.name}"
            item.stash[CASE] = Case(name, _summary(item))
        self._log.write("collected", count=len(session.items))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Note modules that cannot be imported or skip themselves."""
        report = yield
        if report.failed:
            text = clean_text(str(report.longrepr))
            self._fail(collector.nodeid or str(collector.path), collector.nodeid, _import_message(text), text=text[-MOST_TEXT:])
        elif report.skipped:
            self._tell(Verdict(check=collector.nodeid, outcome=Outcome.INCONCLUSIVE, detail=_skip_reason(report.longrepr)))
        return report

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell which test begins."""
        self._log.write("started", place=nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Let the verdicts decide once the test's function has ended by itself."""
        result = yield
        _settle(item.stash[CASE])
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """The same for verdicts that a fixture gives while it is torn down."""
        result = yield
        _settle(item.stash[CASE])
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note what a phase of a test came to, and give the test's own verdict after the last."""
        report = yield
        case = item.stash[CASE]
        case.seconds += report.duration
        cause = call.excinfo.value if call.excinfo is not None else None
        if call.when == "setup" and isinstance(cause, UsageError | IntegrityError):
            self._refuse(item.session, cause)
        decided, case.decided = case.decided, False
        if report.failed and not decided:
            message, text = _failure_message(cause, report), clean_text(report.longreprtext)[-MOST_TEXT:]
            name = case.name if not case.faults else f"{case.name} ({report.when})"
            case.faults.append(message)
            self._fail(name, item.nodeid, message, summary=case.summary, text=text)
        elif report.skipped and not decided:
            case.pause = _pause_reason(report)
        if report.when == "teardown":
            self._end(item, case)
        return report

    def _refuse(self, session: pytest.Session, cause: SluiceError) -> None:
        """End the session: an input that is not there would fail every test that asks for it, in the same words."""
        if self._log.listened:
            name = next(kind.__name__ for kind in type(cause).__mro__ if kind.__module__ == errors.__name__)
            self._log.write("refused", error=name, message=cause.message, hint=cause.hint)
            session.shouldstop = cause.message

    def _end(self, item: pytest.Item, case: Case) -> None:
        """Give the verdict of a test that gave none, and tell that it ended."""
        own = not case.faults and (case.pause != "" or not case.verdicts)
        if own:
            outcome = Outcome.INCONCLUSIVE if case.pause else Outcome.PASS
            self._tell(Verdict(check=case.name, outcome=outcome, detail=case.pause or case.summary))
        names = [verdict.check for verdict in case.verdicts] + ([case.name] if own or case.faults else [])
        idle = bool(case.pause) and not case.verdicts and not case.faults
        self._log.write("ended", place=item.nodeid, checks=names, seconds=round(case.seconds, 4), skipped=idle)

    def pytest_internalerror(self, excrepr: object) -> None:
        """Note that pytest itself broke down."""
        lines = [line for line in clean_text(str(excrepr)).splitlines() if line.strip()]
        self._log.write("internal", message=lines[-1].strip() if lines else "no message")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Note that the session came to its end."""
        self._log.write("finished", status=int(exitstatus))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the verdicts that carry a number; a plain test's outcome is on the screen already."""
        shown = [verdict for verdict in self._verdicts if verdict.observed is not None]
        if shown:
            terminalreporter.section("verdicts")
        for verdict in shown:
            terminalreporter.line(f"{verdict.outcome.value:<12} {describe_verdict(verdict)}")


def _settle(case: Case) -> None:
    """Fail or skip by the verdicts that have not decided anything yet."""
    fresh = case.verdicts[case.settled :]
    case.settled = len(case.verdicts)
    failed = [describe_verdict(verdict) for verdict in fresh if verdict.failed]
    unclear = [describe_verdict(verdict) for verdict in fresh if verdict.outcome is Outcome.INCONCLUSIVE]
    case.decided = bool(failed or unclear)
    if failed:
        pytest.fail("\n".join(failed), pytrace=False)
    if unclear:
        pytest.skip(f"inconclusive: {'; '.join(unclear)}")


def _summary(item: pytest.Item) -> str:
    """First line of a test's docstring."""
    text = getattr(getattr(item, "obj", None), "__doc__", None) or ""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _failure_message(cause: BaseException | None, report: pytest.TestReport) -> str:
    """One line that says why: Sluice's own errors with their hint, others with their kind."""
    if isinstance(cause, SluiceError):
        return clean_text(f"{cause.message}. {cause.hint}".strip())
    if cause is None:
        return clean_text(report.longreprtext).strip().partition("\n")[0]
    words = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    if isinstance(cause, pytest.fail.Exception):
        message = words or "failed"
    elif isinstance(cause, AssertionError) and words:
        message = words
    else:
        message = f"{type(cause).__name__}: {words}".rstrip(": ")
    return clean_text(message if report.when == "call" else f"{report.when}: {message}")


def _import_message(text: str) -> str:
    """The line of a collection error's text that names the exception: the last that pytest marks with an E."""
    marked = [line[1:].strip() for line in text.splitlines() if line.startswith("E ") and line[1:].strip()]
    plain = [line.strip() for line in text.splitlines() if line.strip()]
    return f"cannot be imported: {(marked or plain or ['no message'])[-1]}"


def _pause_reason(report: pytest.TestReport) -> str:
    """Why a test was skipped, or failed as it was expected to."""
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return clean_text(f"expected to fail: {expected}".rstrip(": "))
    return f"skipped: {_skip_reason(report.longrepr)}"


def _skip_reason(longrepr: object) -> str:
    """The reason in pytest's (path, line, "Skipped: reason")."""
    words = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
    return clean_text(words.removeprefix("Skipped: ") or "no reason given")
