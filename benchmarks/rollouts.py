"""What the rollout's rules do, simulated: `python -m benchmarks.rollouts [NUMBER]`, default 2,000 rollouts of each kind.

The controller's own code runs (``sluice/rollout/round.py``, rounds of one second, its writes and its journal) in a
cluster in memory (``tests/sluice/rollout/seldon_world.py``): 100 requests a second, steps 5 → 25 → 100 %, stable fails in 0.1 %.

- healthy: the canary fails in 0.1 % too; it is to be promoted.
- broken: it fails in 2 % from its first request on.
- jump: it fails in 0.1 %, and in 2 % from the 150th canary request on.
- shared incident: both fail in 2 %, from the 150th canary request on, for ten minutes.

Reported: how many were rolled back; the canary's requests from the fault until it got none, mean and 95th percentile.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/sluice/rollout"))

from seldon_world import SeldonWorld, Server, make_settings

STABLE, CANARY = (f"sha256:{letter * 64}" for letter in "ab")
USUAL, BROKEN = 0.001, 0.02
FAULT_AFTER = 150
INCIDENT_SECONDS = 600.0
KINDS = ("healthy", "broken", "jump", "shared incident")
LIMITS = {"healthy": "at most 1 %", "broken": "all, ≤ 200 requests", "jump": "all", "shared incident": "at most 1 %"}
CHUNK = 25


def simulate(kind: str, seed: int) -> tuple[str, int]:
    """One rollout: its outcome, and the canary's requests from the fault (or the beginning) until its end."""
    world = SeldonWorld(make_settings(deadline_seconds=7200.0), seed=seed)
    world.champion(STABLE, 1)
    world.now += 20
    world.servers[CANARY] = Server(error_rate=BROKEN if kind == "broken" else USUAL)
    world.request(CANARY, 2)
    world.approve(CANARY)
    control = world.controller("two")
    before, since = 0, 0.0
    while (journal := world.journal.read()).request is not None:
        world.tick(control)
        served = world.counts[CANARY].requests if CANARY in world.counts else 0
        if kind in {"jump", "shared incident"} and not since and served >= FAULT_AFTER:
            before, since = served, world.now
            if kind == "jump":
                world.servers[CANARY].error_rate = BROKEN
            else:
                world.shared_error_rate = BROKEN
        if kind == "shared incident" and since and world.now > since + INCIDENT_SECONDS:
            world.shared_error_rate = None
    return journal.rollouts[-1].outcome.value, world.counts[CANARY].requests - before


def simulate_chunk(work: tuple[str, int]) -> list[tuple[str, int]]:
    """`CHUNK` rollouts of a kind, from this seed on."""
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
