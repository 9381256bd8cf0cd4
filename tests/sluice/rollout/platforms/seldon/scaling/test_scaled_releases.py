"""The controller in the simulated cluster when production is scaled: all releases follow, and no Pod gets too much traffic."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from seldon_canaries import A, B, C, ended, make_cluster, reach
from simulated_cluster import APPROVER, SimulatedCluster, SimulatedServer

from sluice.errors import ServiceError
from sluice.project.projects import Project
from sluice.rollout.decisions.states import CommandKind, Journal, Phase
from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT, SELDON_DEPLOYMENT
from sluice.rollout.platforms.seldon.objects.predictors import read_predictor_digest
from sluice.rollout.platforms.seldon.resources import rollout_journals
from sluice.rollout.requests import commands
from sluice.rollout.requests.statuses import read_status as read_rollout_status

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.rollout.round import ControlLoop


def scale(cluster: SimulatedCluster, replicas: int) -> None:
    cluster.api.user = APPROVER
    cluster.api.scale(MODEL_ROLLOUT, "churn", replicas, manager="kubectl")


def replicas(cluster: SimulatedCluster) -> dict[str, int]:
    return {read_predictor_digest(one): one["replicas"] for one in cluster.predictors()}


def read_status(cluster: SimulatedCluster) -> dict[str, object]:
    return dict(cluster.api.objects[MODEL_ROLLOUT.plural, "churn"]["status"])


def make_two_releases(number: int = 4) -> tuple[SimulatedCluster, ControlLoop]:
    """Return a cluster in which B is champion and A is N-1, with so many replicas each."""
    cluster = make_cluster(SimulatedServer(), approved=True)
    control = reach(cluster, Phase.PROMOTED)
    scale(cluster, number)
    cluster.run(control, until=lambda _: cluster.count_ready(A) == cluster.count_ready(B) == number)
    cluster.tick(control)
    return cluster, control


def test_all_releases_that_may_take_traffic_get_the_replicas_of_the_modelrollout() -> None:
    cluster, control = make_two_releases(3)
    assert replicas(cluster) == {A: 3, B: 3}
    cluster.servers[C] = SimulatedServer()
    cluster.request(C, 3)
    cluster.run(control, until=lambda journal: journal.state.phase is Phase.AWAITING_APPROVAL)
    assert replicas(cluster) == {A: 3, B: 3, C: 3}
    scale(cluster, 2)
    cluster.tick(control)
    assert replicas(cluster) == {A: 2, B: 2, C: 2}
    assert cluster.lost == 0


def test_the_status_has_what_the_subresource_scale_shows() -> None:
    cluster, control = make_two_releases(4)
    cluster.servers[B].most_pods = 3
    cluster.pass_time(1.0)
    cluster.tick(control)
    status = read_status(cluster)
    name = next(one["name"] for one in cluster.predictors() if read_predictor_digest(one) == B)
    assert (status["replicas"], status["selector"]) == (3, f"seldon-deployment-id=churn,sluice.dev/predictor={name}")


def test_an_autoscaler_measures_the_canary_while_it_has_most_of_the_traffic() -> None:
    cluster = make_cluster(SimulatedServer(), approved=True, holdback=10, bake_seconds=60.0)
    control = cluster.controller("two")
    seen: dict[str, str] = {}

    def note(journal: Journal) -> bool:
        seen[journal.state.name] = str(read_status(cluster).get("selector", ""))
        return ended(journal)

    cluster.run(control, until=note)
    assert [seen[state].partition("predictor=r")[2][:1] for state in ("step-1", "step-2", "baking", "promoted")] == [
        "1",
        "1",
        "2",
        "2",
    ]


def note_loads(cluster: SimulatedCluster, loads: list[float]) -> None:
    """Note the per cents of the traffic for each ready Pod that has traffic."""
    for release, share in cluster.weights().items():
        loads.append(share / cluster.count_ready(release) if cluster.count_ready(release) else float("inf"))


def test_a_scaled_champion_is_rolled_back_only_as_fast_as_pods_of_n_minus_1_become_ready() -> None:
    cluster, control = make_two_releases(4)
    cluster.servers[A].most_pods = 1
    cluster.pass_time(1.0)
    cluster.command(CommandKind.ROLLBACK)
    loads: list[float] = []
    for expected, most in (({A: 25, B: 75}, 1), ({A: 50, B: 50}, 2), ({A: 75, B: 25}, 3), ({A: 100}, None)):
        cluster.servers[A].most_pods = most
        cluster.pass_time(0.5)
        for _ in range(3):
            cluster.tick(control)
            note_loads(cluster, loads)
        assert cluster.weights() == expected
        if most == 1:
            status = read_status(cluster)
            message = f"rollback to N-1 by {APPROVER}: 25 % moved; waits for N-1's Pods (1 of 4 ready)"
            assert (status["message"], status["traffic"]) == (message, "r1 25 %, r2 75 %")
            assert status["phase"] == "promoted"
    assert max(loads) <= 25.0
    assert cluster.lost == 0
    journal = cluster.journal.read()
    assert (journal.champion, journal.command, journal.rollouts[-1].outcome) == (A, None, Phase.ROLLED_BACK)
    moves = [one for one in journal.transitions if one.commanded_by]
    assert all(one.applied_at for one in moves)
    assert [one.weights[A] for one in moves] == [25, 50, 75, 100]


def test_the_command_line_shows_how_far_a_rollback_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cluster, control = make_two_releases(4)
    cluster.servers[A].most_pods = 1
    cluster.pass_time(1.0)
    cluster.command(CommandKind.ROLLBACK)
    for _ in range(20):  # the lease, which is renewed every few seconds, carries the message
        cluster.tick(control)
    monkeypatch.setattr(rollout_journals, "connect", lambda _namespace: cluster.api)
    status = read_rollout_status(Project(tmp_path, cluster.settings))
    assert status.reason == f"rollback to N-1 by {APPROVER}: 25 % moved; waits for N-1's Pods (1 of 4 ready)"
    assert (status.state, status.champion, status.weights) == ("promoted", B, {A: 25, B: 75})


def test_the_command_tells_its_person_how_far_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cluster, control = make_two_releases(4)
    cluster.servers[A].most_pods = 2
    cluster.pass_time(1.0)
    told: list[str] = []

    def wait(_seconds: float) -> None:
        if told:
            cluster.servers[A].most_pods = None
        cluster.tick(control)

    monkeypatch.setattr(rollout_journals, "connect", lambda _namespace: cluster.api)
    monkeypatch.setattr(commands, "time", SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=wait))
    cluster.api.user = APPROVER
    done = commands.rollback(Project(tmp_path, cluster.settings), by="kim", notify=told.append)
    assert told == [f"rollback to N-1 by {APPROVER}: 50 % moved; waits for N-1's Pods (2 of 4 ready)"]
    assert (done["to"], done["left"], done["by"]) == (A, B, APPROVER)
    assert cluster.weights() == {A: 100}


def test_a_killed_controller_leaves_a_rollback_that_the_next_one_completes() -> None:
    cluster, control = make_two_releases(4)
    cluster.servers[A].most_pods = 2
    cluster.pass_time(1.0)
    cluster.command(CommandKind.ROLLBACK)
    cluster.tick(control)
    assert cluster.weights() == {A: 50, B: 50}
    cluster.now += 20  # its lease expires
    cluster.servers[A].most_pods = None
    cluster.pass_time(1.0)
    after = cluster.controller("three")
    cluster.run(after, until=lambda journal: journal.command is None, max_rounds=30)
    cluster.tick(after)
    assert cluster.weights() == {A: 100}
    assert cluster.lost == 0


def test_a_rollback_moves_its_part_even_if_the_journal_cannot_be_written() -> None:
    cluster, control = make_two_releases(4)
    cluster.servers[A].most_pods = 1
    cluster.pass_time(1.0)
    cluster.command(CommandKind.ROLLBACK)

    def refuse(verb: str, plural: str, _name: str) -> None:
        if verb == "update" and plural == MODEL_ROLLOUT.plural:
            raise ServiceError("the disk of etcd is full")

    cluster.api.before = refuse
    cluster.tick(control)
    assert cluster.weights() == {A: 25, B: 75}


def test_a_champion_that_answers_nobody_is_left_at_once() -> None:
    cluster, control = make_two_releases(4)
    cluster.servers[A].most_pods = 1
    cluster.servers[B].unready_since = cluster.now
    cluster.pass_time(1.0)
    cluster.command(CommandKind.ROLLBACK)
    cluster.tick(control)
    assert cluster.weights() == {A: 100}


def test_a_canary_at_one_of_four_pods_waits_at_25_per_cent_until_all_are_ready() -> None:
    cluster, control = make_two_releases(4)
    cluster.servers[C] = SimulatedServer()
    cluster.request(C, 3)
    cluster.approve(C)
    cluster.run(control, until=lambda journal: journal.state.phase is Phase.STEP)
    cluster.servers[C].most_pods = 1
    cluster.run(control, until=lambda journal: journal.state.name == "step-2")
    for _ in range(60):
        cluster.tick(control)
    assert cluster.weights() == {C: 25, B: 75}
    assert str(read_status(cluster)["message"]).startswith("waits for the canary's Pods (1 of 4 ready) before it takes")
    cluster.servers[C].most_pods = None
    cluster.run(control, until=ended)
    assert cluster.journal.read().champion == C
    assert cluster.lost == 0


def test_a_breach_while_an_abort_waits_for_pods_moves_everything_at_once() -> None:
    cluster, control = make_two_releases(4)
    cluster.servers[C] = SimulatedServer()
    cluster.request(C, 3)
    cluster.approve(C)
    cluster.run(control, until=lambda journal: journal.state.phase is Phase.BAKING)
    cluster.servers[B].most_pods = 1
    cluster.pass_time(1.0)
    cluster.command(CommandKind.ABORT)
    cluster.tick(control)
    assert cluster.weights() == {B: 25, C: 75}
    cluster.servers[C].error_rate = 0.5
    before = cluster.now
    cluster.run(control, until=ended, max_rounds=30)
    assert cluster.weights() == {B: 100}
    assert cluster.now - before < cluster.settings.rollout.pods_wait_seconds


def test_the_first_write_after_a_rollback_command_keeps_the_replicas_of_n_minus_1() -> None:
    """N-1 gets its replicas before its traffic, also if others took them away."""
    cluster, control = make_two_releases(4)
    found = cluster.api.objects[SELDON_DEPLOYMENT.plural, "churn"]
    next(one for one in found["spec"]["predictors"] if read_predictor_digest(one) == A)["replicas"] = 1
    cluster.pass_time(1.0)
    cluster.command(CommandKind.ROLLBACK)
    cluster.tick(control)
    assert replicas(cluster)[A] == 4
    assert json.dumps(cluster.weights()) == json.dumps({A: 25, B: 75})


@pytest.mark.parametrize("number", [0, 1001, "3"])
def test_replicas_that_make_no_sense_are_not_used(number: object) -> None:
    """The API server refuses them, unless it has an older schema."""
    cluster, control = make_two_releases(2)
    cluster.api.objects[MODEL_ROLLOUT.plural, "churn"]["spec"]["replicas"] = number
    cluster.tick(control)
    assert replicas(cluster) == {A: 1, B: 1}, "the default of the settings"
