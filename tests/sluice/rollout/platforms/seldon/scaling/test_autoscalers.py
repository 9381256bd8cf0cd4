"""The controller keeps the HorizontalPodAutoscaler that a ModelRollout asks for."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from memory_api import MemoryApi
from seldon_canaries import A, B, make_cluster, reach
from simulated_cluster import APPROVER, SimulatedCluster, SimulatedServer

from sluice.errors import DataError, ServiceError
from sluice.rollout.decisions.states import Phase, Transition
from sluice.rollout.platforms.seldon.api import AUTOSCALER, MODEL_ROLLOUT
from sluice.rollout.platforms.seldon.objects.autoscalers import includes
from sluice.rollout.platforms.seldon.resources.rollout_specs import read_autoscaling
from sluice.rollout.platforms.seldon.telemetry import Events, Metrics, report_transition

if TYPE_CHECKING:
    from sluice.rollout.round import ControlLoop

ASKED = {"minReplicas": 2, "maxReplicas": 6, "targetCPUUtilizationPercentage": 60}


@pytest.fixture
def running() -> tuple[SimulatedCluster, ControlLoop]:
    """A cluster in which A is champion, and a controller."""
    cluster = SimulatedCluster()
    cluster.make_champion(A, 1)
    return cluster, take_over(cluster, "two")


def take_over(cluster: SimulatedCluster, holder: str) -> ControlLoop:
    """Return another controller, which has waited until the lease of the one before has expired."""
    control = cluster.controller(holder)
    assert any(cluster.tick(control) for _ in range(60))
    return control


def ask(cluster: SimulatedCluster, asked: object) -> None:
    cluster.api.user = APPROVER
    cluster.api.merge(MODEL_ROLLOUT, "churn", {"spec": {"autoscaling": asked}}, manager="kubectl")


def autoscaler(cluster: SimulatedCluster) -> dict[str, Any]:
    return cluster.api.objects.get((AUTOSCALER.plural, "churn"), {})


def follow(cluster: SimulatedCluster, control: ControlLoop) -> dict[str, Any]:
    """Run some rounds, and return the autoscaler."""
    for _ in range(3):
        cluster.tick(control)
    return autoscaler(cluster)


def test_a_modelrollout_without_autoscaling_has_no_autoscaler_and_one_read_finds_that_out(
    running: tuple[SimulatedCluster, ControlLoop],
) -> None:
    cluster, control = running
    calls: list[str] = []
    cluster.api.before = lambda verb, plural, _name: calls.append(verb) if plural == AUTOSCALER.plural else None
    assert follow(cluster, control) == {}
    assert calls == []


def test_the_controller_makes_an_autoscaler_that_scales_the_modelrollout(running: tuple[SimulatedCluster, ControlLoop]) -> None:
    cluster, control = running
    ask(cluster, ASKED)
    found = follow(cluster, control)
    rollout = cluster.api.objects[MODEL_ROLLOUT.plural, "churn"]
    target = {"apiVersion": "sluice.dev/v1alpha1", "kind": "ModelRollout", "name": "churn"}
    assert (found["apiVersion"], found["kind"]) == ("autoscaling/v2", "HorizontalPodAutoscaler")
    assert found["spec"]["scaleTargetRef"] == target
    assert found["metadata"]["ownerReferences"] == [{**target, "uid": rollout["metadata"]["uid"], "controller": True}]
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"]) == (2, 6)
    (metric,) = found["spec"]["metrics"]
    assert metric["containerResource"] == {
        "name": "cpu",
        "container": "model",
        "target": {"type": "Utilization", "averageUtilization": 60},
    }
    assert rollout["spec"]["replicas"] == 2, "the API server has no scale of an object that does not state its replicas"
    assert not [line for line in cluster.lines if "put right" in line]
    version = found["metadata"]["resourceVersion"]
    assert follow(cluster, control)["metadata"]["resourceVersion"] == version, "a second round changes nothing"


def test_replicas_that_are_stated_stay(running: tuple[SimulatedCluster, ControlLoop]) -> None:
    cluster, control = running
    cluster.api.scale(MODEL_ROLLOUT, "churn", 5, manager="kubectl")
    ask(cluster, ASKED)
    follow(cluster, control)
    assert cluster.api.objects[MODEL_ROLLOUT.plural, "churn"]["spec"]["replicas"] == 5


@pytest.mark.parametrize("change", ["changed", "deleted"])
def test_what_others_change_in_the_autoscaler_is_put_right(running: tuple[SimulatedCluster, ControlLoop], change: str) -> None:
    cluster, control = running
    corrections: list[tuple[str, str]] = []
    control.platform.warn = lambda reason, text: corrections.append((reason, text))  # type: ignore[attr-defined]
    ask(cluster, ASKED)
    made = copy.deepcopy(follow(cluster, control)["spec"])
    if change == "changed":
        cluster.api.merge(AUTOSCALER, "churn", {"spec": {"maxReplicas": 100, "metrics": []}}, manager="kubectl")
    else:
        cluster.api.delete(AUTOSCALER, "churn")
    assert follow(cluster, control)["spec"] == made
    assert corrections == [("PutRight", f"the HorizontalPodAutoscaler was {change} by others; it was put right")]


def test_a_changed_request_changes_the_autoscaler_and_its_end_deletes_it(running: tuple[SimulatedCluster, ControlLoop]) -> None:
    cluster, control = running
    ask(cluster, ASKED)
    follow(cluster, control)
    ask(cluster, {"maxReplicas": 9})
    assert follow(cluster, control)["spec"]["maxReplicas"] == 9
    ask(cluster, None)
    assert follow(cluster, control) == {}
    assert not [line for line in cluster.lines if "put right" in line]


def test_a_controller_that_starts_later_deletes_an_autoscaler_that_nobody_asks_for(
    running: tuple[SimulatedCluster, ControlLoop],
) -> None:
    cluster, control = running
    ask(cluster, ASKED)
    follow(cluster, control)
    ask(cluster, None)
    assert follow(cluster, take_over(cluster, "three")) == {}


@pytest.mark.parametrize("asked", [ASKED, None])
def test_an_autoscaler_of_somebody_else_is_left_alone(running: tuple[SimulatedCluster, ControlLoop], asked: object) -> None:
    cluster, _ = running
    mine = {"metadata": {"name": "churn"}, "spec": {"maxReplicas": 3}}
    cluster.api.create(AUTOSCALER, mine, manager="kubectl")
    ask(cluster, asked)
    assert follow(cluster, take_over(cluster, "three"))["spec"] == {"maxReplicas": 3}
    told = [line for line in cluster.lines if "that the controller did not make" in line]
    assert len(told) == (1 if asked else 0)


def test_traffic_moves_and_the_problem_is_told_once_while_autoscalers_cannot_be_written(
    running: tuple[SimulatedCluster, ControlLoop],
) -> None:
    cluster, control = running
    ask(cluster, ASKED)

    def refuse(_verb: str, plural: str, _name: str) -> None:
        if plural == AUTOSCALER.plural:
            raise ServiceError("horizontalpodautoscalers is forbidden")

    cluster.api.before = refuse
    follow(cluster, control)
    assert cluster.weights() == {A: 100}
    assert [line for line in cluster.lines if "forbidden" in line] == ["problem: horizontalpodautoscalers is forbidden"]
    assert control.platform.status["trouble"] == "horizontalpodautoscalers is forbidden"  # type: ignore[attr-defined]
    cluster.api.before = lambda *_: None
    assert follow(cluster, control)
    assert control.platform.status["trouble"] == ""  # type: ignore[attr-defined]


def test_the_autoscaler_does_not_scale_down_while_two_releases_share_the_traffic() -> None:
    cluster = make_cluster(SimulatedServer(), approved=True)
    ask(cluster, ASKED)
    control = reach(cluster, Phase.STEP)
    cluster.tick(control)
    policies = [autoscaler(cluster)["spec"]["behavior"]["scaleDown"]["selectPolicy"]]
    cluster.run(control, until=lambda journal: journal.champion == B)
    policies.append(follow(cluster, control)["spec"]["behavior"]["scaleDown"]["selectPolicy"])
    assert policies == ["Disabled", "Max"]


@pytest.mark.parametrize(
    "asked", [{"minReplicas": 3, "maxReplicas": 2}, {"minReplicas": 0, "maxReplicas": 2}, {"maxReplicas": 2}, "4"]
)
def test_autoscaling_that_makes_no_sense_changes_nothing(running: tuple[SimulatedCluster, ControlLoop], asked: object) -> None:
    cluster, control = running
    ask(cluster, ASKED)
    made = copy.deepcopy(follow(cluster, control)["spec"])
    rollout = cluster.api.objects[MODEL_ROLLOUT.plural, "churn"]
    rollout["spec"]["autoscaling"] = asked
    with pytest.raises(DataError, match=r"spec\.autoscaling"):
        read_autoscaling(rollout)
    assert follow(cluster, control)["spec"] == made
    assert any("spec.autoscaling" in line for line in cluster.lines)


def test_a_stored_object_may_have_more_fields_but_no_more_metrics() -> None:
    assert includes({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"c": 2}]})
    assert not includes({"a": 1}, {"a": 2})
    assert not includes({"a": [1, 2]}, {"a": [1]})
    assert not includes({}, {"a": 1})


def test_a_part_of_a_rollback_is_a_warning_event_and_counts_as_no_promotion() -> None:
    api, metrics = MemoryApi(), Metrics("churn")
    events = Events(api, "churn", "one")  # type: ignore[arg-type]
    moved = Transition(
        time=1.0, from_state="promoted", to_state="promoted", reason="25 % moved", release=B, decided_at=1.0, commanded_by="kim"
    )
    report_transition(metrics, events, moved)
    (event,) = (one for (plural, _), one in api.objects.items() if plural == "events")
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "CommandAnswered", f"{B[:19]}: 25 % moved")
    assert (
        metrics.registry.get_sample_value("sluice_rollout_transitions_total", {"deployment": "churn", "phase": "promoted"})
        is None
    )
