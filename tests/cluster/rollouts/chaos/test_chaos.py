"""Rollouts under traffic while controllers are killed, the API server goes away, disks are full and routes are deleted.

$SLUICE_TEST_CHAOS_SECONDS says how long (60 by default), and $SLUICE_TEST_CHAOS_SEED repeats the order of faults and rollouts.
"""

from __future__ import annotations

import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from chaos_faults import Chaos
from chaos_stories import GOOD, STORIES, Storyteller
from chaos_verdicts import MAX_LOST_SHARE, find_late, find_lost, find_unjustified, find_wrong_ends, list_rollbacks
from load import Load
from signed_releases import SignedReleases, make_signer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployments_under_test import DeploymentUnderTest
    from rollout_namespaces import RolloutNamespace

SECONDS = float(os.environ.get("SLUICE_TEST_CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("SLUICE_TEST_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
RATE = 50.0
ENOUGH_SECONDS = 1800.0
"""In a run of this length, every kind of fault and every kind of rollout occurs."""


@pytest.fixture
def storyteller(make_deployment: Callable[..., DeploymentUnderTest], namespace: RolloutNamespace) -> Iterator[Storyteller]:
    """Return what runs the rollouts of a deployment whose controllers verify signatures and have a champion."""
    with pytest.MonkeyPatch.context() as patch:
        signer = make_signer(namespace.folder / "chaos-keys", "chaos", patch)
        keys = f"gate_keys = {signer.settings.gate_keys}\nprovenance_keys = {signer.settings.provenance_keys}".replace("'", '"')
        deployment = make_deployment("chaos", deadline=900.0, rollout_settings=f"[trust]\n{keys}\n")
        deployment.ensure_ready()
        deployment.start_controller()
        yield Storyteller(deployment, SignedReleases(namespace, signer), random.Random(SEED))  # noqa: S311 - a seed repeats it


def test_no_fault_loses_requests_promotes_without_a_reason_or_delays_a_rollback(
    storyteller: Storyteller, namespace: RolloutNamespace
) -> None:
    deployment = storyteller.deployment
    try:
        run_chaos(storyteller, namespace)
    except AssertionError as error:
        seen = f"{deployment.read_journal().state}, {deployment.journal.read_status()}, {deployment.route_weights()}"
        raise AssertionError(
            f"seed {SEED}: {error}\n{seen}\n{deployment.read_logs()}\n{namespace.read_operator_log()}"
        ) from error


def run_chaos(storyteller: Storyteller, namespace: RolloutNamespace) -> None:
    """Run rollouts and faults for `SECONDS`, and check what was seen."""
    deployment = storyteller.deployment
    sys.stdout.write(f"\nchaos: seed {SEED}, {SECONDS:g} s\n")
    chaos = Chaos(deployment, namespace, random.Random(SEED + 1))  # noqa: S311 - a seed repeats it
    with Load(deployment.url, RATE) as load:  # the champion and N-1; the first requests find no champion yet
        storyteller.tell(GOOD, load)
        storyteller.tell(GOOD, load)
    deployment.wait_serving(deployment.read_journal().champion or "")
    with Load(deployment.url, RATE) as load, ThreadPoolExecutor(1, thread_name_prefix="stories") as threads:
        end = time.monotonic() + SECONDS

        def tell_stories() -> None:
            try:
                while time.monotonic() < end:
                    storyteller.tell_next(load)
            finally:
                chaos.stop()

        told = threads.submit(tell_stories)
        chaos.run()
        told.result()
        storyteller.tell(GOOD, load)  # everything works again
    deployment.check_converged()
    lost = find_lost(load.answers, storyteller.told)
    rollbacks = list_rollbacks(storyteller.told, chaos.overlaps)
    quiet = [one.seconds for one in rollbacks if one.fault_seconds is None]
    late = [one.fault_seconds for one in rollbacks if one.fault_seconds is not None]
    sys.stdout.write(
        f"{len(chaos.faults)} faults {dict(chaos.count())}, {len(storyteller.told)} rollouts, {len(load.answers)} requests, "
        f"{len(lost)} lost\n"
        f"{len(quiet)} rollbacks without a fault: {_describe(quiet)}; "
        f"{len(late)} with a fault, counted from its end: {_describe(late)}\n"
    )
    assert not chaos.errors
    if SECONDS >= ENOUGH_SECONDS:
        assert chaos.count().keys() == chaos.kinds.keys(), "every kind of fault has to occur"
        assert {one.story.name for one in storyteller.told} >= {one.name for one in STORIES}, "and every kind of rollout"
    assert not find_wrong_ends(storyteller.told)
    assert not find_unjustified(storyteller.told, load.answers)
    assert not find_late(rollbacks)
    assert len(lost) <= MAX_LOST_SHARE * len(load.answers), lost[:10]


def _describe(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    median, p99 = np.quantile(seconds, (0.5, 0.99))
    return f"p50 {median:.2f} s, p99 {p99:.2f} s, most {max(seconds):.2f} s"
