"""Servers as real processes; the clock that decides about pauses is the test's."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from rollout_backends import is_running, name_release, wait_for

from sluice.rollout.platforms.laptop.servers import MAX_CRASHES, CRASH_RESET_SECONDS, Servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rollout_backends import Backends

A, B = name_release("a"), name_release("b")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def servers(backends: Backends, said: list[str]) -> Iterator[Servers]:
    kept = Servers(backends, start_timeout=10.0, notify=said.append)
    yield kept
    kept.stop()


def await_at(servers: Servers, now: float, condition: Callable[[], object]) -> None:
    def so() -> object:
        servers.tend(now)
        return condition()

    wait_for(so)


def await_ready(servers: Servers, release: str, now: float = 0.0) -> int:
    await_at(servers, now, lambda: servers.health()[release].ready)
    (pid,) = (server["pid"] for server in servers.describe() if server["release"] == release)
    return int(pid)


def crash(servers: Servers, release: str, now: float) -> None:
    pid = await_ready(servers, release, now)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_running(pid))

    await_at(servers, now, lambda: not servers.health()[release].ready)


def test_a_server_becomes_ready_and_its_port_is_known(servers: Servers) -> None:
    servers.keep([A, B])
    assert servers.ports() == {A: None, B: None}
    first = await_ready(servers, A)
    await_ready(servers, B)
    assert all(servers.ports().values())
    servers.keep([B])
    wait_for(lambda: not is_running(first))
    assert list(servers.health()) == [B]


def test_pauses_grow_and_a_crash_loop_is_given_up(servers: Servers, said: list[str]) -> None:
    servers.keep([A])
    now = 0.0
    for pause in (0.5, 1.0, 2.0):
        crash(servers, A, now)
        assert f"again in {pause} s" in said[-1]
        servers.tend(now + pause - 0.1)
        assert servers.describe()[0]["pid"] is None, "not before the pause is over"
        now += pause + 0.1
    assert servers.describe()[0]["crashes"] == MAX_CRASHES
    assert "its process ended" in servers.health()[A].failure
    await_ready(servers, A, now)
    servers.tend(now + CRASH_RESET_SECONDS + 1)
    assert servers.health()[A].failure == ""
    assert servers.describe()[0]["crashes"] == 0


def test_a_server_that_does_not_become_ready_counts_as_crashed(servers: Servers, backends: Backends, said: list[str]) -> None:
    backends.set_mode(A, live=False)
    servers.keep([A])
    await_at(servers, 0.0, lambda: servers.describe()[0]["pid"])
    pid = servers.describe()[0]["pid"]
    await_at(servers, 11.0, lambda: servers.describe()[0]["crashes"])
    assert "not ready within 10 s" in said[-1]
    wait_for(lambda: not is_running(pid))


def test_a_release_that_is_not_sound_is_given_up_at_once(servers: Servers, backends: Backends) -> None:
    backends.broken.add(A)
    servers.keep([A])
    await_at(servers, 0.0, lambda: servers.health()[A].failure)
    assert servers.health()[A].failure == "the release is not sound"
    backends.broken.clear()
    await_ready(servers, A, now=100.0)


def test_stopping_ends_every_process(servers: Servers) -> None:
    servers.keep([A, B])
    pids = [await_ready(servers, A), await_ready(servers, B)]
    servers.stop()
    assert not any(is_running(pid) for pid in pids)
