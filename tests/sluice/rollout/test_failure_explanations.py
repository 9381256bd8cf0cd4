"""A rollback says what failed, after the traffic has moved, and the release is condemned."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from memory_platform import MemoryPlatform, SimulatedServer

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.states import KEPT_FAILURES, CommandKind, EndedRollout, Journal, Phase
from sluice.rollout.decisions.transitions import add_failure
from sluice.rollout.failures import MAX_BRIEF_LENGTH, MAX_LOG_LINES, ErrorKind, FailureSummary, select_log_lines, shorten
from sluice.rollout.journals import JOURNAL, build_document
from sluice.rollout.observations import ServerEvent
from sluice.rollout.requests.histories import describe_end

if TYPE_CHECKING:
    from sluice.rollout.round import ControlLoop

A, B = "release-a", "release-b"
ERROR = ErrorKind(kind="ValueError in model.py:7 (predict)", count=12, text="no such plan", example="plan: text")


def ended(journal: Journal) -> bool:
    return journal.request is None


def start_bad_canary(*, error_rate: float = 1.0, **rollout: Any) -> tuple[MemoryPlatform, ControlLoop]:
    """A is champion, and B, which by default fails every request, is at its first step."""
    settings: dict[str, Any] = {"margin": 0.05, "first_look": 60, "bake_seconds": 5.0, "deadline_seconds": 900.0}
    platform = MemoryPlatform(RolloutTable(**(settings | rollout)))
    platform.make_champion(A)
    platform.servers[B] = SimulatedServer(error_rate=error_rate)
    platform.request(B)
    platform.approve(B)
    loop = platform.control()
    platform.list_errors = lambda _rollout: (ERROR,)  # type: ignore[method-assign]
    platform.run(loop, until=lambda journal: journal.state.name == "step-1")
    return platform, loop


def test_what_failed_is_stored_with_the_outcome_and_the_release_is_condemned() -> None:
    platform, loop = start_bad_canary()
    journal = platform.run(loop, until=ended)
    (last,) = [one for one in journal.rollouts if one.release == B]
    assert last.failure is not None
    assert (last.failure.errors, last.failure.statuses) == ((ERROR,), {"500": 3})
    condemned = journal.find_condemnation(B)
    assert condemned is not None
    assert condemned.reason == last.reason
    assert describe_end(journal, last).startswith(f"release {B[:19]} is condemned")
    (other,) = [one for one in journal.rollouts if one.release == A]
    assert describe_end(journal, other) == ""
    assert journal.find_condemnation(A) is None
    assert f"what failed: {ERROR.line}" in platform.lines
    assert platform.recorded[-2].reason.endswith(f"what failed: {ERROR.line}"), "the event says it"
    assert JOURNAL.validate_python(build_document(journal)) == journal


def test_the_traffic_moves_before_anything_is_explained() -> None:
    platform, loop = start_bad_canary()
    platform.calls.clear()
    platform.run(loop, until=ended)
    assert platform.calls.index("read_server_record") > len(platform.calls) - 1 - platform.calls[::-1].index("apply")
    assert platform.weights == {A: 100}


def test_a_rollback_is_published_even_if_the_canary_never_says_what_failed() -> None:
    platform, loop = start_bad_canary()
    platform.is_refreshed = lambda: False  # type: ignore[method-assign]
    platform.run(loop, until=ended)
    assert platform.recorded[-1].to_state == "rolled_back"
    assert platform.recorded[-1].applied_at is not None, "it was applied at once"
    platform.run(loop, until=lambda journal: journal.rollouts[-1].failure is not None, max_rounds=5)
    assert platform.recorded[-1].applied_at is None, "the decision is published with what is known"


@pytest.mark.parametrize("method", ["read_server_record", "update_journal"])
def test_a_rollback_does_not_need_its_explanation(method: str) -> None:
    platform, loop = start_bad_canary()
    platform.failing.add(method)
    journal = platform.run(loop, until=ended)
    assert (journal.rollouts[-1].outcome, platform.weights) == (Phase.ROLLED_BACK, {A: 100})
    assert journal.find_condemnation(B) is not None
    platform.failing.clear()
    platform.tick(loop)
    platform.tick(loop)
    failure = platform.stored.rollouts[-1].failure
    assert failure is not None, "the next round adds what could not be written"
    assert failure.errors == (ERROR,)


def test_a_canary_whose_server_fails_is_condemned_before_it_takes_traffic() -> None:
    platform, loop = start_bad_canary()
    platform.run(loop, until=ended)
    platform.request("release-c")
    platform.servers["release-c"] = SimulatedServer(failure="it crashed three times")
    journal = platform.run(loop, until=ended)
    assert journal.rollouts[-1].outcome is Phase.REJECTED
    found = journal.find_condemnation("release-c")
    assert found is not None
    assert "it crashed three times" in found.reason


@pytest.mark.parametrize("kind", [CommandKind.ABORT, CommandKind.ROLLBACK])
def test_a_persons_command_condemns_nothing(kind: CommandKind) -> None:
    platform, loop = start_bad_canary()
    platform.servers[B].error_rate = 0.0
    platform.command(kind)
    journal = platform.run(loop, until=ended)
    assert journal.condemned == ()


def test_a_deadline_condemns_nothing() -> None:
    platform, loop = start_bad_canary(deadline_seconds=60.0)
    platform.servers[B].error_rate = 0.0
    platform.weights, platform.rate = {A: 80, B: 20}, 0.0
    journal = platform.run(loop, until=ended)
    assert "not promoted within the deadline" in journal.rollouts[-1].reason
    assert journal.condemned == ()


def test_a_condemned_release_that_becomes_champion_is_not_condemned_any_more() -> None:
    platform, loop = start_bad_canary()
    platform.run(loop, until=ended)
    platform.servers[B].error_rate = 0.0
    platform.request(B)
    platform.approve(B)
    journal = platform.run(loop, until=ended)
    assert (journal.champion, journal.condemned) == (B, ())


def test_only_the_last_rollouts_keep_what_failed() -> None:
    one = EndedRollout(id="", release=B, stable=A, outcome=Phase.ROLLED_BACK, reason="", by="ann", started=1.0, ended=2.0)
    journal = Journal(rollouts=tuple(dataclasses.replace(one, id=str(number)) for number in range(KEPT_FAILURES + 3)))
    for number in range(KEPT_FAILURES + 3):
        journal = add_failure(journal, str(number), FailureSummary(errors=(ERROR,)))
    assert [found.failure is not None for found in journal.rollouts] == [False] * 3 + [True] * KEPT_FAILURES
    assert add_failure(journal, "unknown", FailureSummary()) is journal


def test_a_server_that_was_replaced_is_in_the_history_and_moves_no_traffic() -> None:
    platform, loop = start_bad_canary(error_rate=0.0)
    before = platform.stored
    platform.events = [ServerEvent(release=A, text="did not answer for 9 s; it was replaced")]
    platform.tick(loop)
    last = platform.stored.transitions[-1]
    assert last.reason == "stable's server did not answer for 9 s; it was replaced"
    assert (last.from_state, last.to_state) == ("step-1", "step-1")
    assert (platform.stored.state, platform.stored.weights) == (before.state, before.weights)
    platform.events = [ServerEvent(release=A, text="did not answer for 9 s; it was replaced")]
    written = len(platform.stored.transitions)
    platform.tick(loop)
    assert len(platform.stored.transitions) == written, "the same release is reported once in a while"


def test_a_server_event_that_cannot_be_written_does_not_stop_the_round() -> None:
    platform, loop = start_bad_canary(error_rate=0.0)
    platform.failing.add("write_journal")
    platform.events = [ServerEvent(release=B, text="is not ready any more")]
    loop.run_round()
    assert platform.last_report is not None
    platform.events = []
    platform.failing.clear()
    platform.tick(loop)
    assert platform.stored.transitions[-1].reason == "the canary's server is not ready any more"


# The texts


def test_the_brief_names_the_most_frequent_error() -> None:
    summary = FailureSummary(errors=(ERROR,), statuses={"500": 12}, log=("the last line",))
    assert summary.brief == "ValueError in model.py:7 (predict), 12 times: no such plan"
    assert FailureSummary(statuses={"504": 3}).brief == "3 with 504 (there was no answer in time)"
    assert FailureSummary(log=("the last line",)).brief == "", "a line of a log alone says too little"
    long = ErrorKind(kind="k", count=1, text="x" * 1000)
    assert len(FailureSummary(errors=(long,)).brief) == MAX_BRIEF_LENGTH


def test_the_lines_show_errors_examples_answers_and_the_log() -> None:
    assert FailureSummary(errors=(ERROR,), statuses={"500": 12, "503": 1}, log=("the last line",)).list_lines() == [
        "ValueError in model.py:7 (predict), 12 times: no such plan",
        "first input: plan: text",
        "failed answers: 12 with 500, 1 with 503 (the server was not reachable)",
        "log: the last line",
    ]


def test_lines_of_a_log_that_may_contain_values_are_hidden() -> None:
    log = [
        "scoring customer Ann Smith",
        "Traceback (most recent call last):",
        '  File "/srv/churn/features.py", line 88, in transform',
        '    raise ValueError(f"bad city {city}")',
        "ValueError: bad city Paris",
        "[2026-11-29 18:32:48 +0000] [17] [INFO] Worker exiting (pid: 17)",
        "2026-11-29 18:32:48,005 - sluice.serving:load:99 - CRITICAL:  refused: the environment differs",
        "Killed",
    ]
    assert select_log_lines(log, show_values=False) == (
        "Traceback (most recent call last):",
        'File "/srv/churn/features.py", line 88, in transform',
        "ValueError",
        "[2026-11-29 18:32:48 +0000] [17] [INFO] Worker exiting (pid: 17)",
        "2026-11-29 18:32:48,005 - sluice.serving:load:99 - CRITICAL: refused: the environment differs",
        "Killed",
        "(2 more lines are hidden, because they may contain values; rollout.show_values = true shows them)",
    )


STARTUP = [
    "[2026-11-29 18:32:40 +0000] [17] [INFO] Starting gunicorn 20.1.0",
    "[2026-11-29 18:32:40 +0000] [17] [INFO] Booting worker with pid: 18",
    "2026-11-29 18:32:41,000 - seldon_core.microservice:main:578 - INFO: Starting microservice.py:main",
    "2026-11-29 18:32:42,000 - sluice.serving:load:98 - INFO: release sha256:9a is ready after 2.97 s",
]
ERROR_LINES = [
    "2026-11-29 18:32:50,000 - sluice.serving:_record_failure:166 - ERROR: ValueError in churn/features.py:101 (read_days)"
]


@pytest.mark.parametrize("show_values", [False, True])
def test_errors_are_shown_without_what_a_server_writes_at_every_start(show_values: bool) -> None:
    assert select_log_lines([*STARTUP, *ERROR_LINES, *STARTUP], show_values=show_values) == tuple(ERROR_LINES)
    alone = select_log_lines(STARTUP, show_values=show_values)
    assert alone[0] == STARTUP[0]
    assert not any("more lines are hidden" in line for line in alone)


def test_a_project_may_allow_whole_lines_of_the_log() -> None:
    log = [f"customer {number}" for number in range(20)]
    assert select_log_lines(log, show_values=True) == tuple(log[-MAX_LOG_LINES:])


def test_no_line_has_control_characters_or_terminal_escapes() -> None:
    assert select_log_lines(["\x1b[31mred\x1b[0m\x07 \u202egnp"], show_values=True) == ("red gnp",)
    assert shorten("a\r\nb\tc\x00", 10) == "a b c"


def test_the_log_is_short() -> None:
    shown = select_log_lines([f'File "x{number}", line 1, in f' for number in range(500)], show_values=False)
    assert shown == tuple(f'File "x{number}", line 1, in f' for number in range(500 - MAX_LOG_LINES, 500))
