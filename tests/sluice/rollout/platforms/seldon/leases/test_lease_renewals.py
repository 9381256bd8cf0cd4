"""A thread keeps the lease while a round hangs, another controller takes over in seconds, and a late write is refused."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import urllib3
from memory_api import MemoryApi
from seldon_canaries import B, ended, make_cluster

from sluice.errors import ServiceError
from sluice.kubernetes_calls import POD
from sluice.kubernetes_connections import QuickConnection
from sluice.rollout.platforms.seldon.api import LEASE, Cluster
from sluice.rollout.platforms.seldon.leases.lease_locks import EVIDENCE_ANNOTATION, LeaseLock
from sluice.rollout.platforms.seldon.leases.lease_renewals import LeaseRenewal

if TYPE_CHECKING:
    from collections.abc import Callable

GUARD_SECONDS = 60.0


def wait_for(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GUARD_SECONDS
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def make_lock(api: MemoryApi, holder: str, seconds: float = 3.0) -> LeaseLock:
    return LeaseLock(api, "churn-rollout", holder, seconds)  # type: ignore[arg-type]


def keep(lock: LeaseLock, woken: threading.Event | None = None, lines: list[str] | None = None) -> LeaseRenewal:
    wake = (woken or threading.Event()).set
    renewal = LeaseRenewal(lock, lambda: {"note": lock.holder}, wake, (lines if lines is not None else []).append)
    renewal.start()
    return renewal


def test_the_thread_keeps_the_lease_while_no_round_asks_for_it_and_the_other_controller_takes_over_when_it_ends() -> None:
    api, woken, woken_again = MemoryApi(), threading.Event(), threading.Event()
    first, second = make_lock(api, "first", 2.0), make_lock(api, "second", 2.0)
    keeps_first = keep(first, woken)
    assert woken.wait(GUARD_SECONDS), "a round starts as soon as the lease is there"
    renewed = api.objects[LEASE.plural, "churn-rollout"]["spec"]["renewTime"]
    keeps_second = keep(second, woken_again)
    wait_for(lambda: api.objects[LEASE.plural, "churn-rollout"]["spec"]["renewTime"] > renewed)
    assert not first.renewal_due
    assert (first.epoch, second.epoch) == (1, 0)
    keeps_first.stop()  # as if it were killed: it releases nothing
    assert woken_again.wait(GUARD_SECONDS)
    assert (second.epoch, second.taken_from, second.is_held) == (2, "first", True)
    wait_for(lambda: not first.is_held)
    keeps_second.stop()


def test_a_released_lease_is_acquired_at_once_and_is_not_reported_as_taken_over() -> None:
    api = MemoryApi()
    first, second = make_lock(api, "first", 600.0), make_lock(api, "second", 600.0)
    assert first.acquire({})
    assert not second.acquire({})
    first.release()
    assert second.acquire({})
    assert second.taken_from == ""


def test_a_problem_with_the_lease_is_reported_once_and_the_thread_goes_on() -> None:
    api, lines, calls = MemoryApi(), list[str](), list[str]()

    def refuse(verb: str, _plural: str, _name: str) -> None:
        calls.append(verb)
        if len(calls) < 4:
            raise ServiceError("the API server does not answer") if len(calls) < 3 else RuntimeError("a bug")

    api.before = refuse
    lock = make_lock(api, "one", 0.3)
    renewal = keep(lock, lines=lines)
    wait_for(lambda: lock.epoch == 1)
    renewal.stop()
    assert [line.rpartition(": ")[2] for line in lines] == ["the API server does not answer", "a bug"]


def test_a_controller_stops_acting_well_before_another_one_begins() -> None:
    moment = [0.0]
    api = MemoryApi()
    from sluice.rollout.clocks import Clock

    clock = Clock(now=lambda: moment[0], steady=lambda: moment[0])
    first = LeaseLock(api, "churn-rollout", "first", 3.0, clock)  # type: ignore[arg-type]
    second = LeaseLock(api, "churn-rollout", "second", 3.0, clock)  # type: ignore[arg-type]
    assert first.acquire({})
    ends, begins = 0.0, 0.0
    while not begins:
        begins = moment[0] if second.acquire({}) else 0.0
        ends = ends or (0.0 if first.is_held else moment[0])
        moment[0] += 0.1
    assert ends <= 2.1
    assert 3.0 <= begins <= 3.2


def test_a_renewal_before_the_first_round_does_not_replace_the_evidence_of_the_controller_before() -> None:
    cluster = make_cluster(approved=True)
    control = cluster.controller("two")
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    for _ in range(5):
        cluster.tick(control)
    stored = cluster.api.objects[LEASE.plural, "churn-rollout"]["metadata"]["annotations"][EVIDENCE_ANNOTATION]
    successor = cluster.controller("three")
    lock, platform = successor.platform.lock, successor.platform  # type: ignore[attr-defined]
    while not lock.acquire(platform.build_annotations()):
        cluster.now += 1
    lock.acquire(platform.build_annotations())
    assert cluster.api.objects[LEASE.plural, "churn-rollout"]["metadata"]["annotations"][EVIDENCE_ANNOTATION] == stored
    assert cluster.run(successor, until=ended).champion == B


def test_a_round_that_took_longer_than_the_lease_writes_nothing() -> None:
    cluster = make_cluster(approved=True)
    control = cluster.controller("two")
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    platform = control.platform
    assert platform.tenure.may_write()  # type: ignore[attr-defined]
    cluster.now += 11.0  # two thirds of its 15 s are over, and no other controller has acquired the lease yet
    assert not platform.tenure.may_write()  # type: ignore[attr-defined]
    assert platform.lock.acquire({})  # type: ignore[attr-defined]
    assert platform.tenure.may_write()  # type: ignore[attr-defined]
    platform.lock.give_up()  # type: ignore[attr-defined]
    cluster.now += 20.0
    assert not platform.lock.acquire({})  # type: ignore[attr-defined]
    cluster.now += 20.0
    assert platform.lock.acquire({}), "it acquires the lease again, with another epoch"  # type: ignore[attr-defined]
    assert not platform.tenure.may_write(), "what the round read belongs to the earlier epoch"  # type: ignore[attr-defined]


def test_a_connection_that_may_not_write_sends_no_write() -> None:
    cluster = Cluster(QuickConnection("http://127.0.0.1:1", "prod", urllib3.PoolManager()), "prod", 0.0)
    cluster.may_write = lambda: False
    for write in (
        lambda: cluster.create(POD, {"metadata": {"name": "a"}}, manager="m"),
        lambda: cluster.merge(POD, "a", {}, manager="m"),
        lambda: cluster.replace(POD, "a", {}, manager="m"),
        lambda: cluster.replace_status(POD, "a", {}, manager="m"),
        lambda: cluster.delete(POD, "a"),
    ):
        with pytest.raises(ServiceError, match="does not hold the lease"):
            write()
    with pytest.raises(ServiceError, match="does not answer"):
        cluster.get(POD, "a")
