"""The controller in a cluster in memory: every fault at every call, and what must hold after each."""

from __future__ import annotations

import pytest
from seldon_canaries import QUICK, A, B, check_invariants, ended, make_world
from seldon_world import NAME, WRITES, SeldonWorld, Server, make_settings

from sluice.errors import ServiceError
from sluice.rollout.decisions.states import CommandKind, Phase
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import CONFIG_MAP, SELDON_DEPLOYMENT
from sluice.rollout.platforms.seldon.cluster_snapshots import read_cluster_snapshot
from sluice.rollout.platforms.seldon.objects.predictors import read_predictor_digest
from sluice.rollout.platforms.seldon.platform import SupersededError


@pytest.fixture
def world() -> SeldonWorld:
    """Release A is champion; B is on its way to be a canary."""
    return make_world()


def test_a_first_release_gets_no_replicas_and_no_traffic_before_it_is_approved() -> None:
    world = SeldonWorld(make_settings(**QUICK))
    world.servers[A] = Server()
    world.request(A, 1)
    control = world.controller()
    for _ in range(60):
        world.tick(control)
    journal = world.journal.read()
    assert journal.state.phase is Phase.AWAITING_APPROVAL
    assert [one["replicas"] for one in world.predictors()] == [0]
    assert world.weights() == {}
    world.approve(A)
    world.run(control, until=lambda journal: journal.champion == A)
    assert world.weights() == {A: 100}
    assert [one["replicas"] for one in world.predictors()] == [1]


def test_a_first_release_that_is_refused_makes_room_for_another() -> None:
    world = SeldonWorld(make_settings(**QUICK))
    world.servers[A] = Server()
    world.request(A, 1)
    control = world.controller()
    world.tick(control)
    world.command(CommandKind.ABORT)
    world.run(control, until=ended)
    for _ in range(3):
        world.tick(control)
    assert [one["replicas"] for one in world.predictors()] == [0], "the operator takes none without predictors"
    world.servers[B] = Server()
    world.request(B, 2)
    world.approve(B)
    world.run(control, until=lambda journal: journal.champion == B)
    assert [read_predictor_digest(one) for one in world.predictors()] == [B]


def test_an_operator_without_istio_is_told_from_one_that_is_slow() -> None:
    world = SeldonWorld(make_settings(**QUICK))
    world.operator_works = False
    world.servers[A] = Server()
    world.request(A, 1)
    world.approve(A)
    control = world.controller()
    world.tick(control)
    assert not control.platform.status["trouble"]
    for _ in range(60):
        world.tick(control)
    assert "ISTIO_ENABLED" in control.platform.status["trouble"]
    assert world.journal.read().champion is None


def test_a_good_canary_is_promoted_and_the_release_before_stays_warm(world: SeldonWorld) -> None:
    world.approve(B)
    control = world.controller()
    journal = world.run(control, until=ended)
    assert (journal.champion, journal.previous) == (B, A)
    assert [line.to_state for line in journal.transitions][-4:] == ["step-1", "step-2", "baking", "promoted"]
    assert all(line.applied_at is not None for line in journal.transitions[1:])
    for _ in range(60):
        world.tick(control)
    assert [read_predictor_digest(one) for one in world.predictors()] == [A, B], "appended, and never reordered"
    check_invariants(world)


def test_a_canary_gets_as_many_replicas_as_the_champion_has(world: SeldonWorld) -> None:
    world.predictors()[0]["replicas"] = 4
    world.run(world.controller(), until=lambda journal: journal.state.phase is Phase.AWAITING_APPROVAL)
    assert [one["replicas"] for one in world.predictors()] == [4, 4]


def test_what_others_wrote_into_a_predictor_stays(world: SeldonWorld) -> None:
    world.predictors()[0]["svcOrchSpec"] = {"resources": {"requests": {"cpu": "1"}}}
    world.cluster.objects[SELDON_DEPLOYMENT.plural, NAME]["metadata"]["labels"]["team"] = "risk"
    world.approve(B)
    world.run(world.controller(), until=ended)
    assert world.predictors()[0]["svcOrchSpec"] == {"resources": {"requests": {"cpu": "1"}}}
    assert world.cluster.objects[SELDON_DEPLOYMENT.plural, NAME]["metadata"]["labels"]["team"] == "risk"


def test_nobody_goes_anywhere_without_an_approval(world: SeldonWorld) -> None:
    control = world.controller()
    journal = world.run(control, until=ended, most=1000)
    assert journal.rollouts[-1].outcome is Phase.REJECTED
    assert "no approval is valid" in journal.rollouts[-1].reason
    assert B not in world.counts


def test_an_approval_that_expires_holds_the_canary_where_it_is(world: SeldonWorld) -> None:
    world.approve(B, seconds=50.0)
    control = world.controller()
    world.run(control, until=lambda journal: journal.state.phase.exposed)
    for _ in range(60):
        world.tick(control)
    journal = world.journal.read()
    assert journal.state.phase is Phase.STEP
    assert world.weights()[B] < 100
    world.approve(B)
    assert world.run(control, until=ended).champion == B


def test_an_approval_serves_one_rollout(world: SeldonWorld) -> None:
    world.approve(B)
    control = world.controller()
    world.run(control, until=lambda journal: journal.state.phase.exposed)
    world.command(CommandKind.ABORT)
    world.run(control, until=ended)
    world.request(B, 2)
    for _ in range(60):
        world.tick(control)
    assert world.journal.read().state.phase is Phase.AWAITING_APPROVAL
    assert len([key for key in world.cluster.objects if key[0] == CONFIG_MAP.plural]) == 2


def test_a_broken_canary_goes_back_and_is_removed_once_it_has_drained() -> None:
    world = make_world(Server(error_rate=0.3))
    world.approve(B)
    control = world.controller()
    journal = world.run(control, until=ended)
    assert journal.rollouts[-1].outcome is Phase.ROLLED_BACK
    assert world.weights() == {A: 100}
    assert [read_predictor_digest(one) for one in world.predictors()] == [A, B], "it still answers what it was sent"
    for _ in range(40):
        world.tick(control)
    assert [read_predictor_digest(one) for one in world.predictors()] == [A]
    check_invariants(world)


def test_a_canary_that_has_become_slow_goes_back() -> None:
    world = make_world(Server(slow_rate=0.2))
    world.approve(B)
    journal = world.run(world.controller(), until=ended)
    assert journal.rollouts[-1].outcome is Phase.ROLLED_BACK
    assert "slow " in journal.rollouts[-1].reason


def test_a_shared_incident_freezes_and_rolls_nobody_back(world: SeldonWorld) -> None:
    world.approve(B)
    control = world.controller()
    world.run(control, until=lambda journal: journal.state.name == "step-1")
    world.shared_error_rate = 0.3
    for _ in range(120):
        world.tick(control)
    journal = world.journal.read()
    assert journal.state.name in {"step-1", "step-2"}, "it went up before anybody could know"
    assert control.platform.status["reason"].startswith("paused, because stable itself has an incident")
    world.shared_error_rate = None
    assert world.run(control, until=ended).champion == B


@pytest.mark.parametrize("state", ["awaiting_ready", "awaiting_approval", "step-1", "step-2", "baking"])
def test_a_canary_that_crash_loops_is_given_up_in_every_state(world: SeldonWorld, state: str) -> None:
    control = world.controller()
    if state not in {"awaiting_ready", "awaiting_approval"}:
        world.approve(B)
    world.run(control, until=lambda journal: journal.state.name == state)
    world.servers[B].broken = "CrashLoopBackOff"
    sent_before = world.lost
    journal = world.run(control, until=ended)
    assert journal.champion == A
    assert world.weights() == {A: 100}, "the operator writes no weights while a Deployment is not ready"
    assert world.lost - sent_before <= 300, "what was on its way for the second or two until it was seen"
    assert not [line for line in world.said if "trouble" in line]


def test_stable_that_is_being_scaled_does_not_hold_a_rollback_up() -> None:
    world = make_world(Server(error_rate=0.3))
    world.approve(B)
    control = world.controller()
    world.run(control, until=lambda journal: journal.state.name == "step-1")
    world.operator_works = False
    assert world.run(control, until=ended).rollouts[-1].outcome is Phase.ROLLED_BACK
    assert world.weights() == {A: 100}


def test_a_rollback_does_not_wait_for_the_operator_s_webhook() -> None:
    """Without the operator every write to a SeldonDeployment is refused, an annotation's as well."""
    world = make_world(Server(error_rate=0.3))
    world.approve(B)
    control = world.controller()
    world.run(control, until=lambda journal: journal.state.name == "step-1")
    world.operator_works = False

    def refuse(verb: str, plural: str, name: str) -> None:
        if verb in WRITES and plural == SELDON_DEPLOYMENT.plural:
            raise ServiceError("failed calling webhook")

    world.cluster.before = refuse
    for _ in range(60):
        world.tick(control)
    assert world.weights() == {A: 100}
    world.cluster.before = lambda *_: None
    world.operator_works = True
    assert world.run(control, until=ended).rollouts[-1].outcome is Phase.ROLLED_BACK
    check_invariants(world)


def test_a_hand_takes_the_champion_back_to_n_1(world: SeldonWorld) -> None:
    world.approve(B)
    control = world.controller()
    world.run(control, until=ended)
    world.command(CommandKind.ROLLBACK)
    journal = world.run(control, until=lambda journal: journal.champion == A)
    assert world.weights() == {A: 100}
    assert journal.transitions[-1].commanded_by == "bob"
    check_invariants(world)


def test_without_traffic_nothing_is_promoted(world: SeldonWorld) -> None:
    world.approve(B)
    world.rate = 0.0
    journal = world.run(world.controller(), until=ended)
    assert journal.champion == A
    assert "deadline" in journal.rollouts[-1].reason


@pytest.mark.parametrize("state", ["step-1", "step-2", "baking"])
def test_without_metrics_it_holds_and_goes_on_when_they_are_back(world: SeldonWorld, state: str) -> None:
    world.approve(B)
    control = world.controller()
    world.run(control, until=lambda journal: journal.state.name == state)
    world.metrics_work = False
    for _ in range(100):
        world.tick(control)
    assert world.journal.read().state.name == state
    assert "metrics" in control.platform.status["trouble"]
    world.metrics_work = True
    assert world.run(control, until=ended).champion == B
    check_invariants(world)


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
@pytest.mark.parametrize("state", ["awaiting_approval", "step-1", "baking"])
def test_a_clock_that_jumps_promotes_nobody_unseen(world: SeldonWorld, state: str, seconds: float) -> None:
    control = world.controller()
    if state != "awaiting_approval":
        world.approve(B)
    world.run(control, until=lambda journal: journal.state.name == state)
    world.jump = seconds
    if state == "awaiting_approval" and seconds < 0:
        world.now += 3600.0
    if state == "awaiting_approval":
        world.approve(B)
    journal = world.run(control, until=ended, most=6000)
    assert journal.champion in {A, B}
    check_invariants(world)


def test_two_controllers_are_one(world: SeldonWorld) -> None:
    world.approve(B)
    first, second = world.controller("first"), world.controller("second")
    acted = [0, 0]
    for _ in range(400):
        acted[0] += world.tick(first)
        acted[1] += world.tick(second)
        if ended(world.journal.read()):
            break
    assert world.journal.read().champion == B
    assert min(acted) == 0
    check_invariants(world)


def test_a_controller_that_was_stopped_for_a_minute_writes_nothing_over_its_successor(world: SeldonWorld) -> None:
    world.approve(B)
    old = world.controller("old")
    world.run(old, until=lambda journal: journal.state.name == "step-1")
    frozen = read_cluster_snapshot(world.cluster, NAME)
    assert frozen is not None
    new = world.controller("new")
    for _ in range(30):
        world.tick(new)
    assert new.platform.lock.epoch > old.platform.lock.epoch
    stale = old.platform.journal.read()
    with pytest.raises(ConflictError):
        old.platform.journal.write(stale, frozen.deployment, epoch=old.platform.lock.epoch)
    with pytest.raises(SupersededError):
        old.platform._refuse_superseded(read_cluster_snapshot(world.cluster, NAME))  # type: ignore[arg-type]
    old.platform.lock.epoch, old.platform.lock._renewed = 2, world.now  # it still believes in its lease
    assert world.run(new, until=ended).champion == B
