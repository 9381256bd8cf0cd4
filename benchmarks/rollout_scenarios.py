"""The scenarios of the simulated rollouts, as data. Each says what should happen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happens while the rollout is in a state for the first time.

    Attributes:
        state: Name of the state.
        after: Seconds since the rollout entered the state.
        seconds: How long it lasts.
        both_fail: Error rate of both releases, as in an incident of the platform.
        canary_fails: Error rate of the canary from then on.
        canary_stalls: Whether all answers of the canary are slow meanwhile.
        slow_answers: This many answers of the canary are slow.
    """

    state: str
    after: float = 5.0
    seconds: float = 120.0
    both_fail: float | None = None
    canary_fails: float | None = None
    canary_stalls: bool = False
    slow_answers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A kind of rollout.

    Attributes:
        wanted: What should happen.
        stable: Stable's error rate.
        canary: The canary's error rate.
        burst: Mean number of errors that occur together in one release. They come within one control round.
        burst_seconds: If above 0, a burst begins at any moment, and its errors come within this time, also across rounds.
        bursts_last: Whether a burst hits that many requests one after the other, so that it outlasts a second at the canary.
        canary_slow: Share of the canary's answers that are slow; stable's is 0.2 %.
        stable_from_start: Stable's error rate from the request of the rollout on; 0 for the same as before.
        record_seconds: How long stable served before the rollout.
        rate: Requests a second.
        malformed_rate: Malformed requests of outsiders a second. Both releases reject them.
        events: What happens during the rollout.
        settings: Settings of ``[rollout]`` that differ from the defaults.
    """

    wanted: str
    stable: float = 0.001
    canary: float = 0.001
    burst: float = 1.0
    burst_seconds: float = 0.0
    bursts_last: bool = False
    canary_slow: float = 0.002
    stable_from_start: float = 0.0
    record_seconds: int = 30
    rate: float = 100.0
    malformed_rate: float = 0.0
    events: Sequence[Event] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


AT_MOST_1 = "at most 1 % rolled back"
CONDEMNED = "all rolled back"
FAST = "all rolled back, after at most 200 requests on average"
PROMOTED_95 = "at least 95 % promoted"
TRAFFIC = (10, 100, 300, 1000, 5000)
SHORT = {"deadline_seconds": 1800.0}
SHADOW = {"shadow_requests": 300}
MARGIN = {"tolerated_excess": 0.01}


def _healthy(rate: float, **changes: Any) -> Scenario:  # noqa: ANN401 - the fields of a scenario
    return Scenario(wanted=AT_MOST_1, stable=rate, canary=rate, **changes)


SCENARIOS: dict[str, Scenario] = {
    "no errors": _healthy(0.0),
    "errors .1 %": _healthy(0.001),
    "errors 1 %": _healthy(0.01),
    "errors 5 %": _healthy(0.05),
    "errors 20 %": _healthy(0.2),
    **{
        f"errors {100 * rate:g} %, bursts of mean {burst}": _healthy(rate, burst=float(burst))
        for burst in (3, 5, 10)
        for rate in (0.001, 0.01)
    },
    **{
        f"errors {100 * rate:g} %, bursts of mean {burst} within {seconds:g} s": _healthy(
            rate, burst=float(burst), burst_seconds=seconds
        )
        for burst in (3, 5)
        for rate in (0.001, 0.01)
        for seconds in (0.2, 0.5, 1.0)
    },
    "errors 1 %, long bursts of mean 5": _healthy(0.01, burst=5.0, bursts_last=True),
    "the same, block_seconds = 3": _healthy(0.01, burst=5.0, bursts_last=True, settings={"block_seconds": 3.0}),
    "the same, block_seconds = 5": _healthy(0.01, burst=5.0, bursts_last=True, settings={"block_seconds": 5.0}),
    "malformed requests, 5 a second": _healthy(0.001, malformed_rate=5.0),
    "stall of 2 s at step 2": _healthy(0.001, events=(Event(state="step-2", seconds=2, canary_stalls=True),)),
    "stall of 2 s at step 1": _healthy(0.001, events=(Event(state="step-1", seconds=2, canary_stalls=True),)),
    **{
        f"stall of {seconds} s at step 1": Scenario(
            wanted="", events=(Event(state="step-1", seconds=float(seconds), canary_stalls=True),)
        )
        for seconds in (3, 5, 7)
    },
    "30 slow answers in a second of the bake": _healthy(0.001, events=(Event(state="baking", slow_answers=30),)),
    "stall of 2 s in the bake": _healthy(0.001, events=(Event(state="baking", seconds=2, canary_stalls=True),)),
    "incident .1 -> 2 % at step 1": _healthy(0.001, events=(Event(state="step-1", both_fail=0.02),)),
    "incident .1 -> 2 % in the bake": _healthy(0.001, events=(Event(state="baking", both_fail=0.02),)),
    "incident .1 -> 30 % in the bake": _healthy(0.001, events=(Event(state="baking", both_fail=0.3),)),
    "incident .1 -> 30 % for 20 s of the bake": _healthy(0.001, events=(Event(state="baking", seconds=20, both_fail=0.3),)),
    "canary 2 %": Scenario(wanted=FAST, canary=0.02),
    "canary 5 %": Scenario(wanted=FAST, canary=0.05),
    "canary 50 %": Scenario(wanted=FAST, canary=0.5),
    "canary 2 %, without any error of stable": Scenario(wanted=FAST, stable=0.0, canary=0.02),
    "canary 5 %, stable 1 %": Scenario(wanted=CONDEMNED, stable=0.01, canary=0.05),
    "canary 5 % slow": Scenario(wanted=CONDEMNED, canary_slow=0.05),
    "canary 50 % slow": Scenario(wanted=CONDEMNED, canary_slow=0.5),
    "canary 2 % after 150 requests": Scenario(wanted=CONDEMNED, events=(Event(state="step-1", after=30, canary_fails=0.02),)),
    "canary 2 % in the bake": Scenario(wanted=CONDEMNED, events=(Event(state="baking", canary_fails=0.02),)),
    "canary 5 % in the bake": Scenario(wanted=CONDEMNED, events=(Event(state="baking", canary_fails=0.05),)),
    "canary 20 % in the bake": Scenario(wanted=CONDEMNED, events=(Event(state="baking", canary_fails=0.2),)),
    "canary .3 % within the margin": Scenario(wanted=PROMOTED_95, canary=0.003, settings=MARGIN),
    "canary .5 % within the margin": Scenario(wanted=PROMOTED_95, canary=0.005, settings=MARGIN),
    "canary .8 % within the margin": Scenario(wanted=PROMOTED_95, canary=0.008, settings=MARGIN),
    "shadow, healthy": _healthy(0.001, settings=SHADOW),
    "shadow, canary 2 %": Scenario(wanted=CONDEMNED, canary=0.02, settings=SHADOW),
    "1 request a second": Scenario(wanted=AT_MOST_1, rate=1.0, settings={"deadline_seconds": 86400.0}),
    "fix: stable fails 5 %": Scenario(wanted=PROMOTED_95, stable_from_start=0.05, record_seconds=600),
    "no fix: both fail 5 %": Scenario(
        wanted="not promoted", stable_from_start=0.05, canary=0.05, record_seconds=600, settings=SHORT
    ),
    "half a fix: 5 % and 2 %": Scenario(
        wanted="not promoted", stable_from_start=0.05, canary=0.02, record_seconds=600, settings=SHORT
    ),
}

TABLES: dict[str, Scenario] = (
    {
        f"holdback {holdback}: canary {100 * rate:g} % in the bake": Scenario(
            wanted=CONDEMNED, events=(Event(state="baking", canary_fails=rate),), settings={"holdback": holdback}
        )
        for rate in (0.02, 0.05, 0.2)
        for holdback in (0, 5, 20, 50)
    }
    | {
        f"tolerated excess {100 * excess:g} %: canary {100 * rate:g} %": Scenario(
            wanted="", canary=rate, settings={"tolerated_excess": excess}
        )
        for excess in (0.0, 0.0005, 0.001, 0.002, 0.005, 0.01)
        for rate in (0.003, 0.005, 0.008, 0.02)
    }
    | {
        f"block {seconds} s: canary 2 %": Scenario(wanted="", canary=0.02, settings={"block_seconds": float(seconds)})
        for seconds in (1, 2, 3, 5, 10)
    }
    | {f"traffic of {rate} a second: canary 2 %": Scenario(wanted="", canary=0.02, rate=float(rate)) for rate in TRAFFIC}
)
"""The scenarios behind the tables in docs/rollout.md that show the price of a setting."""
