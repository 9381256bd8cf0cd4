"""Servers as real processes. The test sets the clock that the pauses depend on."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from rollout_backends import is_running, name_release, wait_for

from sluice.rollout.platforms.laptop.servers import CRASH_RESET_SECONDS, MAX_CRASHES, Servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rollout_backends import Backends

A, B = name_release("a"), name_release("b")


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def servers(backends: Backends, lines: list[str]) -> Iterator[Servers]:
    servers = Servers(backends, start_timeout=10.0, notify=lines.append)
    yield servers
    servers.stop()


def update_until(servers: Servers, now: float, condition: Callable[[], object]) -> None:
    def update() -> object:
        servers.update(now)
        return condition()

    wait_for(update)


def wait_until_ready(servers: Servers, release: str, now: float = 0.0) -> int:
    update_until(servers, now, lambda: servers.read_health()[release].ready)
    (pid,) = (server["pid"] for server in servers.describe() if server["release"] == release)
    return int(pid)


def crash(servers: Servers, release: str, now: float) -> None:
    pid = wait_until_ready(servers, release, now)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_running(pid))

    update_until(servers, now, lambda: not servers.read_health()[release].ready)


def test_the_log_of_a_server_begins_when_it_is_first_needed_and_lasts_over_a_crash(backends: Backends, servers: Servers) -> None:
    def write(line: str) -> None:
        with (backends.folder / B[-1] / "log").open("a") as file:
            file.write(f"{line}\n")

    servers.set_releases([A, B])
    wait_until_ready(servers, B)
    write("the first rollout")
    servers.set_releases([A])
    write("the end of the first rollout")
    servers.set_releases([A, B])
    wait_until_ready(servers, B)
    write("before the crash")
    crash(servers, B, now=10.0)
    wait_until_ready(servers, B, now=100.0)
    write("after the crash")
    assert [line for line in servers.read_log(B) if line.startswith(("the ", "before", "after"))] == [
        "before the crash",
        "after the crash",
    ]
    servers.set_releases([A])
    assert servers.read_log(B) == []


def test_a_server_becomes_ready_and_its_port_is_known(servers: Servers) -> None:
    servers.set_releases([A, B])
    assert servers.read_ports() == {A: None, B: None}
    first = wait_until_ready(servers, A)
    wait_until_ready(servers, B)
    assert all(servers.read_ports().values())
    servers.set_releases([B])
    wait_for(lambda: not is_running(first))
    assert list(servers.read_health()) == [B]


def test_pauses_grow_and_a_crash_loop_counts_as_failed(servers: Servers, lines: list[str]) -> None:
    servers.set_releases([A])
    now = 0.0
    for pause in (0.5, 1.0, 2.0):
        crash(servers, A, now)
        assert f"again in {pause} s" in lines[-1]
        servers.update(now + pause - 0.1)
        assert servers.describe()[0]["pid"] is None, "it does not start before the pause is over"
        now += pause + 0.1
    assert servers.describe()[0]["crashes"] == MAX_CRASHES
    assert "its process ended" in servers.read_health()[A].failure
    wait_until_ready(servers, A, now)
    servers.update(now + CRASH_RESET_SECONDS + 1)
    assert servers.read_health()[A].failure == ""
    assert servers.describe()[0]["crashes"] == 0


def test_a_server_that_does_not_become_ready_counts_as_crashed(servers: Servers, backends: Backends, lines: list[str]) -> None:
    backends.set_mode(A, live=False)
    servers.set_releases([A])
    update_until(servers, 0.0, lambda: servers.describe()[0]["pid"])
    pid = servers.describe()[0]["pid"]
    update_until(servers, 11.0, lambda: servers.describe()[0]["crashes"])
    assert "not ready within 10 s" in lines[-1]
    wait_for(lambda: not is_running(pid))


def test_a_release_that_cannot_be_prepared_counts_as_failed_at_once(servers: Servers, backends: Backends) -> None:
    backends.broken.add(A)
    servers.set_releases([A])
    update_until(servers, 0.0, lambda: servers.read_health()[A].failure)
    assert servers.read_health()[A].failure == "the release cannot be unpacked"
    backends.broken.clear()
    wait_until_ready(servers, A, now=100.0)


def test_stop_ends_every_process(servers: Servers) -> None:
    servers.set_releases([A, B])
    pids = [wait_until_ready(servers, A), wait_until_ready(servers, B)]
    servers.stop()
    assert not any(is_running(pid) for pid in pids)
