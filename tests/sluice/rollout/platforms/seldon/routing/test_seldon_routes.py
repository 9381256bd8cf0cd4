"""Routes that others deleted or changed are restored, and the controller and Seldon's operator never write them in turns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from memory_api import copy_object
from seldon_canaries import A, B, ended, make_cluster
from simulated_cluster import NAME, NAMESPACE, SimulatedCluster, SimulatedServer
from simulated_routes import plan_operator_routes

from sluice.errors import ServiceError
from sluice.rollout.decisions.states import Phase
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import DESTINATION_RULE, SELDON_DEPLOYMENT, VIRTUAL_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.rollout.round import ControlLoop

ROUTES, RULES = VIRTUAL_SERVICE.plural, DESTINATION_RULE.plural


@pytest.fixture
def cluster() -> SimulatedCluster:
    """A cluster in which A is champion, and the canary B has some traffic."""
    return make_cluster(approved=True)


def control_with_events(cluster: SimulatedCluster, phase: Phase = Phase.STEP) -> tuple[ControlLoop, list[tuple[str, str]]]:
    control, events = cluster.controller("two"), list[tuple[str, str]]()
    control.platform.warn = lambda reason, text: events.append((reason, text))  # type: ignore[attr-defined]
    cluster.run(control, until=lambda journal: journal.state.phase is phase)
    cluster.tick(control)
    events.clear()
    return control, events


def spec_of(cluster: SimulatedCluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.api.objects[ROUTES, NAME]["spec"]
    return found


def remove_prefix(spec: dict[str, Any]) -> None:
    spec["http"][0]["match"] = [{"uri": {"prefix": "/elsewhere/"}}]


def add_mirror(spec: dict[str, Any]) -> None:
    spec["http"][0]["mirror"] = {"host": "spy.example.com"}


def add_host(spec: dict[str, Any]) -> None:
    for route in spec["http"]:
        route["route"].append({"destination": {"host": "spy.example.com", "port": {"number": 80}}})


def remove_stable(spec: dict[str, Any]) -> None:
    for route in spec["http"]:
        del route["route"][0]


def remove_all(spec: dict[str, Any]) -> None:
    del spec["http"]


def add_field(spec: dict[str, Any]) -> None:
    spec["tcp"] = [{"route": []}]


EDITS = [remove_prefix, add_mirror, add_host, remove_stable, remove_all, add_field]


@pytest.mark.parametrize("gateway", ["seldon-gateway", "mesh/own"])
@pytest.mark.parametrize("phase", [Phase.STEP, Phase.BAKING])
def test_deleted_routes_are_restored_in_the_next_round_while_the_operator_writes_none(phase: Phase, gateway: str) -> None:
    cluster = make_cluster(approved=True)
    cluster.operator_gateway = gateway
    control, events = control_with_events(cluster, phase)
    cluster.servers[B].broken = "CrashLoopBackOff"  # so the operator writes no routes
    before = plan_operator_routes(NAME, NAMESPACE, cluster.predictors(), gateway)
    del cluster.api.objects[ROUTES, NAME]
    control.run_round()
    after = spec_of(cluster)
    assert cluster.weights() == cluster.journal.read().desired_weights
    expected = plan_operator_routes(NAME, NAMESPACE, cluster.predictors(), gateway)
    assert after == expected, "the operator finds what it would write itself"
    assert [one["destination"] for one in after["http"][0]["route"]] == [one["destination"] for one in before["http"][0]["route"]]
    assert [reason for reason, _ in events if reason.startswith("Routes")] == ["RoutesRestored"]
    (owner,) = cluster.api.objects[ROUTES, NAME]["metadata"]["ownerReferences"]
    assert owner["uid"] == cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]["metadata"]["uid"]


def test_deleted_routes_are_restored_before_anything_is_counted(cluster: SimulatedCluster) -> None:
    """A gateway or an executor that hangs takes seconds, and no request is answered meanwhile."""
    control, _ = control_with_events(cluster)
    seen: list[dict[str, int]] = []

    class Counters:
        def read(self, _traffic: object, _now: float) -> None:
            seen.append(cluster.weights())
            raise ServiceError("the gateway's metrics cannot be read")

        def close(self) -> None:
            """There is nothing to close."""

    control.platform.counters = Counters()  # type: ignore[attr-defined]
    cluster.servers[A].unready_since = cluster.now  # so the operator writes no routes
    cluster.pass_time(0.0)
    del cluster.api.objects[ROUTES, NAME]
    control.run_round()
    assert seen == [cluster.journal.read().desired_weights]


def test_routes_that_were_never_seen_are_restored_in_the_form_of_operator_1_17_1(cluster: SimulatedCluster) -> None:
    """An earlier version of Sluice did not remember them."""
    cluster.servers[B].ready_after = 1e9  # so the operator writes no routes
    del cluster.api.objects[ROUTES, NAME]
    rollout = cluster.api.objects["modelrollouts", NAME]
    assert "routes" not in json.loads(rollout["status"]["rendered"])
    control = cluster.controller("two")
    while not cluster.tick(control):
        pass
    assert cluster.weights() == {A: 100}
    assert spec_of(cluster) == plan_operator_routes(NAME, NAMESPACE, cluster.predictors()[:1], "seldon-gateway")


@pytest.mark.parametrize("edit", EDITS)
def test_changed_routes_are_restored_in_the_next_round_while_the_operator_writes_none(
    cluster: SimulatedCluster, edit: Callable[[dict[str, Any]], None]
) -> None:
    control, events = control_with_events(cluster)
    cluster.servers[A].unready_since = cluster.now  # so the operator writes no routes, and no rollback follows
    cluster.pass_time(0.0)
    before = copy_object(spec_of(cluster))
    edit(spec_of(cluster))
    control.run_round()
    assert spec_of(cluster)["http"][0]["match"] == before["http"][0]["match"]
    assert {name for name in spec_of(cluster) if spec_of(cluster)[name]} == set(before)
    assert cluster.weights() == cluster.journal.read().desired_weights
    assert ("RoutesRestored", f"the VirtualService {NAME} was changed by others; the controller restored it") in events


@pytest.mark.parametrize("edit", EDITS[:-1])
def test_harmful_changes_are_undone_even_if_the_operator_should_and_does_not(
    cluster: SimulatedCluster, edit: Callable[[dict[str, Any]], None]
) -> None:
    control, _ = control_with_events(cluster)
    cluster.operator_works = False
    before = copy_object(spec_of(cluster))
    edit(spec_of(cluster))
    for _ in range(3):
        cluster.tick(control)
    assert spec_of(cluster)["http"][0]["match"] == before["http"][0]["match"]
    assert "mirror" not in spec_of(cluster)["http"][0]
    assert cluster.weights() == cluster.journal.read().desired_weights


def test_the_controller_follows_an_operator_with_other_settings_and_does_not_write_in_turns_with_it(
    cluster: SimulatedCluster,
) -> None:
    control, events = control_with_events(cluster)
    cluster.operator_gateway = "mesh/another"
    for _ in range(30):
        cluster.tick(control)
    assert spec_of(cluster)["gateways"] == ["mesh/another"]
    assert events == []
    del cluster.api.objects[ROUTES, NAME]
    cluster.servers[B].unready_since = cluster.now
    cluster.pass_time(0.0)
    control.run_round()
    assert spec_of(cluster)["gateways"] == ["mesh/another"], "it remembers the later settings"


def test_a_controller_that_acts_again_does_not_restore_routes_from_before(cluster: SimulatedCluster) -> None:
    first, _ = control_with_events(cluster)
    second = cluster.controller("three")
    cluster.operator_gateway = "mesh/another"
    cluster.rate = 0.0
    while not cluster.tick(second):
        pass
    for _ in range(10):
        cluster.tick(second)
    while not cluster.tick(first):
        pass
    cluster.servers[A].unready_since = cluster.now
    cluster.pass_time(0.0)
    del cluster.api.objects[ROUTES, NAME]
    first.run_round()
    assert spec_of(cluster)["gateways"] == ["mesh/another"]


def test_after_routes_were_restored_neither_the_controller_nor_the_operator_writes_them_again(cluster: SimulatedCluster) -> None:
    control, _ = control_with_events(cluster)
    cluster.servers[A].unready_since = cluster.now
    cluster.pass_time(0.0)
    for act in (lambda: cluster.api.objects.pop((ROUTES, NAME)), lambda: add_mirror(spec_of(cluster))):
        act()
        control.run_round()
        cluster.servers[A].unready_since = None
        cluster.pass_time(30.0)  # the operator may write again
        writes, version = cluster.operator_writes, cluster.api.objects[ROUTES, NAME]["metadata"]["resourceVersion"]
        state = cluster.journal.read().state
        while cluster.journal.read().state == state:
            cluster.tick(control)
            if cluster.journal.read().state == state:
                assert cluster.api.objects[ROUTES, NAME]["metadata"]["resourceVersion"] == version
                assert cluster.operator_writes == writes
        cluster.servers[A].unready_since = cluster.now
        cluster.pass_time(0.0)


def test_a_rollout_ends_as_usual_after_its_routes_were_deleted(cluster: SimulatedCluster) -> None:
    control, _ = control_with_events(cluster)
    cluster.servers[B].broken = "CrashLoopBackOff"
    del cluster.api.objects[ROUTES, NAME]
    journal = cluster.run(control, until=ended)
    assert journal.rollouts[-1].outcome is Phase.ROLLED_BACK
    assert cluster.weights() == {A: 100}


def test_a_message_about_lost_routes_does_not_blame_the_operators_settings(cluster: SimulatedCluster) -> None:
    control, _ = control_with_events(cluster)
    cluster.servers[A].unready_since = cluster.now
    cluster.pass_time(0.0)
    del cluster.api.objects[ROUTES, NAME]

    def refuse(verb: str, plural: str, _name: str) -> None:
        if (verb, plural) == ("create", ROUTES):
            raise ServiceError("the API server refused it")

    cluster.api.before = refuse
    seen = len(cluster.lines)
    cluster.tick(control)
    lines = cluster.lines[seen:]
    assert any(f"the VirtualService {NAME} cannot be written" in line for line in lines), lines
    assert not any("ISTIO_ENABLED" in line for line in lines), lines


def test_weights_that_others_changed_are_put_right_and_reported_once(cluster: SimulatedCluster) -> None:
    control, events = control_with_events(cluster)
    cluster.operator_works, cluster.rate = False, 0.0
    for _ in range(6):
        cluster.tick(control)
    state = cluster.journal.read().state
    for route in spec_of(cluster)["http"]:
        for one in route["route"]:
            one["weight"] = 50
    cluster.tick(control)
    assert cluster.journal.read().state == state
    assert cluster.weights() == cluster.journal.read().desired_weights
    assert [reason for reason, _ in events] == ["PutRight"]


def test_routes_that_cannot_be_written_are_reported_once(cluster: SimulatedCluster) -> None:
    control, events = control_with_events(cluster)
    cluster.servers[A].unready_since = cluster.now
    cluster.pass_time(0.0)
    del cluster.api.objects[ROUTES, NAME]

    def refuse(verb: str, plural: str, _name: str) -> None:
        if verb == "create" and plural == ROUTES:
            raise ServiceError("the account lacks a permission")

    cluster.api.before = refuse
    for _ in range(3):
        cluster.tick(control)
    assert [reason for reason, _ in events] == ["RoutesNotApplied"]
    assert "the account lacks a permission" in events[0][1]
    cluster.api.before = lambda *_: None
    cluster.tick(control)
    assert [reason for reason, _ in events] == ["RoutesNotApplied", "RoutesRestored"]


def add_rules(cluster: SimulatedCluster) -> None:
    """Write the DestinationRules as operator 1.17.1 does."""
    for one in cluster.predictors():
        name = f"{NAME}-{one['name']}"
        host = f"{name}.prod.svc.cluster.local"
        policy = {"connectionPool": {"http": {"idleTimeout": "60s"}}}
        spec = {"host": host, "subsets": [{"name": one["name"], "labels": {"version": one["name"]}}], "trafficPolicy": policy}
        cluster.api.put(DESTINATION_RULE, name, {"metadata": {"name": name}, "spec": spec})


def test_destination_rules_that_others_deleted_or_broke_are_restored_and_other_changes_stay(cluster: SimulatedCluster) -> None:
    control, events = control_with_events(cluster)
    add_rules(cluster)
    cluster.tick(control)
    rules = {name: copy_object(found["spec"]) for (plural, name), found in cluster.api.objects.items() if plural == RULES}
    assert len(rules) == 2
    first, second = rules
    del cluster.api.objects[RULES, first]
    cluster.api.objects[RULES, second]["spec"]["subsets"] = []
    cluster.tick(control)
    cluster.tick(control)
    assert {name: cluster.api.objects[RULES, name]["spec"] for name in rules} == rules
    assert [reason for reason, _ in events] == ["RoutesRestored"] * 2
    cluster.api.objects[RULES, second]["spec"]["trafficPolicy"] = {"tls": {"mode": "ISTIO_MUTUAL"}}  # the operator's new settings
    cluster.tick(control)
    del cluster.api.objects[RULES, second]
    cluster.tick(control)
    assert cluster.api.objects[RULES, second]["spec"]["trafficPolicy"] == {"tls": {"mode": "ISTIO_MUTUAL"}}


def test_a_controller_that_may_not_read_destination_rules_acts_as_usual(cluster: SimulatedCluster) -> None:
    def refuse(_verb: str, plural: str, _name: str) -> None:
        if plural == RULES:
            raise ServiceError("forbidden")

    cluster.api.before = refuse
    assert cluster.run(cluster.controller("two"), until=ended).champion == B


def test_routes_that_the_operator_writes_at_the_same_moment_are_its_own(cluster: SimulatedCluster) -> None:
    control, events = control_with_events(cluster)
    del cluster.api.objects[ROUTES, NAME]

    def lose_race(verb: str, plural: str, _name: str) -> None:
        if verb == "create" and plural == ROUTES:
            cluster.pass_time(0.0)  # the operator writes them first
            raise ConflictError("exists already")

    cluster.api.before = lose_race
    control.run_round()
    assert cluster.weights() == cluster.journal.read().desired_weights
    assert events == []


def test_a_first_release_is_promoted_only_when_the_gateway_reaches_it() -> None:
    cluster = SimulatedCluster()
    cluster.servers[A] = SimulatedServer()
    cluster.request(A, 1)
    cluster.approve(A)
    control, answers = cluster.controller(), ["the gateway answers 503"] * 20

    class Gateway:
        def find_problem(self, release: str, now: float) -> str:
            assert release == A
            return answers.pop() if answers else ""

    control.platform._gateway = Gateway()  # type: ignore[attr-defined]
    while answers:
        assert cluster.journal.read().champion is None
        cluster.tick(control)
    assert cluster.run(control, until=lambda journal: journal.champion == A, max_rounds=3)


def test_deleted_routes_are_restored_at_once_beside_a_round(cluster: SimulatedCluster) -> None:
    """A round first asks servers and the gateway. Until the routes are there, the gateway answers no request."""
    control, events = control_with_events(cluster)
    desired, expected = cluster.journal.read().desired_weights, copy_object(spec_of(cluster))
    del cluster.api.objects[ROUTES, NAME]
    calls = list[tuple[str, str]]()
    cluster.api.before = lambda verb, plural, _name: calls.append((verb, plural))
    control.platform.restore_deleted_routes()  # type: ignore[attr-defined]
    assert cluster.weights() == desired
    assert spec_of(cluster) == expected
    assert calls == [("create", ROUTES)], "nothing is read first"
    assert [reason for reason, _ in events] == ["RoutesRestored"]
    state = cluster.journal.read().state
    control.run_round()
    assert cluster.journal.read().state == state
    assert len(events) == 1


def test_deleted_routes_are_left_alone_beside_a_round_if_they_must_not_come_back(cluster: SimulatedCluster) -> None:
    control, events = control_with_events(cluster)
    restore = control.platform.restore_deleted_routes  # type: ignore[attr-defined]
    control.platform._snapshot.deployment["metadata"]["deletionTimestamp"] = "now"  # type: ignore[attr-defined]
    del cluster.api.objects[ROUTES, NAME]
    restore()  # somebody removes the whole deployment
    del control.platform._snapshot.deployment["metadata"]["deletionTimestamp"]  # type: ignore[attr-defined]
    control.platform.lock.give_up()  # type: ignore[attr-defined]
    restore()  # another controller acts
    assert (ROUTES, NAME) not in cluster.api.objects
    assert events == []


def test_a_controller_that_has_just_begun_to_act_does_not_restore_from_what_it_saw_before(cluster: SimulatedCluster) -> None:
    first, _ = control_with_events(cluster)
    second = cluster.controller("three")
    while not cluster.tick(second):
        pass
    cluster.run(second, until=ended)
    while not first.platform._hold_lease():  # type: ignore[attr-defined]
        cluster.pass_time(1.0)
    del cluster.api.objects[ROUTES, NAME]
    first.platform.restore_deleted_routes()  # type: ignore[attr-defined]
    assert (ROUTES, NAME) not in cluster.api.objects
