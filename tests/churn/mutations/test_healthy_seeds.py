"""200 healthy challengers, each trained on other customers, pass every check from the code tests to the load by a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pipeline_under_test import SNAPSHOT_ROWS, load_releases, make_world, run_pipeline

from churn.customers import simulate_customers
from sluice.release.store.releases import ReleaseStore

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

BLOCKS, SEEDS_PER_BLOCK = 4, 50
"""Each block has its own holdout and its own champion. Its questions fit into the gate's budget of 52."""


@pytest.mark.parametrize("block", range(BLOCKS))
def test_healthy_challengers_pass_every_check(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path / "project"))
    world = make_world(tmp_path / "project", seed=100 + block)
    world.loads = False
    releases = []
    for number in range(SEEDS_PER_BLOCK):
        seed = 1000 * (block + 1) + number
        world.write(snapshot=simulate_customers(SNAPSHOT_ROWS, seed))
        assert run_pipeline(world) is None, f"seed {seed}"
        releases.append(world.release)
    assert len(set(releases)) == SEEDS_PER_BLOCK
    store = ReleaseStore(world.project.state / "releases")
    loaded = load_releases((store.unpack(digest), digest) for digest in releases)
    assert loaded == [("", "")] * SEEDS_PER_BLOCK
