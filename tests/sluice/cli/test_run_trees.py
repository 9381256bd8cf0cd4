"""A run is shown as a live tree on a terminal and as lines elsewhere, with the log of each step that fails."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sluice.cli.pipelines.run_trees import draw, follow
from sluice.engines import RunStatus, RunSummary, StepStatus
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


def status(outcome: str, *steps: StepStatus, ended: bool = False) -> RunStatus:
    return RunStatus(
        summary=RunSummary(id="run-1", engine="argo", pipeline="ci", outcome=outcome, started=0.0, seconds=9.0),
        steps=steps,
        ended=ended,
    )


def step(name: str, outcome: str, **fields: Any) -> StepStatus:
    ended = 3.0 if outcome in {"pass", "fail"} else None
    return StepStatus(id=name, name=name, outcome=outcome, started=1.0, ended=ended, **fields)


class Played:
    """An engine of which only the watched run and the logs matter here."""

    def __init__(self, *statuses: RunStatus, log: list[str] | None) -> None:
        self.statuses, self.log, self.asked = statuses, log, 0

    def watch(self, run: str) -> Iterator[RunStatus]:
        yield from self.statuses

    def logs(self, run: str, name: str = "") -> Iterator[str]:
        self.asked += 1
        if self.log is None:
            raise DataError("its pod was deleted")
        return iter(self.log)


RUNS = (
    status("running", step("train", "running")),
    status("running", step("train", "pass"), step("promote", "running", is_group=True), step("tests", "running", depth=1)),
    status("failed", step("train", "pass"), step("promote", "fail", is_group=True), step("tests", "fail", depth=1), ended=True),
    status("failed", step("train", "pass"), step("promote", "fail", is_group=True), step("tests", "fail", depth=1), ended=True),
)


def lines_of(engine: Any, *, terminal: bool = False) -> list[str]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None, highlight=False)
    last = follow(engine, "run-1", console)
    assert last is engine.statuses[-1]
    return text.getvalue().splitlines()


def test_without_a_terminal_each_change_is_one_line() -> None:
    lines = lines_of(Played(*RUNS, log=["one", "error: 0.61 < 0.80"]))
    shown = [line.split() for line in lines[:3]]
    assert shown == [["●", "train", "running"], ["✓", "train", "2", "s", "pass"], ["●", "promote", "running"]]
    assert lines.count("  │ error: 0.61 < 0.80") == 1
    assert "✗ log of tests" in lines


def test_only_the_last_lines_of_a_long_log_are_shown_and_it_is_read_once() -> None:
    engine = Played(*RUNS, log=[f"line {number}" for number in range(100)])
    lines = lines_of(engine)
    assert "✗ log of tests, the last 40 of 100 lines" in lines
    assert "  │ line 60" in lines
    assert "  │ line 59" not in lines
    assert engine.asked == 1


def test_a_log_that_cannot_be_read_is_one_line() -> None:
    assert "  │ (its log cannot be read: its pod was deleted)" in lines_of(Played(*RUNS, log=None))


def test_on_a_terminal_the_tree_is_drawn_and_the_log_stands_above_it() -> None:
    text = "\n".join(lines_of(Played(*RUNS, log=["the reason"]), terminal=True))
    assert "the reason" in text
    assert "2 of 2 known steps have ended" in text


def test_a_long_detail_is_cut_and_the_name_of_the_step_is_not() -> None:
    text = io.StringIO()
    found = status("running", step("integration-tests", "pending", detail="ImagePullBackOff: " + "x" * 300))
    Console(file=text, width=60, color_system=None).print(draw(found, now=11.0))
    line = text.getvalue().splitlines()[1]
    assert "integration-tests  ImagePullBackOff" in line
    assert len(line) <= 60


def test_the_tree_indents_what_lies_inside_a_part_and_counts_steps_only() -> None:
    text = io.StringIO()
    cached = step("pin", "pass", cached=True)
    waiting = step("approval", "waiting", depth=1, detail="[approve] it")
    found = status("waiting", cached, step("promote", "running", is_group=True), waiting)
    Console(file=text, width=100, color_system=None).print(draw(found, now=11.0))
    lines = text.getvalue().splitlines()
    assert lines[0] == "run-1  waiting, 1 of 2 known steps have ended, 9 s"
    assert lines[1].split() == ["✓", "pin", "2", "s", "result", "of", "an", "earlier", "run"]
    assert lines[3].startswith("…    approval")
    assert lines[3].rstrip().endswith("10 s  [approve] it")
