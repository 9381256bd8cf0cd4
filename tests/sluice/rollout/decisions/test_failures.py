"""What failed: the summary that people read, and the lines of a log that may be shown."""

from __future__ import annotations

from sluice.rollout.decisions.failures import (
    MAX_BRIEF_LENGTH,
    MAX_LOG_LINES,
    ErrorKind,
    FailureSummary,
    select_log_lines,
    shorten,
)

ERROR = ErrorKind(kind="ValueError in model.py:7 (predict)", count=12, text="no such plan", example="plan: text")


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


def test_a_project_may_allow_whole_lines_of_the_log() -> None:
    log = [f"customer {number}" for number in range(20)]
    assert select_log_lines(log, show_values=True) == tuple(log[-MAX_LOG_LINES:])


def test_no_line_has_control_characters_or_terminal_escapes() -> None:
    assert select_log_lines(["\x1b[31mred\x1b[0m\x07 \u202egnp"], show_values=True) == ("red gnp",)
    assert shorten("a\r\nb\tc\x00", 10) == "a b c"


def test_the_log_is_short() -> None:
    shown = select_log_lines([f'File "x{number}", line 1, in f' for number in range(500)], show_values=False)
    assert shown == tuple(f'File "x{number}", line 1, in f' for number in range(500 - MAX_LOG_LINES, 500))
