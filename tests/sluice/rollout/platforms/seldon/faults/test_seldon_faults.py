"""The controller in the simulated cluster, with a fault at every single call: every rollout is completed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from seldon_canaries import A, B, check_invariants, ended, make_cluster, refuse_as_a_missing_webhook
from simulated_cluster import WRITES, Killed, SimulatedCluster, SimulatedServer

from sluice.errors import ServiceError
from sluice.kubernetes_calls import POD
from sluice.rollout.decisions.states import Phase
from sluice.rollout.platforms.seldon.api import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.rollout.decisions.states import Journal


def complete_rollout(cluster: SimulatedCluster, *, max_rounds: int = 800) -> Journal:
    """Complete one rollout under the faults that `before` causes. A controller that is killed has a successor."""
    control = cluster.controller("c0")
    for number in range(max_rounds):
        try:
            control.run_round()
        except Killed:
            cluster.now += 20
            control = cluster.controller(f"c{number + 1}")
        except ServiceError:
            pass
        cluster.pass_time(1.0)
        before, cluster.api.before = cluster.api.before, lambda *_: None
        journal = cluster.journal.read()
        cluster.api.before = before
        if ended(journal) and cluster.weights() == journal.desired_weights:
            return journal
    raise AssertionError(f"the rollout did not end: {journal.state}")


def count_writes(make: Callable[[], SimulatedCluster]) -> int:
    cluster, writes = make(), 0

    def count(verb: str, _plural: str, _name: str) -> None:
        nonlocal writes
        writes += verb in WRITES

    cluster.api.before = count
    complete_rollout(cluster)
    return writes


def make_soon_ready(canary: SimulatedServer | None = None, **rollout: object) -> SimulatedCluster:
    """Return a cluster whose canary is soon ready. While it is not, each second has the same calls as the second before."""
    canary = canary or SimulatedServer()
    canary.ready_after = 5.0
    return make_cluster(canary, approved=True, **rollout)


def good() -> SimulatedCluster:
    return make_soon_ready()


def bad() -> SimulatedCluster:
    return make_soon_ready(SimulatedServer(error_rate=0.3))


def good_with_shadow_and_holdback() -> SimulatedCluster:
    return make_soon_ready(shadow_requests=100, holdback=10)


def bad_with_shadow_and_holdback() -> SimulatedCluster:
    return make_soon_ready(SimulatedServer(error_rate=0.3), shadow_requests=100, holdback=10)


def different_answers() -> SimulatedCluster:
    return make_soon_ready(SimulatedServer(difference=0.5), shadow_requests=100)


canaries = pytest.mark.parametrize(
    ("make", "champion"),
    [
        (good, B),
        (bad, A),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((good_with_shadow_and_holdback, B), (bad_with_shadow_and_holdback, A), (different_answers, A))
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)


@canaries
def test_after_a_kill_at_any_write_the_next_controller_completes_the_rollout(
    make: Callable[[], SimulatedCluster], champion: str
) -> None:
    for fatal in range(1, count_writes(make) + 1):
        cluster, writes = make(), 0

        def kill(verb: str, _plural: str, _name: str, *, at: int = fatal) -> None:
            nonlocal writes
            writes += verb in WRITES
            if verb in WRITES and writes == at:
                raise Killed

        cluster.api.before = kill
        assert complete_rollout(cluster).champion == champion, fatal
        check_invariants(cluster)


@canaries
def test_the_rollout_is_completed_although_two_of_three_writes_conflict(
    make: Callable[[], SimulatedCluster], champion: str
) -> None:
    cluster = make()
    tries: dict[tuple[str, str], int] = {}

    def touch(verb: str, plural: str, name: str) -> None:
        """Let another process write the object between reading and writing, in two of three attempts."""
        if verb in WRITES and (plural, name) in cluster.api.objects and plural != LEASE.plural:
            tries[plural, name] = tries.get((plural, name), 0) + 1
            if tries[plural, name] % 3:
                found = cluster.api.objects[plural, name]
                found["metadata"]["resourceVersion"] = f"{found['metadata']['resourceVersion']}x"

    cluster.api.before = touch
    assert complete_rollout(cluster).champion == champion
    check_invariants(cluster)


@canaries
def test_the_rollout_is_completed_although_the_api_server_is_away_for_half_a_minute(
    make: Callable[[], SimulatedCluster], champion: str
) -> None:
    for begins in range(0, 40, 4):
        cluster = make()
        start = cluster.now

        def away(
            _verb: str, _plural: str, _name: str, *, cluster: SimulatedCluster = cluster, since: float = start + begins
        ) -> None:
            if since <= cluster.now < since + 30:
                raise ServiceError("the API server does not answer")

        cluster.api.before = away
        assert complete_rollout(cluster).champion == champion, begins
        cluster.api.before = lambda *_: None  # the check must be able to read even while the API server is away
        check_invariants(cluster)


def test_the_successor_of_a_controller_that_could_not_journal_a_rollback_continues_with_its_evidence() -> None:
    """The operator's webhook fails, so the rollback moves the routes only. Then the controller is killed."""
    cluster = make_cluster(SimulatedServer(error_rate=0.3), approved=True)
    control = cluster.controller("one")
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    cluster.operator_works = False

    cluster.api.before = refuse_as_a_missing_webhook
    for _ in range(30):
        cluster.tick(control)
    assert cluster.weights() == {A: 100}
    cluster.now += 20
    cluster.api.before = lambda *_: None
    successor = cluster.controller("two")
    answered = cluster.counts[B].requests
    for _ in range(30):
        cluster.tick(successor)
    assert successor.platform.lock.is_held
    assert cluster.counts[B].requests == answered, "no user reaches the canary again"
    assert cluster.journal.read().rollouts[-1].outcome is Phase.ROLLED_BACK


def test_a_takeover_keeps_the_stored_evidence_if_the_first_reads_fail() -> None:
    cluster = make_cluster(approved=True)
    control = cluster.controller("one")
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    for _ in range(15):
        cluster.tick(control)
    cluster.now += 20
    successor = cluster.controller("two")

    def fail(verb: str, plural: str, _name: str) -> None:
        if verb == "list" and plural == POD.plural:
            raise ServiceError("the API server does not answer")

    cluster.api.before = fail
    while not successor.platform.lock.is_held:
        cluster.tick(successor)
    cluster.tick(successor)
    cluster.api.before = lambda *_: None
    cluster.tick(successor)
    evidence = successor.collector.evidence
    assert evidence is not None
    assert evidence.canary.requests > 20
    assert A in successor.collector.recorded
