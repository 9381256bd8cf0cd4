"""The traffic that was measured, and how long each step of a rollout takes with it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.rollout.decisions.states import ALL_TRAFFIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.project.tables.rollout import RolloutTable

LIVE_PART = 0.1
"""Part of ``rollout.first_look`` that users must send at the first step if the shadow has seen the other requests."""

_KEPT_REQUESTS, _KEPT_SECONDS = 1000, 600.0
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The requests to all releases in the last time. Older ones lose their weight.

    Attributes:
        requests: The number of requests.
        seconds: The time in which they came.
    """

    requests: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float | None:
        """Requests a second; None before the first request."""
        return self.requests / self.seconds if self.requests and self.seconds > 0 else None

    def add(self, requests: int, seconds: float) -> Traffic:
        """Return the traffic after some more time. It halves when it holds many requests of a long time."""
        requests, seconds = self.requests + requests, self.seconds + seconds
        if requests >= _KEPT_REQUESTS and seconds >= _KEPT_SECONDS:
            return Traffic(requests=requests // 2, seconds=seconds / 2)
        return Traffic(requests=requests, seconds=seconds)


NO_TRAFFIC = Traffic()


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


def describe_expected(expected: Sequence[ExpectedStep], rate: float | None, deadline_seconds: float) -> list[str]:
    """Return the expected times as lines for a person, with a warning if they do not fit into the deadline."""
    if rate is None:
        return ["the time of the steps is not known, because no traffic was measured yet"]
    lines = []
    for step in expected:
        share = f" ({step.share} %)" if step.share else ""
        lines.append(f"{step.name}{share}: {step.requests} requests, about {describe_duration(step.seconds or 0.0)}")
    total = sum(step.seconds or 0.0 for step in expected)
    lines.append(f"together about {describe_duration(total)} at {rate:.3g} requests a second, if every first look passes")
    if total > deadline_seconds:
        limit = describe_duration(deadline_seconds)
        lines.append(
            f"this is longer than the deadline of {limit}: raise rollout.deadline_seconds or the shares of rollout.steps,"
            " or lower rollout.first_look"
        )
    return lines
