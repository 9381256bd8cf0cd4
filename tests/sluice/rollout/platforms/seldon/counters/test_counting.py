"""The counters of a control round: what the gateway and the executors of each release agree on, reading by reading."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from simulated_cluster import make_settings
from simulated_gateway import SimulatedGateway

from sluice.errors import ServiceError
from sluice.rollout.clocks import Clock
from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.platforms.seldon.counters.counting import (
    NOTICE_SECONDS,
    ExecutorCounters,
    GatewayCounters,
    Reading,
    ServedTraffic,
    make_counters,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod

A, B = (f"sha256:{letter * 64}" for letter in "ab")
HOSTS = {A: "churn-r1-aaaaaaaa.ns.svc.cluster.local", B: "churn-r2-bbbbbbbb.ns.svc.cluster.local"}


@dataclass
class Counted:
    """A gateway and executors, and the counters that read both once a second."""

    hosts: dict[str, str] = field(default_factory=lambda: dict(HOSTS))
    executors: dict[str, Counts] = field(default_factory=dict)
    gateway: SimulatedGateway = field(default_factory=SimulatedGateway)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.counters = GatewayCounters(self.gateway, self, Clock(steady=lambda: self.now))

    def send(self, release: str, requests: int, errors: int = 0, *, direct: bool = False) -> None:
        self.executors[release] = self.executors.get(release, Counts()) + Counts(requests, errors, requests)
        if not direct:
            self.gateway.count(self.hosts[release], requests=requests, errors=errors)

    def look(self) -> Reading:
        self.now += 1.0
        return self.counters.read(ServedTraffic(pods=(), hosts=self.hosts, weights={A: 95, B: 5}), now=self.now)

    def read(self, pods: Sequence[ServingPod], now: float) -> dict[str, Counts]:
        del pods, now
        return dict(self.executors)

    def close(self) -> None:
        pass


def test_a_release_that_comes_back_under_another_name_counts_on() -> None:
    counted = Counted()
    counted.send(B, 50, 2)
    assert counted.look().counts[B] == Counts(50, 2, 50)
    counted.hosts[B] = "churn-r3-bbbbbbbb.ns.svc.cluster.local"
    assert counted.look().counts[B] == Counts(50, 2, 50)
    counted.send(B, 10)
    assert counted.look().counts[B] == Counts(60, 2, 60)


def test_a_reading_that_fails_loses_nothing() -> None:
    counted = Counted()
    counted.look()
    counted.send(B, 10, 1)
    counted.gateway.metrics_work = False
    with pytest.raises(ServiceError):
        counted.look()
    counted.send(B, 10)
    counted.gateway.metrics_work = True
    assert counted.look().counts[B] == Counts(20, 1, 20)


def test_direct_requests_are_reported_with_the_numbers_for_a_minute_and_a_few_are_not() -> None:
    counted = Counted()
    counted.send(B, 15, direct=True)
    assert [counted.look().notice for _ in range(4)] == [""] * 4, "a few are left over by clients that went away"
    counted.send(B, 100)
    counted.send(B, 400, direct=True)
    for _ in range(3):
        notice = counted.look().notice
    assert "415 at churn-r2-bbbbbbbb, beside 100 of the gateway" in notice
    assert "no evidence" in notice
    counted.now += NOTICE_SECONDS
    assert counted.look().notice == ""


def test_clients_that_go_away_are_no_direct_requests() -> None:
    counted = Counted()
    for _ in range(30):
        counted.send(A, 100)
        counted.send(A, 3, direct=True)  # the gateway counts no answer
        assert counted.look().notice == ""


def test_the_setting_chooses_what_counts() -> None:
    settings = make_settings()
    found = make_counters(settings)
    assert isinstance(found, GatewayCounters)
    found.close()
    alone = make_counters(settings.model_copy(update={"seldon": settings.seldon.model_copy(update={"counters": "executors"})}))
    assert isinstance(alone, ExecutorCounters)
    alone.close()
