"""Simulate rollouts to measure the decisions: `python -m benchmarks.rollouts [NUMBER]`, default 2,000 rollouts of each kind.

The real control rounds run (``sluice/rollout/round.py``, one a second) on a platform in memory
(``tests/sluice/rollout/memory_platform.py``): 100 requests a second, steps 5 → 25 → 100 %, and stable fails in 0.1 % of its
requests.

- healthy: the canary fails in 0.1 %, too. It should be promoted.
- broken: the canary fails in 2 % from its first request on. It should be rolled back.
- jump: the canary fails in 0.1 %, and in 2 % from its 150th request on. It should be rolled back.
- shared incident: both fail in 2 % for ten minutes, from the canary's 150th request on. Nothing should be rolled back.

The table shows how many rollouts were rolled back, and the canary's requests from the beginning of the fault until the rollback:
mean and 95th percentile.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/sluice/rollout"))

from memory_platform import MemoryPlatform, SimulatedServer

from sluice.project.tables.rollout import RolloutTable

STABLE, CANARY = (f"sha256:{letter * 64}" for letter in "ab")
USUAL, BROKEN = 0.001, 0.02
FAULT_AFTER = 150
INCIDENT_SECONDS = 600.0
KINDS = ("healthy", "broken", "jump", "shared incident")
LIMITS = {"healthy": "at most 1 %", "broken": "all, ≤ 200 requests", "jump": "all", "shared incident": "at most 1 %"}
CHUNK = 25


def simulate(kind: str, seed: int) -> tuple[str, int]:
    """Simulate one rollout; return its outcome, and the canary's requests from the fault (or the beginning) until its end."""
    platform = MemoryPlatform(RolloutTable(deadline_seconds=7200.0), seed=seed)
    platform.make_champion(STABLE)
    platform.servers[CANARY] = SimulatedServer(error_rate=BROKEN if kind == "broken" else USUAL)
    platform.request(CANARY)
    platform.approve(CANARY)
    loop = platform.control()
    before, since = 0, 0.0
    while platform.stored.request is not None:
        platform.tick(loop)
        served = platform.counts[CANARY].requests if CANARY in platform.counts else 0
        if kind in {"jump", "shared incident"} and not since and served >= FAULT_AFTER:
            before, since = served, platform.now
            if kind == "jump":
                platform.servers[CANARY].error_rate = BROKEN
            else:
                platform.shared_error_rate = BROKEN
        if kind == "shared incident" and since and platform.now > since + INCIDENT_SECONDS:
            platform.shared_error_rate = None
    return platform.stored.rollouts[-1].outcome.value, platform.counts[CANARY].requests - before


def simulate_chunk(work: tuple[str, int]) -> list[tuple[str, int]]:
    """Simulate `CHUNK` rollouts of a kind, beginning with a seed."""
    kind, seed = work
    return [simulate(kind, seed + number) for number in range(CHUNK)]


def main() -> None:
    """Print the table."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{number} rollouts of each kind\n")
    print(f"{'kind':<16} {'promoted':>9} {'rolled back':>12} {'requests: mean':>15} {'p95':>6}   wanted")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for kind in KINDS:
            work = [(kind, seed) for seed in range(0, number, CHUNK)]
            results = [result for chunk in pool.map(simulate_chunk, work) for result in chunk]
            outcomes = Counter(outcome for outcome, _ in results)
            down = [requests for outcome, requests in results if outcome == "rolled_back"]
            mean, high = (f"{np.mean(down):.0f}", f"{np.percentile(down, 95):.0f}") if down else ("", "")
            shares = [f"{outcomes[outcome] / len(results):.2%}" for outcome in ("promoted", "rolled_back")]
            print(f"{kind:<16} {shares[0]:>9} {shares[1]:>12} {mean:>15} {high:>6}   {LIMITS[kind]}", flush=True)


if __name__ == "__main__":
    main()
