"""A server that takes almost all of its memory is replaced while it answers, and a full queue is noticed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from laptop_rollouts import make_champion
from rollout_backends import Backends, is_running, name_release, wait_for
from rollout_traffic import Traffic

from sluice.project.projects import Project
from sluice.rollout.platforms.laptop.launching.replacements import FULL_SHARE, PAUSE_SECONDS, find_fullness
from sluice.rollout.platforms.laptop.servers import FULL_MISSES, HANG_SECONDS, Servers
from sluice.rollout.requests import histories, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

A = name_release("a")
LIMIT = 1_500_000_000
DRAIN_SECONDS, START_SECONDS = 6.0, 300.0


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def servers(backends: Backends, lines: list[str]) -> Iterator[Servers]:
    servers = Servers(backends, START_SECONDS, lines.append, memory_limit=LIMIT, drain_seconds=DRAIN_SECONDS)
    servers.set_releases([A])
    wait_for(lambda: update(servers, 0.0)["ready"])
    yield servers
    servers.stop()


def update(servers: Servers, now: float) -> dict[str, Any]:
    servers.update(now)
    (found,) = servers.describe()
    return found


def fill(servers: Servers, backends: Backends) -> None:
    """Let a request leave more in the server than it may take."""
    backends.set_mode(A, leak=LIMIT)
    (server,) = servers.describe()
    assert httpx.post(f"http://127.0.0.1:{server['port']}/predict", json={}, trust_env=False).is_success
    backends.set_mode(A)


def test_a_full_server_answers_until_another_one_has_taken_its_place(servers: Servers, backends: Backends) -> None:
    first = update(servers, 2.0)["pid"]
    fill(servers, backends)
    readiness = []

    def is_replaced() -> bool:
        found = update(servers, 4.0)
        readiness.append(found["ready"])
        return bool(found["pid"] != first)

    wait_for(is_replaced)
    assert all(readiness), "one of the two servers was ready all the time"
    assert len(readiness) > 1, "the successor needs time to start"
    assert (servers.read_health()[A].silent_seconds, servers.find_hang(A)) == (0.0, "")
    (event,) = servers.take_events()
    assert event.text.startswith("was replaced without losing a request, because it took 1,")
    update(servers, 4.0 + DRAIN_SECONDS - 0.1)
    assert is_running(first), "it answers what it was sent"
    update(servers, 4.0 + DRAIN_SECONDS)
    wait_for(lambda: not is_running(first))


def test_the_server_stays_if_its_successor_does_not_become_ready(servers: Servers, backends: Backends, lines: list[str]) -> None:
    first = update(servers, 2.0)["pid"]
    fill(servers, backends)
    update(servers, 4.0)
    successor = servers._states[A].replacement.successor
    assert successor is not None
    os.kill(successor.pid, signal.SIGKILL)
    update(servers, 5.0 + START_SECONDS)
    assert update(servers, 5.0 + START_SECONDS)["pid"] == first
    assert "the one that should replace it failed: it was not ready within 300 s" in lines[-1]
    assert servers._states[A].replacement.next_look == 5.0 + START_SECONDS + PAUSE_SECONDS


def test_a_successor_takes_over_at_once_if_the_full_server_ends(servers: Servers, backends: Backends) -> None:
    first = update(servers, 2.0)["pid"]
    fill(servers, backends)
    update(servers, 4.0)
    successor = servers._states[A].replacement.successor
    assert successor is not None
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not is_running(first))
    wait_for(lambda: update(servers, 4.1)["ready"])
    assert update(servers, 4.1)["pid"] == successor.pid


def test_a_full_queue_makes_a_server_unready_that_keeps_its_traffic(servers: Servers, backends: Backends) -> None:
    backends.set_mode(A, live=False)  # its health check is not answered in time, but users are
    now, answers = 1.0, 0
    while servers.read_health()[A].ready:
        now, answers = now + 0.5, answers + 1
        servers.note_answers({A: answers}, now)
        found = update(servers, now)
        assert now < 2 * HANG_SECONDS
    health = servers.read_health()[A]
    assert health.waiting == found["waiting"]
    assert health.waiting.startswith(f"it missed {FULL_MISSES} health checks in a row, because its queue is full")
    assert (health.failure, health.answers_nobody) == ("", False)
    assert servers.read_ports()[A], "there is no other server that could take its traffic"
    backends.set_mode(A)
    servers.note_answers({A: answers + 1}, now + 2.0)
    wait_for(lambda: update(servers, now + 2.0)["ready"])


@pytest.mark.parametrize(("taken", "limit", "full"), [(10**12, 0, False), (899, 1000, False), (900, 1000, True)])
def test_a_server_is_full_from_a_share_of_its_limit_on(taken: int, limit: int, full: bool) -> None:
    assert bool(find_fullness(taken, limit)) is full
    assert FULL_SHARE == 0.9


@pytest.fixture
def limited(project: Project) -> Project:
    serving = project.settings.serving.model_copy(update={"memory_megabytes": LIMIT // 10**6})
    return Project(project.root, project.settings.model_copy(update={"serving": serving}))


class TestUnderLoad:
    """With a real Envoy and requests all the time."""

    @pytest.fixture
    def project(self, limited: Project) -> Project:
        return limited

    @pytest.mark.slow
    @pytest.mark.usefixtures("gate_passed")
    def test_no_request_is_lost_when_the_champions_server_is_replaced(
        self, project: Project, serving: str, backends: Backends
    ) -> None:
        make_champion(project, A)
        (first,) = (one["pid"] for one in statuses.read_status(project).servers)
        with Traffic(serving) as traffic:
            wait_for(lambda: traffic.of(A) > 20)
            backends.set_mode(A, leak=LIMIT // 10, delay=0.2)  # so that requests are under way all the time
            wait_for(lambda: statuses.read_status(project).servers[0]["pid"] not in {first, None})
            backends.set_mode(A, delay=0.2)
            wait_for(lambda: not is_running(first))
            served = len(traffic.answers)
            wait_for(lambda: len(traffic.answers) > served + 20)
        assert not traffic.failed()
        reasons = [line["reason"] for line in histories.read_transitions(project)]
        assert any("stable's server was replaced without losing a request, because it took" in reason for reason in reasons)
