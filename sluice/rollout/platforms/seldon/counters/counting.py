"""What counts the requests of each release in a control round, by the setting ``seldon.counters``."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sluice.rollout.clocks import REAL_CLOCK, Clock
from sluice.rollout.decisions.evidence import NO_COUNTS, Counts
from sluice.rollout.platforms.seldon.counters.executors import Executors
from sluice.rollout.platforms.seldon.counters.gateway import Gateway
from sluice.rollout.platforms.seldon.counters.matching import NOTHING_OPEN, Open, match
from sluice.rollout.platforms.seldon.counters.shares import ShareWindow
from sluice.rollout.platforms.seldon.counters.tallies import NO_REQUESTS, Tally, tally_counts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sluice.project.settings import Settings
    from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod

NOTICE_SECONDS = 60.0
"""How long direct requests are reported after they were seen."""

NOTICE_REQUESTS, NOTICE_SHARE = 20, 0.1
"""Direct requests are reported above this number and this share of the gateway's requests. Clients that go away also leave some:
an executor counts their requests, and the gateway counts no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedTraffic:
    """What the routes do in a control round.

    Attributes:
        pods: The Pods whose executors are asked.
        hosts: The host of each release's Service, by release.
        weights: Per cents above 0 by release; None if the routes differ from each other.
    """

    pods: Sequence[ServingPod]
    hosts: Mapping[str, str]
    weights: Mapping[str, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was counted.

    Attributes:
        counts: Cumulative counts by release; they never fall.
        problem: Why no release may advance by these counts; empty if one may. A release can still fail by them.
        notice: What people should know of, although it changes nothing; empty if there is nothing.
    """

    counts: Mapping[str, Counts]
    problem: str = ""
    notice: str = ""


class RequestCounters(Protocol):
    """What counts the requests."""

    def read(self, traffic: ServedTraffic, now: float) -> Reading:
        """Return what was counted.

        Args:
            traffic: What the routes do.
            now: Seconds since the epoch.

        Raises:
            ServiceError: Not everything can be read. Nothing was counted; the next call counts what this one missed.
        """

    def close(self) -> None:
        """Close the connections."""


class ExecutorReader(Protocol):
    """What asks the executors."""

    def read(self, pods: Sequence[ServingPod], now: float) -> dict[str, Counts]:
        """Return cumulative counts by release; they never fall."""

    def close(self) -> None:
        """Close the connections."""


class GatewayReader(Protocol):
    """What asks the proxies of the gateway."""

    def read(self, hosts: Collection[str]) -> dict[str, Tally]:
        """Return cumulative tallies by host; they never fall."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(slots=True)
class ExecutorCounters:
    """Only the executors count. Whoever reaches an executor directly is counted as a user."""

    executors: ExecutorReader = field(default_factory=Executors)

    def read(self, traffic: ServedTraffic, now: float) -> Reading:
        """Return what the executors counted."""
        return Reading(counts=self.executors.read(traffic.pods, now))

    def close(self) -> None:
        """Close the connections."""
        self.executors.close()


@dataclass(slots=True)
class GatewayCounters:
    """The gateway counts, and the executors confirm which of its requests were predictions.

    Attributes:
        gateway: Asks the gateway.
        executors: Asks the executors.
        clock: Time.
        totals: Counts by release since this object was created. They never fall.
    """

    gateway: GatewayReader
    executors: ExecutorReader
    clock: Clock = REAL_CLOCK
    totals: dict[str, Counts] = field(default_factory=dict)
    _gateway_before: dict[str, Tally] = field(default_factory=dict)
    _executors_before: dict[str, Counts] = field(default_factory=dict)
    _open: dict[str, Open] = field(default_factory=dict)
    _window: ShareWindow = field(default_factory=ShareWindow)
    _recent: dict[str, deque[tuple[float, int, int]]] = field(default_factory=lambda: defaultdict(deque))

    def read(self, traffic: ServedTraffic, now: float) -> Reading:
        """Return what the gateway and the executors agree on.

        The gateway is read last, because an executor counts a request before the gateway has passed its answer on.
        """
        answered = self.executors.read(traffic.pods, now)
        carried = self.gateway.read(set(traffic.hosts.values()))
        moment, ended = self.clock.steady(), {}
        for release, host in traffic.hosts.items():
            by_gateway = carried[host] - self._gateway_before.get(host, NO_REQUESTS)
            by_executors = answered.get(release, NO_COUNTS) - self._executors_before.get(release, NO_COUNTS)
            ended[release] = by_gateway.ended
            self._add(release, by_gateway, tally_counts(by_executors), moment)
            self._gateway_before[host] = carried[host]
            self._executors_before[release] = answered.get(release, NO_COUNTS)
        self._window = self._window.extend(traffic.weights, ended, now=moment)
        problem = self._window.describe_problem(traffic.hosts)
        return Reading(counts=dict(self.totals), problem=problem, notice=self._describe_direct_requests(traffic.hosts, moment))

    def close(self) -> None:
        """Close the connections."""
        self.gateway.close()
        self.executors.close()

    def _add(self, release: str, by_gateway: Tally, by_executors: Tally, moment: float) -> None:
        matched = match(self._open.get(release, NOTHING_OPEN), by_gateway, by_executors, now=moment)
        self._open[release] = matched.left
        self.totals[release] = self.totals.get(release, NO_COUNTS) + matched.agreed.to_counts()
        self._recent[release].append((moment, matched.direct, by_gateway.ended))
        while moment - self._recent[release][0][0] > NOTICE_SECONDS:
            self._recent[release].popleft()

    def _describe_direct_requests(self, hosts: Mapping[str, str], moment: float) -> str:
        """Say that executors counted clearly more than the gateway, if they did in the last minute."""
        found = []
        for release, host in hosts.items():
            recent = [one for one in self._recent[release] if moment - one[0] <= NOTICE_SECONDS]
            direct, carried = sum(one[1] for one in recent), sum(one[2] for one in recent)
            if direct > max(NOTICE_REQUESTS, NOTICE_SHARE * carried):
                found.append(f"{direct} at {host.partition('.')[0]}, beside {carried} of the gateway")
        if not found:
            return ""
        return (
            f"executors answered requests that the gateway did not count ({'; '.join(found)}, in the last minute); they are no "
            "evidence. Some Pod asks executors directly, or seldon.gateway_metrics does not lead to every proxy of the gateway"
        )


def make_counters(settings: Settings, clock: Clock = REAL_CLOCK) -> RequestCounters:
    """Return what counts the requests, by ``seldon.counters``."""
    executors = Executors(settings.rollout.slow_seconds)
    if settings.seldon.counters == "executors":
        return ExecutorCounters(executors)
    return GatewayCounters(Gateway(settings.seldon.gateway_metrics, settings.rollout.slow_seconds), executors, clock)
