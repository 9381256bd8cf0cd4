"""The traffic that was measured, and how long each step of a rollout takes with it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.rollout.decisions.states import ALL_TRAFFIC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from sluice.project.tables.rollout import RolloutTable

LIVE_PART = 0.1
"""Part of ``rollout.first_look`` that users must send at the first step if the shadow has seen the other requests."""

LONG_SECONDS, LATEST_SECONDS = 600.0, 60.0
"""The times over which the traffic is averaged. Older requests lose their weight exponentially, whether or not new ones come."""

SURE_REQUESTS = 100
"""With this many requests in about the last minute, their rate counts. With fewer, it is too uncertain."""

SURE_SECONDS = 300.0
"""A measurement of less weight than this is short."""

UNSURE_SHARE = 5
"""Largest share, in per cent, that is chosen from a short or an old measurement."""

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The requests to all releases. Time takes their weight away, so a night or a morning does not count for long.

    Attributes:
        requests: The weight of the requests of about the last ten minutes.
        seconds: The weight of the time in which they came, at most `LONG_SECONDS`.
        latest_requests: Like `requests`, of about the last minute.
        latest_seconds: Like `seconds`, at most `LATEST_SECONDS`.
        busiest: The highest rate over ten minutes, in requests a second. It halves in a day.
        quiet_seconds: The time since the last request.
    """

    requests: float = 0.0
    seconds: float = 0.0
    latest_requests: float = 0.0
    latest_seconds: float = 0.0
    busiest: float = 0.0
    quiet_seconds: float = 0.0

    @property
    def rate(self) -> float | None:
        """Requests a second at present; None if there were none in about the last ten minutes."""
        if self.latest_requests >= SURE_REQUESTS:
            return self.latest_requests / self.latest_seconds
        return self.requests / self.seconds if self.requests >= 0.5 and self.seconds > 0 else None  # noqa: PLR2004 - half a request

    def add(self, requests: int, seconds: float) -> Traffic:
        """Return the traffic after some more time."""
        if seconds <= 0:
            return self
        in_long, long_seconds = _average(self.requests, self.seconds, requests, seconds, LONG_SECONDS)
        in_latest, latest_seconds = _average(self.latest_requests, self.latest_seconds, requests, seconds, LATEST_SECONDS)
        sure = long_seconds >= LATEST_SECONDS / 2  # the first seconds say nothing about ten minutes
        return Traffic(
            requests=in_long,
            seconds=long_seconds,
            latest_requests=in_latest,
            latest_seconds=latest_seconds,
            busiest=max(self.busiest * 0.5 ** (seconds / _DAY), in_long / long_seconds if sure else 0.0),
            quiet_seconds=0.0 if requests else self.quiet_seconds + seconds,
        )

    def describe(self) -> dict[str, float]:
        """Return the measurement as plain JSON types; nothing before the first request."""
        if not self.requests:
            return {}
        found = {
            "traffic_seconds": self.seconds,
            "quiet_seconds": self.quiet_seconds,
            "busiest_requests_per_second": self.busiest,
        }
        return found if self.rate is None else {"requests_per_second": self.rate} | found


def _average(weight: float, weight_seconds: float, requests: int, seconds: float, kept: float) -> tuple[float, float]:
    """Return the weights of the requests and of the time after some more time, with an exponential decay over `kept` seconds."""
    decay = math.exp(-seconds / kept)
    added = kept * (1 - decay)
    return weight * decay + requests * added / seconds, weight_seconds * decay + added


NO_TRAFFIC = Traffic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What `Traffic.describe` says, as another process reads it. Older versions stored the rate only.

    Attributes:
        rate: Requests a second at present; None if it is not known.
        seconds: The weight of the time in which they came.
        quiet_seconds: The time since the last request.
        busiest: The highest rate of about the last day; 0 if it is not known.
    """

    rate: float | None = None
    seconds: float = 0.0
    quiet_seconds: float = 0.0
    busiest: float = 0.0

    @property
    def highest(self) -> float | None:
        """The rate that a share is chosen from. The traffic of the day may return during the rollout."""
        return max(self.rate or 0.0, self.busiest) or None

    @property
    def is_sure(self) -> bool:
        """Whether the measurement is long and fresh."""
        return self.rate is not None and self.seconds >= SURE_SECONDS


def read_measurement(numbers: Mapping[str, Any]) -> Measurement:
    """Return the measurement in the numbers of a status."""
    rate = numbers.get("requests_per_second")
    return Measurement(
        rate=float(rate) if rate else None,
        seconds=float(numbers.get("traffic_seconds", 0.0)),
        quiet_seconds=float(numbers.get("quiet_seconds", 0.0)),
        busiest=float(numbers.get("busiest_requests_per_second", 0.0)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedStep:
    """How long a healthy canary stays at one step, at the least.

    Attributes:
        name: Name of the state.
        share: Per cent of the traffic for the canary; 0 in the shadow.
        requests: Requests that the first interim look needs.
        seconds: The expected time; None if the traffic is not known.
    """

    name: str
    share: int
    requests: int
    seconds: float | None


def expect_steps(steps: Sequence[int], rate: float | None, settings: RolloutTable) -> list[ExpectedStep]:
    """Return the expected time of each step, for a canary that passes its first look at each.

    Args:
        steps: Shares of the traffic for the canary, in per cent.
        rate: Requests a second to all releases; None if it is not known.
        settings: ``[rollout]``.
    """

    def expect(name: str, share: int, part: int, requests: int, at_least: float = 0.0) -> ExpectedStep:
        seconds = max(at_least, requests * ALL_TRAFFIC / (rate * part)) if rate else None
        return ExpectedStep(name=name, share=share, requests=requests, seconds=seconds)

    found = []
    if settings.shadow_requests:
        found.append(expect("shadow", 0, ALL_TRAFFIC, settings.shadow_requests))
    for index, share in enumerate(steps[:-1]):
        requests = count_live_requests(settings) if index == 0 else settings.first_look
        found.append(expect(f"step-{index + 1}", share, share, requests))
    bake = compute_bake_share(steps, settings.holdback)
    found.append(expect("baking", bake, bake, settings.first_look, settings.bake_seconds))
    return found


def count_live_requests(settings: RolloutTable) -> int:
    """Return the requests of users that the first look of the first step needs: fewer if the shadow has seen enough requests."""
    shadowed = settings.shadow_requests >= settings.first_look
    return math.ceil(settings.first_look * LIVE_PART) if shadowed else settings.first_look


def compute_bake_share(steps: Sequence[int], holdback: int) -> int:
    """Return the canary's per cent during the bake: all but the holdback, and never less than at the step before."""
    return max(ALL_TRAFFIC - holdback, *steps[:-1], 0)


def choose_share(requests: int, rate: float, step_seconds: float, largest: int) -> int:
    """Return the smallest share, in per cent, with which this many requests reach the canary in time; `largest` if none does."""
    return min(largest, max(1, math.ceil(requests * ALL_TRAFFIC / (rate * step_seconds))))


def describe_duration(seconds: float) -> str:
    """Return a time for a person, in two digits."""
    for unit, name in ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.2g} {name}" if seconds < 10 * unit else f"{seconds / unit:.0f} {name}"
    return f"{math.ceil(seconds)} s"


def describe_measurement(measured: Measurement) -> str:
    """Return over which time the traffic was measured, and how old the last request is, for a person."""
    age = f"the last request came {describe_duration(measured.quiet_seconds)} ago"
    if measured.rate is None:
        return "no traffic was measured yet" if not measured.busiest else f"there was no traffic in the last ten minutes: {age}"
    over = "over about the last ten minutes" if measured.is_sure else f"over {describe_duration(measured.seconds)} only"
    return f"the traffic was measured {over}" + (f", and {age}" if measured.quiet_seconds >= _MINUTE else "")


def describe_expected(expected: Sequence[ExpectedStep], measured: Measurement, deadline_seconds: float) -> list[str]:
    """Return the expected times as lines for a person, with a warning if they do not fit into the deadline."""
    if measured.rate is None:
        return [f"the time of the steps is not known, because {describe_measurement(measured)}"]
    lines = []
    for step in expected:
        share = f" ({step.share} %)" if step.share else ""
        lines.append(f"{step.name}{share}: {step.requests} requests, about {describe_duration(step.seconds or 0.0)}")
    total = sum(step.seconds or 0.0 for step in expected)
    lines.append(
        f"together about {describe_duration(total)} at {measured.rate:.3g} requests a second, if every first look passes"
    )
    lines.append(describe_measurement(measured))
    if total > deadline_seconds:
        limit = describe_duration(deadline_seconds)
        lines.append(
            f"this is longer than the deadline of {limit}: raise rollout.deadline_seconds or the shares of rollout.steps,"
            " or lower rollout.first_look"
        )
    return lines
