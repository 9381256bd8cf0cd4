"""Play a story under live traffic. Each act is a commit, a run of the release pipeline, and its result in production."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sluice.demo.traffic import Traffic
from sluice.demo.workspace import apply_edits, commit, create_workspace, enter_workspace
from sluice.engines.local.engine import LocalEngine, session_environment
from sluice.engines.local.runs import read_run
from sluice.errors import ServiceError
from sluice.rollout.requests import approvals, commands, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluice.demo.stories import Act, Story
    from sluice.project.projects import Project

PIPELINE = "release"
"""The pipeline that each act runs."""

APPROVER = "demo"
"""The name in which the demonstration approves releases and orders rollbacks."""

START_SECONDS = 30.0
"""How long the supervisor may take to start."""

SETTLE_SECONDS = 1.0
"""How long requests are counted before and after a rollback by a person."""


class Observer(Protocol):
    """Receives what happens while a story is played, for example to print it."""

    def act_started(self, number: int, act: Act, commit: str) -> None:
        """Handle the start of an act. `commit` is empty if the act makes no commit."""

    def step_event(self, event: dict[str, Any]) -> None:
        """Handle an event of the act's run: a step started, waits or ended."""

    def note(self, text: str) -> None:
        """Handle a line of text about the demonstration itself."""

    def act_ended(self, played: PlayedAct) -> None:
        """Handle the end of an act."""


@dataclass(frozen=True, slots=True)
class PlayedAct:
    """One act that was played, with its result.

    Attributes:
        number: Its number in the story, from 1.
        act: The act.
        outcome: How it ended.
        run: Folder of the run's records; None for an act without a run.
        started: Seconds since the epoch.
        ended: Seconds since the epoch.
        traffic: What the users saw: requests, failed requests in all, at stable and by release, requests per second, latency in
            ms.
        detail: The reason for the outcome.
        numbers: Measured numbers of a rollback by a person.
    """

    number: int
    act: Act
    outcome: str
    run: Path | None
    started: float
    ended: float
    traffic: dict[str, Any] = field(default_factory=dict)
    detail: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def as_expected(self) -> bool:
        """Whether the act ended as the story says."""
        return self.outcome == self.act.expect


def needed_acts(story: Story, wanted: list[int]) -> list[int]:
    """Return the numbers of the acts to play: the wanted ones, and the acts before them that end in a promotion.

    An act that only uses a broken snapshot does not need the acts before it.

    Args:
        story: The story.
        wanted: Numbers of acts, from 1; empty for all.
    """
    if not wanted:
        return list(range(1, len(story.acts) + 1))
    earlier = [number for number, act in enumerate(story.acts, start=1) if number < max(wanted) and act.expect == "promoted"]
    breaks_only = all(story.acts[number - 1].break_snapshot for number in wanted)
    return sorted({*wanted} if breaks_only else {*wanted, *earlier})


def play_story(
    project: Project, story: Story, *, wanted: list[int], rate: float, observer: Observer
) -> tuple[Project, list[PlayedAct]]:
    """Play the acts in a new copy of the project, until an act does not end as expected.

    Args:
        project: The project to copy.
        story: The story to play.
        wanted: Numbers of acts, from 1; empty for all.
        rate: Requests per second from production.
        observer: Receives what happens.

    Returns:
        The copy as a project, and the acts that were played.
    """
    copy = enter_workspace(project, create_workspace(project))
    observer.note("writing the example data …")
    story.prepare(copy.path(copy.settings.data.snapshot or copy.settings.data.holdout).parent)
    played: list[PlayedAct] = []
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_serving(copy, observer))
        traffic = Traffic(url, iter(story.live_rows(1)), rate)
        needed = needed_acts(story, wanted)
        for number, act in enumerate(story.acts[: max(needed)], start=1):
            if number not in needed:  # later acts build on its commit, so it is committed but not run
                apply_edits(copy.root, act.edits)
                commit(copy.root, act.message or act.title)
                continue
            played.append(_play(copy, story, number, act, traffic, observer))
            observer.act_ended(played[-1])
            if not played[-1].as_expected:
                break
            if number == 1:
                stack.enter_context(traffic)
                observer.note(f"production now sends {rate:.0f} requests per second")
    return copy, played


def _play(copy: Project, story: Story, number: int, act: Act, traffic: Traffic, observer: Observer) -> PlayedAct:
    started = time.time()
    if act.expect == "restored":
        observer.act_started(number, act, "")
        return _roll_back(copy, number, act, traffic, started)
    apply_edits(copy.root, act.edits)
    observer.act_started(number, act, commit(copy.root, act.message or act.title))
    arguments = {"snapshot": ""}
    if act.break_snapshot:
        broken = copy.root / "data" / f"{act.break_snapshot}.parquet"
        story.break_data(act.break_snapshot, broken)
        arguments = {"snapshot": str(broken)}
    before = statuses.read_status(copy)
    engine = LocalEngine(copy)
    run = engine.submit(PIPELINE, arguments)
    folder = engine.folder(run)
    for event in engine.events(run):
        observer.step_event(event)
        if event["event"] == "waiting" and event["step"] == "approval":
            _approve(copy, folder)
    document = read_run(folder)
    ended = time.time()
    seen = _measure_traffic(traffic, started, ended, stable=before.champion)
    return PlayedAct(number, act, document["outcome"], folder, started, ended, seen, document["reason"])


def _approve(copy: Project, run: Path) -> None:
    release = json.loads((run / "parts" / "release.json").read_text(encoding="utf-8"))
    approvals.approve(copy, release["digest"], by=APPROVER, note="approved automatically by the demonstration")


def _roll_back(copy: Project, number: int, act: Act, traffic: Traffic, started: float) -> PlayedAct:
    """Roll production back to N-1 under traffic. Requests before and after the rollback are counted too."""
    before = statuses.read_status(copy)
    time.sleep(SETTLE_SECONDS)
    numbers = commands.rollback(copy, by=APPROVER)
    time.sleep(SETTLE_SECONDS)
    after = statuses.read_status(copy)
    restored = after.champion == before.previous
    ended = time.time()
    seen = _measure_traffic(traffic, started, ended, stable=before.champion)
    detail = "N-1 has all traffic again" if restored else "N-1 did not become champion again"
    return PlayedAct(number, act, "restored" if restored else "failed", None, started, ended, seen, detail, dict(numbers))


def _measure_traffic(traffic: Traffic, started: float, ended: float, *, stable: str | None) -> dict[str, Any]:
    count = traffic.count(since=started, until=ended)
    failed = traffic.failed_by_release(since=started, until=ended)
    return {
        **dataclasses.asdict(count),
        "failed_stable": failed.get(stable or "", 0) if stable else 0,
        "failed_by_release": failed,
        "rate": round(traffic.measured_rate(since=started, until=ended), 1),
    }


@contextlib.contextmanager
def _serving(copy: Project, observer: Observer) -> Iterator[str]:
    """Run a supervisor for the copy as a child process until the story ends, and yield the proxy's URL.

    Raises:
        ServiceError: The supervisor did not start.
    """
    observer.note("starting Envoy and the supervisor …")
    log = copy.state / "serve.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "sluice", "serve", "--project", str(copy.root)],
            cwd=copy.root,
            env=session_environment(copy, copy.state),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _wait_for_proxy(copy, process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_proxy(copy: Project, process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        url = statuses.read_status(copy).url
        if url:
            return url
        time.sleep(0.1)
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    raise ServiceError(
        f"the supervisor did not start: {' / '.join(last) or 'it printed nothing'}",
        hint=f"Its output is in {log}.",
    )
