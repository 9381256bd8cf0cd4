"""The controller in a cluster in memory, with a fault at every single call: whatever happens, the plan converges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from seldon_canaries import A, B, check_invariants, ended, make_world
from seldon_world import WRITES, Killed, SeldonWorld, Server

from sluice.errors import ServiceError
from sluice.rollout.platforms.seldon.api import SELDON_DEPLOYMENT, VIRTUAL_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.rollout.decisions.states import Journal


def play(world: SeldonWorld, *, most: int = 800) -> Journal:
    """One rollout under whatever `before` does; a controller that was killed has a successor."""
    control = world.controller("c0")
    for number in range(most):
        try:
            control.run_round()
        except Killed:
            world.now += 20
            control = world.controller(f"c{number + 1}")
        except ServiceError:
            pass
        world.pass_time(1.0)
        before, world.cluster.before = world.cluster.before, lambda *_: None
        journal = world.journal.read()
        world.cluster.before = before
        if ended(journal) and world.weights() == journal.desired_weights:
            return journal
    raise AssertionError(f"it does not end: {journal.state}")


def count_writes(make: Callable[[], SeldonWorld]) -> int:
    world, writes = make(), 0

    def count(verb: str, _plural: str, _name: str) -> None:
        nonlocal writes
        writes += verb in WRITES

    world.cluster.before = count
    play(world)
    return writes


def good() -> SeldonWorld:
    return make_world(approved=True)


def bad() -> SeldonWorld:
    return make_world(Server(error_rate=0.3), approved=True)


def good_beside_others() -> SeldonWorld:
    return make_world(approved=True, shadow_requests=100, holdback=10)


def bad_beside_others() -> SeldonWorld:
    return make_world(Server(error_rate=0.3), approved=True, shadow_requests=100, holdback=10)


def far_off() -> SeldonWorld:
    return make_world(Server(difference=0.5), approved=True, shadow_requests=100)


canaries = pytest.mark.parametrize(
    ("make", "champion"),
    [(good, B), (bad, A), (good_beside_others, B), (bad_beside_others, A), (far_off, A)],
    ids=lambda value: getattr(value, "__name__", ""),
)


@canaries
def test_killed_at_any_write_the_next_one_goes_on(make: Callable[[], SeldonWorld], champion: str) -> None:
    for deadly in range(1, count_writes(make) + 1):
        world, writes = make(), 0

        def kill(verb: str, _plural: str, _name: str, *, at: int = deadly) -> None:
            nonlocal writes
            writes += verb in WRITES
            if verb in WRITES and writes == at:
                raise Killed

        world.cluster.before = kill
        assert play(world).champion == champion, deadly
        check_invariants(world)


@canaries
def test_every_write_meets_a_conflict_first(make: Callable[[], SeldonWorld], champion: str) -> None:
    world = make()
    tries: dict[tuple[str, str], int] = {}

    def touch(verb: str, plural: str, name: str) -> None:
        """Somebody else writes the object between the reading and the writing, two times of three."""
        if verb == "patch" and plural in {SELDON_DEPLOYMENT.plural, VIRTUAL_SERVICE.plural}:
            tries[plural, name] = tries.get((plural, name), 0) + 1
            if tries[plural, name] % 3:
                found = world.cluster.objects[plural, name]
                found["metadata"]["resourceVersion"] = f"{found['metadata']['resourceVersion']}x"

    world.cluster.before = touch
    assert play(world).champion == champion
    check_invariants(world)


@canaries
def test_the_api_server_goes_away_for_half_a_minute_at_any_time(make: Callable[[], SeldonWorld], champion: str) -> None:
    for begins in range(0, 90, 7):
        world = make()
        start = world.now

        def away(_verb: str, _plural: str, _name: str, *, world: SeldonWorld = world, since: float = start + begins) -> None:
            if since <= world.now < since + 30:
                raise ServiceError("the API server does not answer")

        world.cluster.before = away
        assert play(world).champion == champion, begins
        world.cluster.before = lambda *_: None  # the check is not the controller: it reads even while the API server is away
        check_invariants(world)
