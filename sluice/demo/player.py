"""Plays a story: each act is a commit, a run of the release pipeline and what comes of it in production, under live traffic."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sluice.demo.traffic import Traffic
from sluice.demo.workspace import apply_edits, commit, create_workspace, enter_workspace
from sluice.engines.local import LocalEngine, session_environment
from sluice.engines.runs import read_run
from sluice.errors import ServiceError
from sluice.rollout.requests import approvals, commands, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluice.demo.stories import Act, Story
    from sluice.project.projects import Project

PIPELINE = "release"
APPROVER = "demo"
START_SECONDS = 30.0
SETTLE_SECONDS = 1.0


class Observer(Protocol):
    """Told what happens, as it happens."""

    def act_started(self, number: int, act: Act, commit: str) -> None:
        """An act begins; `commit` is empty where it makes none."""

    def step_event(self, event: dict[str, Any]) -> None:
        """A step of the act's run started, waits or ended."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def act_ended(self, played: PlayedAct) -> None:
        """An act is over."""


@dataclass(frozen=True, slots=True)
class PlayedAct:
    """One act as it went.

    Attributes:
        number: Its place in the story, from 1.
        act: The act.
        outcome: What came of it.
        run: Folder of the run's records; None for an act without a run.
        started: Epoch seconds.
        ended: Epoch seconds.
        traffic: What its users saw: requests, failed, failed of stable and of the canary, rate, latency.
        detail: One sentence.
        numbers: Measured figures of the act.
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
        """Whether the act ended the way its story says."""
        return self.outcome == self.act.expect


def needed_acts(story: Story, wanted: list[int]) -> list[int]:
    """The acts to play so that the wanted ones can be: those before them that end in a promotion, then they themselves."""
    if not wanted:
        return list(range(1, len(story.acts) + 1))
    earlier = [number for number, act in enumerate(story.acts, start=1) if number < max(wanted) and act.expect == "promoted"]
    breaks_only = all(story.acts[number - 1].break_snapshot for number in wanted)
    return sorted({*wanted} if breaks_only else {*wanted, *earlier})


def play_story(
    project: Project, story: Story, *, wanted: list[int], rate: float, observer: Observer
) -> tuple[Project, list[PlayedAct]]:
    """Play the acts in a fresh workspace.

    Args:
        project: The project whose copy is played with.
        story: What to play.
        wanted: Numbers of acts, from 1; empty for all.
        rate: Requests per second that production sends.
        observer: Told what happens.

    Returns:
        The copy as a project, and the acts as they went.
    """
    copy = enter_workspace(project, create_workspace(project))
    observer.note("making the data …")
    story.prepare(copy.path(copy.settings.data.snapshot).parent)
    played: list[PlayedAct] = []
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_serving(copy, observer))
        traffic = Traffic(url, iter(story.live_rows(1)), rate)
        needed = needed_acts(story, wanted)
        for number, act in enumerate(story.acts[: max(needed)], start=1):
            if number not in needed:  # its commit is there for the acts that build on it, its run is not
                apply_edits(copy.root, act.edits)
                commit(copy.root, act.message or act.title)
                continue
            played.append(_play(copy, story, number, act, traffic, observer))
            observer.act_ended(played[-1])
            if not played[-1].as_expected:
                break
            if number == 1:
                stack.enter_context(traffic)
                observer.note(f"production now sends {rate:.0f} requests a second")
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
    for event in engine.watch(run):
        observer.step_event(event)
        if event["event"] == "waiting" and event["step"] == "approval":
            _approve(copy, run)
    document = read_run(run)
    ended = time.time()
    seen = _measure_traffic(traffic, started, ended, stable=before.champion)
    return PlayedAct(number, act, document["outcome"], run, started, ended, seen, document["reason"])


def _approve(copy: Project, run: Path) -> None:
    import json  # noqa: PLC0415

    release = json.loads((run / "parts" / "release.json").read_text(encoding="utf-8"))
    approvals.approve(copy, release["digest"], by=APPROVER, note="the demonstration approves by itself")


def _roll_back(copy: Project, number: int, act: Act, traffic: Traffic, started: float) -> PlayedAct:
    """Back to N-1 by hand, under traffic; a little longer, so that the requests after it are counted too."""
    before = statuses.read_status(copy)
    time.sleep(SETTLE_SECONDS)
    done = commands.rollback(copy, by=APPROVER)
    time.sleep(SETTLE_SECONDS)
    after = statuses.read_status(copy)
    restored = after.champion == before.previous
    ended = time.time()
    seen = _measure_traffic(traffic, started, ended, stable=before.champion)
    detail = "production is on N-1 again" if restored else "N-1 was not restored"
    return PlayedAct(number, act, "restored" if restored else "failed", None, started, ended, seen, detail, dict(done))


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
    """A supervisor of the copy as a child, ended with the story; gives the proxy's URL.

    Raises:
        ServiceError: It did not start.
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
    raise ServiceError(f"the supervisor did not start: {' / '.join(last) or 'it printed nothing'}", hint=f"Look at {log}.")
