"""What steps and the command line ask of a cluster: requests, approvals, waiting, with nothing but the API between."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from seldon_world import MemoryCluster, SeldonWorld, Server, make_settings

from sluice.errors import NotServingError, RefusedError, ServiceError, StateError
from sluice.project.projects import Project
from sluice.rollout.decisions.states import CommandKind
from sluice.rollout.platforms.seldon import journal_annotations
from sluice.rollout.platforms.seldon.api import CONFIG_MAP, LEASE, SELDON_DEPLOYMENT
from sluice.rollout.platforms.seldon.leases import STATUS_ANNOTATION
from sluice.rollout.platforms.seldon.request_annotations import COMMAND_ANNOTATION, JOURNAL_ANNOTATION, REQUEST_ANNOTATION
from sluice.rollout.requests import approvals, commands, histories, outcomes, published_releases, starts, statuses
from sluice.rollout.requests.release_references import find_release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluice.rollout.round import ControlLoop

A, B = (f"sha256:{letter * 64}" for letter in "ab")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SeldonWorld:
    """A is champion; the lease is held by a controller that these tests' wall clock takes for alive."""
    world = SeldonWorld(make_settings(margin=0.05, first_look=60, bake_seconds=1.0), now=time.time() - 100)
    world.champion(A, 1)
    lease = world.cluster.objects[LEASE.plural, "churn-rollout"]
    lease["spec"]["renewTime"] = "2100-01-01T00:00:00.000000Z"
    monkeypatch.setattr(journal_annotations, "connect", lambda _namespace: world.cluster)
    monkeypatch.setattr(journal_annotations.SeldonJournal, "poll_seconds", 0.01)
    for module in (published_releases, starts):
        monkeypatch.setattr(module, "publish_release", lambda _project, digest: (2, f"churn@{digest}"))
    for module in (approvals, starts):
        monkeypatch.setattr(module, "check_gate", lambda _project, _digest: None)
    return world


@pytest.fixture
def project(tmp_path: Path, world: SeldonWorld) -> Project:
    return Project(tmp_path, world.settings)


def test_a_request_names_the_image_and_an_approval_is_an_object_of_its_own(project: Project, world: SeldonWorld) -> None:
    starts.request_rollout(project, B, by="ann")
    assert approvals.find_approval(project, B) is None
    approvals.approve(project, B, by="eve", note="looks good")
    journal = world.journal.read()
    assert (journal.request.number, journal.request.image) == (2, f"churn@{B}")  # type: ignore[union-attr]
    assert approvals.find_approval(project, B).by == "eve"  # type: ignore[union-attr]
    kept = [found for (plural, _), found in world.cluster.objects.items() if plural == CONFIG_MAP.plural]
    assert all(one["immutable"] for one in kept)
    assert kept[-1]["data"]["recorded_by"] == MemoryCluster.user


def test_the_same_request_twice_is_one(project: Project, world: SeldonWorld) -> None:
    starts.request_rollout(project, B, by="ann")
    version = world.journal.read().version
    starts.request_rollout(project, B, by="ann")
    assert world.journal.read().version == version


def test_another_rollout_is_not_begun_beside_one(project: Project, world: SeldonWorld) -> None:
    starts.request_rollout(project, B, by="ann")
    with pytest.raises(StateError, match="is running"):
        starts.request_rollout(project, f"sha256:{'c' * 64}", by="ann")


def test_a_person_without_the_store_names_releases_by_the_journal(project: Project, world: SeldonWorld) -> None:
    starts.request_rollout(project, B, by="ann")
    assert find_release(project, "2").digest == B
    assert find_release(project, "champion").digest == A
    with pytest.raises(StateError):
        find_release(project, "3")


def test_nobody_is_asked_where_no_controller_holds_the_lease(project: Project, world: SeldonWorld) -> None:
    world.cluster.objects[LEASE.plural, "churn-rollout"]["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z"
    with pytest.raises(NotServingError, match="controller"):
        starts.request_rollout(project, B, by="ann")
    assert statuses.read_status(project).supervised is False


def test_who_waits_for_an_outcome_outlasts_an_api_server_that_is_away(project: Project, world: SeldonWorld) -> None:
    starts.request_rollout(project, B, by="ann")
    approvals.approve(project, B, by="ann")
    world.servers[B] = Server()
    failures = iter([True] * 40)
    mine = threading.get_ident()

    def away(_verb: str, _plural: str, _name: str) -> None:
        if threading.get_ident() == mine and next(failures, False):
            raise ServiceError("the API server does not answer")

    stop = threading.Event()

    def act() -> None:
        world.now += 20
        control = world.controller("two")
        control.platform.lock._observed_at = -1e9
        lease = world.cluster.objects[LEASE.plural, "churn-rollout"]["spec"]
        lease["holderIdentity"] = ""
        while not stop.wait(0.001):  # the one that waits gets its turn
            world.tick(control)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        world.cluster.before = away
        assert outcomes.wait_for_outcome(project, B, timeout=60) == "promoted"
    finally:
        stop.set()
        thread.join()
    assert next(failures, None) is None, "it met all of them"
    record = histories.read_rollout(project, B)
    assert record["outcome"] == "promoted"
    assert record["samples"] == []


def test_a_command_of_a_person_is_a_line_in_the_journal(project: Project, world: SeldonWorld) -> None:
    starts.request_rollout(project, B, by="ann")
    assert commands.abort(project, by="bob") == B
    command = world.journal.read().command
    assert command is not None
    assert (command.kind, command.by) == (CommandKind.ABORT, "bob")


def test_who_asks_writes_no_journal(project: Project, world: SeldonWorld) -> None:
    """A request, a command and an approval are all that an account without the controller's rights needs to write."""
    before = journal_text(world)
    starts.request_rollout(project, B, by="ann")
    approvals.approve(project, B, by="ann")
    commands.abort(project, by="bob")
    assert journal_text(world) == before
    with pytest.raises(ValueError, match="only the controller"):
        world.journal.update(lambda journal: dataclasses.replace(journal, history=()))


def journal_text(world: SeldonWorld) -> str:
    return world.cluster.objects[SELDON_DEPLOYMENT.plural, "churn"]["metadata"]["annotations"][JOURNAL_ANNOTATION]


def test_a_request_that_was_fulfilled_is_not_begun_again(project: Project, world: SeldonWorld) -> None:
    starts.request_rollout(project, B, by="ann")
    commands.abort(project, by="bob")
    world.now += 20
    control = world.controller("two")
    world.run(control, until=lambda journal: journal.request is None)
    for _ in range(30):
        world.tick(control)
    journal = world.journal.read()
    assert journal.request is None
    assert journal.command is None
    assert [one.outcome.value for one in journal.rollouts] == ["promoted", "aborted"]


@pytest.mark.parametrize("change", [{"immutable": False}, {"recorded_by": ""}, {"recorded_by": "the-controller"}])
def test_an_approval_that_can_be_changed_or_that_the_controller_gave_is_none(
    project: Project, world: SeldonWorld, change: dict[str, object]
) -> None:
    starts.request_rollout(project, B, by="ann")
    approvals.approve(project, B, by="ann")
    reader = world.journal
    reader.account = "the-controller"
    assert [one.release for one in reader.read().approvals] == [B]
    kept = next(found for (plural, _), found in reversed(world.cluster.objects.items()) if plural == CONFIG_MAP.plural)
    kept["immutable"] = change.get("immutable", True)
    kept["data"]["recorded_by"] = change.get("recorded_by", "ann")
    assert reader.read().approvals == ()


def test_who_uses_the_controller_s_account_is_told_that_it_may_not_approve(project: Project, world: SeldonWorld) -> None:
    starts.request_rollout(project, B, by="ann")
    lease = world.cluster.objects[LEASE.plural, "churn-rollout"]
    lease["metadata"]["annotations"] = {STATUS_ANNOTATION: json.dumps({"account": MemoryCluster.user})}
    with pytest.raises(RefusedError, match="may not approve"):
        approvals.approve(project, B, by="ann")


def test_an_approval_is_for_one_image(project: Project, world: SeldonWorld) -> None:
    """A request that names the approved release with another image is not what somebody approved."""
    starts.request_rollout(project, B, by="ann")
    approvals.approve(project, B, by="ann")
    assert approvals.find_approval(project, B)
    annotations = world.cluster.objects[SELDON_DEPLOYMENT.plural, "churn"]["metadata"]["annotations"]
    annotations[REQUEST_ANNOTATION] = annotations[REQUEST_ANNOTATION].replace("churn@", "evil@")
    assert approvals.find_approval(project, B) is None


def test_what_is_no_wish_is_left_aside(project: Project, world: SeldonWorld) -> None:
    before = world.journal.read()
    annotations = world.cluster.objects[SELDON_DEPLOYMENT.plural, "churn"]["metadata"]["annotations"]
    annotations[REQUEST_ANNOTATION], annotations[COMMAND_ANNOTATION] = "{", '{"kind": "conquer"}'
    assert world.journal.read() == before


@contextmanager
def acting(world: SeldonWorld, control: ControlLoop) -> Iterator[None]:
    """The controller's rounds go on meanwhile, in a thread of their own."""
    stop = threading.Event()

    def act() -> None:
        while not stop.wait(0.01):
            world.tick(control)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_rollback_that_the_evidence_was_quicker_with_leaves_the_champion(project: Project, world: SeldonWorld) -> None:
    """The person reads "to B?", and before they say yes the canary C has gone by itself: B stays, though A is N-1."""
    c = f"sha256:{'c' * 64}"
    control = world.controller("two")
    lease = world.cluster.objects[LEASE.plural, "churn-rollout"]["spec"]
    lease["holderIdentity"] = ""

    def roll_out(release: str, number: int) -> None:
        world.servers[release] = Server()
        world.request(release, number)
        world.approve(release)

    roll_out(B, 2)
    world.run(control, until=lambda journal: journal.champion == B)
    roll_out(c, 3)
    world.run(control, until=lambda journal: journal.state.name == "step-1")
    told = commands.check_rollback(project)
    world.servers[c].error_rate = 1.0
    world.run(control, until=lambda journal: journal.request is None)
    with acting(world, control):
        done = commands.rollback(project, by="kim", to=told)
    assert (done["to"], done["left"]) == (B, "")
    assert world.journal.read().champion == B
    assert world.weights() == {B: 100}


def test_a_rollback_of_what_somebody_aborted_meanwhile_is_done_and_two_at_once_are_one(
    project: Project, world: SeldonWorld
) -> None:
    control = world.controller("two")
    world.cluster.objects[LEASE.plural, "churn-rollout"]["spec"]["holderIdentity"] = ""
    world.servers[B] = Server()
    world.request(B, 2)
    world.approve(B)
    world.run(control, until=lambda journal: journal.state.name == "step-1")
    world.now = max(world.now, time.time())
    world.tick(control)
    told = commands.check_rollback(project)
    world.command(CommandKind.ABORT)
    world.run(control, until=lambda journal: journal.request is None)
    done = []

    def ask(by: str) -> None:
        done.append(commands.rollback(project, by=by, to=told))

    people = [threading.Thread(target=ask, args=(name,)) for name in ("kim", "lee")]
    for thread in people:
        thread.start()
    time.sleep(0.2)
    with acting(world, control):
        for thread in people:
            thread.join(20)
    assert [one["to"] for one in done] == [A, A]


def test_a_rollback_to_a_release_whose_server_was_given_up_is_refused(project: Project, world: SeldonWorld) -> None:
    control = world.controller("two")
    world.cluster.objects[LEASE.plural, "churn-rollout"]["spec"]["holderIdentity"] = ""
    world.servers[B] = Server()
    world.request(B, 2)
    world.approve(B)
    world.run(control, until=lambda journal: journal.champion == B)
    world.servers[A].broken = "ImagePullBackOff"
    world._run_pods()
    with acting(world, control), pytest.raises(StateError, match="N-1's server failed: ImagePullBackOff"):
        commands.rollback(project, by="kim")
    assert world.journal.read().command is None


def test_what_an_approval_would_be_pushes_nothing(project: Project, world: SeldonWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def push(_project: Project, _digest: str) -> tuple[int, str]:
        raise AssertionError("a dry run")

    monkeypatch.setattr(published_releases, "publish_release", push)
    assert approvals.plan_approval(project, B, by="eve").image == ""
