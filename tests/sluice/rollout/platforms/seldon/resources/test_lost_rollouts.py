"""Somebody deletes the ModelRollout while production runs, or changes it at the moment of a rollback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from memory_api import copy_object
from seldon_canaries import A, B, C, check_invariants, ended, make_cluster
from simulated_cluster import NAME, SimulatedCluster, SimulatedServer

from sluice.errors import DataError, ServiceError
from sluice.rollout.decisions.states import CommandKind, Phase
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import LEASE, MODEL_ROLLOUT, SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from sluice.rollout.platforms.seldon.resources.takeovers import CHAMPIONS_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.rollout.round import ControlLoop

ROLLOUT, DEPLOYMENT = (MODEL_ROLLOUT.plural, NAME), (SELDON_DEPLOYMENT.plural, NAME)


def run_to_promotion(cluster: SimulatedCluster) -> ControlLoop:
    control = cluster.controller("two")
    cluster.run(control, until=ended)
    for _ in range(40):  # so that the lease is renewed
        cluster.tick(control)
    return control


def take_over(cluster: SimulatedCluster) -> tuple[ControlLoop, list[str]]:
    """Return a new controller that has just acquired the lease, after its first round."""
    control, reasons = cluster.controller("three"), list[str]()
    control.platform.warn = lambda reason, _text: reasons.append(reason)  # type: ignore[attr-defined]
    cluster.now += 20
    control.platform.lock.acquire({})  # type: ignore[attr-defined]
    cluster.now += 20
    return control, reasons


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("state", ["step-1", "baking", "idle"])
def test_the_acting_controller_writes_the_rollout_again_with_its_journal(state: str, anew: bool) -> None:
    """Somebody deletes the ModelRollout, and perhaps applies its manifest from Git again at once, without a status."""
    cluster = make_cluster(approved=True)
    cluster.api.objects[ROLLOUT]["spec"]["replicas"] = 2
    control, events = cluster.controller("two"), list[str]()
    control.platform.warn = lambda reason, _text: events.append(reason)  # type: ignore[attr-defined]
    if state == "idle":
        cluster.run(control, until=ended)
    else:
        cluster.run(control, until=lambda journal: journal.state.name == state)
    before, weights = cluster.journal.read(), cluster.weights()
    pods = copy_object(cluster.predictors())
    lost = cluster.api.objects.pop(ROLLOUT)
    if anew:
        cluster.api.create(MODEL_ROLLOUT, {"metadata": {"name": NAME}, "spec": lost["spec"]}, manager="git")
    control.run_round()
    after = cluster.journal.read()
    assert (after.history, after.state.phase, after.rollouts) == (before.history, before.state.phase, before.rollouts)
    assert cluster.weights() == weights
    assert cluster.predictors() == pods, "no server restarts or is scaled"
    assert events.count("RolloutRestored") == 1
    journal = cluster.run(control, until=ended)
    assert (journal.champion, journal.previous) == (B, A)
    check_invariants(cluster)


def test_a_new_controller_believes_the_record_in_the_lease() -> None:
    cluster = make_cluster(approved=True)
    run_to_promotion(cluster)
    before, pods = cluster.journal.read(), copy_object(cluster.predictors())
    del cluster.api.objects[ROLLOUT]
    control, events = take_over(cluster)
    cluster.tick(control)
    after = cluster.journal.read()
    assert (after.champion, after.previous) == (B, A)
    assert (after.used_approvals, after.last_request_id) == (before.used_approvals, before.last_request_id)
    assert cluster.predictors() == pods
    assert "RolloutRestored" in events
    cluster.command(CommandKind.ROLLBACK)
    assert cluster.run(control, until=lambda journal: journal.champion == A).champion == A
    assert cluster.weights() == {A: 100}


def test_a_new_controller_sends_the_traffic_of_a_forgotten_canary_back_to_the_champion() -> None:
    cluster = make_cluster(approved=True)
    control = cluster.controller("two")
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    for _ in range(5):
        cluster.tick(control)
    del cluster.api.objects[ROLLOUT]
    successor, _ = take_over(cluster)
    cluster.tick(successor)
    assert cluster.weights() == {A: 100}
    assert cluster.journal.read().champion == A


def change_image(cluster: SimulatedCluster) -> None:
    for one in cluster.predictors():
        one["componentSpecs"][0]["spec"]["containers"][0]["image"] = "evil@sha256:" + "0" * 64


def remove_champion(cluster: SimulatedCluster) -> None:
    del cluster.predictors()[1]


def break_record(cluster: SimulatedCluster) -> None:
    cluster.api.objects[LEASE.plural, "churn-rollout"]["metadata"]["annotations"][CHAMPIONS_ANNOTATION] = "{"


def remove_record(cluster: SimulatedCluster) -> None:
    del cluster.api.objects[LEASE.plural, "churn-rollout"]["metadata"]["annotations"][CHAMPIONS_ANNOTATION]


@pytest.mark.parametrize("contradict", [change_image, remove_champion, break_record, remove_record])
def test_what_cannot_be_decided_leaves_the_traffic_as_it_is_and_says_what_to_do(
    contradict: Callable[[SimulatedCluster], None],
) -> None:
    cluster = make_cluster(approved=True)
    run_to_promotion(cluster)
    del cluster.api.objects[ROLLOUT]
    contradict(cluster)
    control, _ = take_over(cluster)
    before = (
        copy_object(cluster.api.objects[DEPLOYMENT]["spec"]),
        copy_object(cluster.api.objects[VIRTUAL_SERVICE.plural, NAME]["spec"]),
    )
    for _ in range(3):
        with pytest.raises(DataError, match="not certain which release is the champion") as refused:
            control.run_round()
        assert "backup" in refused.value.hint
    after = cluster.api.objects[DEPLOYMENT]["spec"], cluster.api.objects[VIRTUAL_SERVICE.plural, NAME]["spec"]
    assert after == before
    assert ROLLOUT not in cluster.api.objects


def test_a_predictor_that_was_changed_meanwhile_is_rendered_again_and_not_adopted() -> None:
    cluster = make_cluster(approved=True)
    run_to_promotion(cluster)
    del cluster.api.objects[ROLLOUT]
    expected = copy_object(cluster.predictors()[1]["componentSpecs"])
    cluster.predictors()[1]["componentSpecs"][0]["spec"]["serviceAccountName"] = "sluice-controller"
    control, _ = take_over(cluster)
    cluster.tick(control)
    assert cluster.predictors()[1]["componentSpecs"] == expected


def test_a_model_that_somebody_removed_as_a_whole_does_not_come_back() -> None:
    cluster = make_cluster(approved=True)
    control = run_to_promotion(cluster)
    for key in (ROLLOUT, DEPLOYMENT, (VIRTUAL_SERVICE.plural, NAME)):
        del cluster.api.objects[key]
    for _ in range(3):
        cluster.tick(control)
    assert not {ROLLOUT, DEPLOYMENT} & set(cluster.api.objects)


def test_the_record_in_the_lease_is_small_and_has_no_history() -> None:
    cluster = make_cluster(approved=True)
    run_to_promotion(cluster)
    text = cluster.api.objects[LEASE.plural, "churn-rollout"]["metadata"]["annotations"][CHAMPIONS_ANNOTATION]
    found = json.loads(text)["journal"]
    assert [(one["release"], one["image"]) for one in found["history"]] == [(A, f"churn@{A}"), (B, f"churn@{B}")]
    assert not found["transitions"]
    assert len(text) < 3_000


# Conflicts


@pytest.mark.parametrize("part", ["metadata", "spec"])
def test_a_rollback_does_not_wait_for_the_next_round_if_others_change_the_rollout(part: str) -> None:
    cluster = make_cluster(SimulatedServer(error_rate=0.5), approved=True)
    control, conflicts = cluster.controller("two"), list[int]()
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")

    def interfere(verb: str, plural: str, _name: str) -> None:
        if verb == "update" and plural == MODEL_ROLLOUT.plural:
            conflicts.append(1)
            if len(conflicts) % 3 == 0:
                return
            found = cluster.api.objects[ROLLOUT]
            if part == "metadata":
                found["metadata"].setdefault("annotations", {})["note"] = str(len(conflicts))
            else:
                found["spec"]["note"] = str(len(conflicts))
            cluster.api.put(MODEL_ROLLOUT, NAME, found)

    cluster.api.before = interfere
    assert cluster.run(control, until=ended, max_rounds=60).rollouts[-1].outcome is Phase.ROLLED_BACK
    assert len(conflicts) >= 2
    assert not [line for line in cluster.lines if line.startswith("problem")], "no round failed"
    assert cluster.weights() == {A: 100}


def test_a_promotion_is_decided_again_if_others_change_the_spec_meanwhile() -> None:
    cluster = make_cluster(approved=True)
    control = cluster.controller("two")
    cluster.run(control, until=lambda journal: journal.state.phase is Phase.AWAITING_READY)

    def interfere(verb: str, plural: str, _name: str) -> None:
        if verb == "update" and plural == MODEL_ROLLOUT.plural:
            found = cluster.api.objects[ROLLOUT]
            found["spec"]["replicas"] = (found["spec"].get("replicas") or 1) % 5 + 1
            cluster.api.put(MODEL_ROLLOUT, NAME, found)

    cluster.pass_time(60.0)
    cluster.api.before = interfere
    with pytest.raises(ConflictError):
        control.run_round()
    cluster.api.before = lambda *_: None
    assert cluster.journal.read().state.phase is Phase.AWAITING_READY


def test_a_rollback_that_cannot_be_journaled_moves_the_seldondeployment_too() -> None:
    """The operator would undo weights that only the routes have."""
    cluster = make_cluster(SimulatedServer(error_rate=0.5), approved=True)
    control, conflicts = cluster.controller("two"), list[int]()
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")

    def fill_disk(verb: str, plural: str, _name: str) -> None:
        if plural == MODEL_ROLLOUT.plural and verb == "update":
            raise ServiceError("no space left on device")
        if plural == SELDON_DEPLOYMENT.plural and verb == "update" and not conflicts:
            conflicts.append(1)
            cluster.api.put(SELDON_DEPLOYMENT, NAME, cluster.api.objects[DEPLOYMENT])

    cluster.api.before = fill_disk
    for _ in range(60):
        if not conflicts:
            cluster.tick(control)
    assert "no space left on device" in cluster.lines[-1]
    assert [one["traffic"] for one in cluster.predictors()] == [100, 0], "it was written again after a conflict"
    for _ in range(5):
        cluster.tick(control)  # the operator acts too
        assert cluster.weights() == {A: 100}
    cluster.api.before = lambda *_: None
    assert cluster.run(control, until=ended).rollouts[-1].outcome is Phase.ROLLED_BACK
    assert C not in cluster.weights()
