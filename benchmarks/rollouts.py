"""Simulate rollouts to measure the decisions: `python -m benchmarks.rollouts [NUMBER] [NAME…]`.

By default, there are 2,000 rollouts of each scenario of ``benchmarks/rollout_scenarios.py``. A NAME selects the scenarios whose
names contain it, and also those of the tables in docs/rollout.md, for example ``holdback``, ``"tolerated excess"`` or ``block``.

The real control rounds run (``sluice/rollout/round.py``, one a second) on a platform in memory
(``tests/sluice/rollout/memory_platform.py``), with 100 requests a second and the default settings unless the scenario changes
them. The deadline is two hours.

The table shows the share of rollouts that were promoted, rolled back and ended by the deadline, how many minutes a promotion
took, and from the beginning of the fault until a rollback: the canary's requests (mean and 95th percentile), the requests that it
failed, and the seconds.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/sluice/rollout"))

from memory_platform import MemoryPlatform, SimulatedServer

from benchmarks.rollout_scenarios import SCENARIOS, TABLES, Event, Scenario
from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.evidence import NO_COUNTS

if TYPE_CHECKING:
    from collections.abc import Sequence

STABLE, CANARY = (f"sha256:{letter * 64}" for letter in "ab")
CHUNK = 25


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one simulated rollout.

    Attributes:
        outcome: ``promoted``, ``rolled back`` or ``deadline``.
        requests: The canary's requests from the beginning of the fault until the end of the rollout.
        failed: Requests that the canary failed in that time.
        seconds: How long that time was.
        reason: Why the rollout ended.
        rejected: Malformed requests that the canary rejected.
    """

    outcome: str
    requests: int
    failed: int
    seconds: float
    reason: str
    rejected: int


def simulate(scenario: Scenario, seed: int) -> Result:
    """Simulate one rollout."""
    settings = RolloutTable(**({"deadline_seconds": 7200.0} | dict(scenario.settings)))
    platform = MemoryPlatform(settings, rate=scenario.rate, seed=seed, malformed_rate=scenario.malformed_rate)
    bursts = {"burst": scenario.burst, "burst_seconds": scenario.burst_seconds, "bursts_last": scenario.bursts_last}
    start = partial(SimulatedServer, ready_after=2.0, **bursts)
    platform.servers[STABLE] = start(error_rate=scenario.stable)
    platform.make_champion(STABLE)
    loop = platform.control()
    for _ in range(scenario.record_seconds):
        platform.tick(loop)
    platform.servers[STABLE].error_rate = scenario.stable_from_start or scenario.stable
    platform.servers[CANARY] = start(error_rate=scenario.canary, slow_rate=scenario.canary_slow)
    platform.request(CANARY)
    platform.approve(CANARY)
    before, since = None, platform.now
    entered: dict[str, float] = {}
    while platform.stored.request is not None:
        platform.tick(loop)
        state = platform.stored.state.name
        entered.setdefault(state, platform.now)
        happened = [
            apply_event(platform, event, platform.now - entered[event.state])
            for event in scenario.events
            if event.state in entered
        ]
        if before is None and any(happened):
            before, since = platform.counts.get(CANARY), platform.now
    ended = platform.stored.rollouts[-1]
    outcome = "deadline" if "deadline" in ended.reason else ended.outcome.value.replace("_", " ")
    served = platform.counts.get(CANARY, NO_COUNTS) - (before or NO_COUNTS)
    return Result(outcome, served.requests, served.errors, platform.now - since, ended.reason, served.rejected)


def apply_event(platform: MemoryPlatform, event: Event, seconds: float) -> bool:
    """Begin or end an event, this long after the rollout first entered its state; return whether it has begun."""
    canary = platform.servers[CANARY]
    if seconds < event.after:
        return False
    over = seconds >= event.after + event.seconds
    if event.both_fail is not None:
        platform.shared_error_rate = None if over else event.both_fail
    if event.canary_fails is not None:
        canary.error_rate = event.canary_fails
    if event.canary_stalls:
        canary.stalled = not over
    if event.slow_answers and seconds == event.after:
        canary.late_answers = event.slow_answers
    return True


def simulate_chunk(name: str, seed: int) -> list[Result]:
    """Simulate `CHUNK` rollouts of a scenario, beginning with a seed."""
    return [simulate((SCENARIOS | TABLES)[name], seed + number) for number in range(CHUNK)]


def simulate_many(name: str, number: int, *, processes: int | None = None) -> list[Result]:
    """Simulate rollouts of a scenario, with the seeds from 0 on."""
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        return [result for chunk in pool.map(partial(simulate_chunk, name), range(0, number, CHUNK)) for result in chunk]


def summarise(results: Sequence[Result]) -> list[str]:
    """Return the columns of the table for the rollouts of one scenario."""
    shares = [np.mean([one.outcome == outcome for one in results]) for outcome in ("promoted", "rolled back", "deadline")]
    minutes = [one.seconds / 60 for one in results if one.outcome == "promoted"]
    down = [one for one in results if one.outcome == "rolled back"]
    requests = [one.requests for one in down]
    return [
        *(f"{share:.2%}" for share in shares),
        f"{np.mean(minutes):.1f}" if minutes else "",
        f"{np.mean(requests):.0f}" if down else "",
        f"{np.percentile(requests, 95):.0f}" if down else "",
        f"{np.mean([one.failed for one in down]):.0f}" if down else "",
        f"{np.mean([one.seconds for one in down]):.0f}" if down else "",
    ]


def main() -> None:
    """Print the table."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{number} rollouts of each scenario\n")
    columns = ("promoted", "rolled back", "deadline", "minutes", "requests", "p95", "failed", "seconds")
    print(f"{'scenario':<42}", *(f"{column:>11}" for column in columns), "  wanted")
    wanted, known = sys.argv[2:], SCENARIOS | (TABLES if sys.argv[2:] else {})
    for name, scenario in known.items():
        if not wanted or any(part in name for part in wanted):
            row = summarise(simulate_many(name, number))
            print(f"{name:<42}", *(f"{cell:>11}" for cell in row), f"  {scenario.wanted}", flush=True)


if __name__ == "__main__":
    main()
