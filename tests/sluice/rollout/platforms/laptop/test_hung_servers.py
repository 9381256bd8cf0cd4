"""A server that hangs is noticed, reported and replaced. Processes, probes and Envoy are real."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from laptop_rollouts import make_champion, start_canary
from rollout_backends import Backends, is_running, name_release, wait_for
from rollout_traffic import Traffic

from sluice.project.projects import Project
from sluice.rollout.platforms.laptop.servers import MAX_MISSES, Servers
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import histories, outcomes, statuses
from sluice.scoring.health_probes import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("gate_passed")

A, B = name_release("a"), name_release("b")


@pytest.fixture
def project(project: Project) -> Project:
    """The project, with a step that takes longer than the test."""
    rollout = project.settings.rollout.model_copy(
        update={"first_look": 1_000_000, "steps": [50, 100], "request_timeout_seconds": 1.0}
    )
    return Project(project.root, project.settings.model_copy(update={"rollout": rollout}))


def find_server(project: Project, release: str) -> dict[str, Any]:
    return next(one for one in statuses.read_status(project).servers if one["release"] == release)


def list_reasons(project: Project) -> list[str]:
    return [line["reason"] for line in histories.read_transitions(project)]


@pytest.mark.slow
def test_a_stable_that_hangs_is_replaced_and_reported_and_the_canary_is_not_blamed(project: Project, serving: str) -> None:
    make_champion(project, A)
    with Traffic(serving) as traffic:
        start_canary(project, B)
        wait_for(lambda: statuses.read_status(project).state == "step-1")
        hung = find_server(project, A)["pid"]
        os.kill(hung, signal.SIGSTOP)
        wait_for(lambda: any("stable's server did not answer for" in reason for reason in list_reasons(project)), seconds=60)
        wait_for(lambda: find_server(project, A)["ready"] and find_server(project, A)["pid"] != hung, seconds=60)
        wait_for(lambda: not is_running(hung), seconds=60)
        served = len(traffic.answers)
        wait_for(lambda: any(status == 200 and release == A for _, status, release in traffic.answers[served:]), seconds=60)
    assert "it did not answer for" in find_server(project, A)["hung"]
    status = statuses.read_status(project)
    assert (status.champion, status.state) == (A, "step-1"), "the canary continues"
    assert (status.evidence or {})["e_value"] < 1


@pytest.mark.slow
def test_while_stable_answers_nobody_the_canary_gets_all_the_traffic(project: Project, serving: str, backends: Backends) -> None:
    make_champion(project, A)
    with Traffic(serving) as traffic:
        start_canary(project, B)
        wait_for(lambda: statuses.read_status(project).state == "step-1")
        backends.set_mode(A, live=False)  # the server that replaces the one that hangs does not become ready either
        os.kill(find_server(project, A)["pid"], signal.SIGSTOP)
        wait_for(lambda: statuses.read_status(project).seen_weights == {B: 100}, seconds=60)
        status = statuses.read_status(project)
        assert (status.champion, status.state, status.weights) == (A, "step-1-diverted", {A: 0, B: 100})
        assert "answer" in status.reason
        served = len(traffic.answers) + 50  # some requests were on their way
        wait_for(lambda: len(traffic.answers) > served + 100, seconds=60)
        assert {(code, release) for _, code, release in traffic.answers[served:]} == {(200, B)}
        backends.set_mode(A, live=True)
        wait_for(lambda: statuses.read_status(project).seen_weights == {A: 50, B: 50}, seconds=60)
        wait_for(lambda: any(release == A for _, _, release in traffic.answers[served:]), seconds=60)
    assert statuses.read_status(project).state == "step-1"
    assert "stable answers again: back to 50 %" in list_reasons(project)


@pytest.mark.slow
def test_a_champion_that_hangs_without_traffic_is_replaced(project: Project, serving: str) -> None:
    make_champion(project, A)
    hung = find_server(project, A)["pid"]
    os.kill(hung, signal.SIGSTOP)
    wait_for(lambda: find_server(project, A)["ready"] and find_server(project, A)["pid"] != hung, seconds=60)
    assert any("stable's server did not answer for" in reason for reason in list_reasons(project))
    assert statuses.read_status(project).champion == A


@pytest.mark.slow
def test_a_canary_that_hangs_has_failed(project: Project, serving: str) -> None:
    make_champion(project, A)
    start_canary(project, B)
    wait_for(lambda: statuses.read_status(project).state == "step-1")
    os.kill(find_server(project, B)["pid"], signal.SIGSTOP)
    assert outcomes.wait_for_outcome(project, B, timeout=60) == "rolled_back"
    assert "the canary's server failed: it did not answer for" in histories.read_rollout(project, B)["reason"]


@pytest.mark.slow
def test_a_proxy_that_hangs_is_replaced(project: Project, serving: str) -> None:
    make_champion(project, A)
    hung = open_journal(project).read_status()["envoy_pid"]
    os.kill(hung, signal.SIGSTOP)
    with Traffic(serving) as traffic:
        wait_for(lambda: any(status == 200 for _, status, _ in list(traffic.answers)), seconds=60)
    assert not is_running(hung)
    assert statuses.read_status(project).weights == {A: 100}


@pytest.fixture
def servers(backends: Backends) -> Iterator[Servers]:
    servers = Servers(backends, start_timeout=10.0, notify=lambda _: None)
    yield servers
    servers.stop()


def run_until_hung(servers: Servers, *, answers_a_second: int) -> float:
    """Let a simulated minute pass with a server that misses every probe; return when it was replaced, or the end."""
    now, answers = 0.0, 0
    servers.set_releases([A])

    def is_ready() -> bool:
        servers.update(now)
        return servers.read_health()[A].ready

    wait_for(is_ready)
    servers.launcher.set_mode(A, live=False)  # type: ignore[attr-defined]
    while now < 60.0 and not servers.find_hang(A):
        now += 0.5
        answers += answers_a_second
        servers.note_answers({A: answers}, now)
        servers.update(now)
    return now


def test_a_server_that_fails_its_probes_and_answers_nobody_is_replaced(servers: Servers) -> None:
    replaced_at = run_until_hung(servers, answers_a_second=0)
    assert MAX_MISSES * ANSWER_SECONDS <= replaced_at <= 15.0
    assert servers.read_health()[A].silent_seconds == MAX_MISSES * ANSWER_SECONDS
    (event,) = servers.take_events()
    assert event.release == A
    assert not servers.take_events()


def test_a_busy_server_that_answers_requests_is_not_replaced(servers: Servers) -> None:
    assert run_until_hung(servers, answers_a_second=1) == 60.0
    assert servers.read_health()[A].silent_seconds == 0
