"""Simulated rollouts with the real control rounds: malformed requests of outsiders change no decision."""

from __future__ import annotations

from typing import Any

import pytest
from memory_platform import MemoryPlatform, SimulatedServer

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.blame import Rejections

A, B = "release-a", "release-b"
SEEDS = 20


def roll_out(seed: int, *, malformed_rate: float = 0.0, error_rate: float = 0.001, **rollout: Any) -> MemoryPlatform:
    """Return the platform after a rollout of B."""
    platform = MemoryPlatform(RolloutTable(**rollout), seed=seed, malformed_rate=malformed_rate)
    platform.make_champion(A)
    platform.servers[B] = SimulatedServer(error_rate=error_rate)
    platform.request(B)
    platform.approve(B)
    platform.run(platform.control(), until=lambda journal: journal.request is None)
    return platform


def list_moves(platform: MemoryPlatform) -> list[tuple[float, str]]:
    return [(one.time, one.to_state) for one in platform.stored.transitions]


@pytest.mark.slow
@pytest.mark.parametrize("error_rate", [0.001, 0.02])
@pytest.mark.parametrize("holdback", [0, 5])
def test_malformed_requests_change_no_decision(error_rate: float, holdback: int) -> None:
    for seed in range(SEEDS):
        quiet = roll_out(seed, error_rate=error_rate, holdback=holdback)
        attacked = roll_out(seed, error_rate=error_rate, holdback=holdback, malformed_rate=5.0)
        assert list_moves(attacked) == list_moves(quiet)
        last = attacked.stored.transitions[-1].evidence
        assert last["canary_rejected"] > 0
        assert last["canary_errors"] == quiet.stored.transitions[-1].evidence["canary_errors"]


def test_a_canary_that_rejects_everything_is_rolled_back_although_the_proxy_counts_no_error() -> None:
    platform = MemoryPlatform(RolloutTable(), malformed_rate=200.0)  # of which the canary gets 5 %
    platform.make_champion(A)
    platform.request(B)
    platform.approve(B)
    loop = platform.control()
    platform.run(loop, until=lambda journal: journal.state.name == "step-1")
    platform.find_rejections = lambda *_: Rejections(rejected=5, asked=5, accepted=5)  # type: ignore[method-assign]
    journal = platform.run(loop, until=lambda journal: journal.request is None, max_rounds=60)
    assert journal.rollouts[-1].outcome.value == "rolled_back"
    assert journal.transitions[-1].evidence["canary_errors"] <= 60
