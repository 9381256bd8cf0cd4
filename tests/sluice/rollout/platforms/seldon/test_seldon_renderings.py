"""The controller owns the SeldonDeployment: what others write there is undone, and no setting restarts a server with traffic."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from seldon_canaries import A, B, ended, make_cluster, reach
from simulated_cluster import NAME, SimulatedCluster, SimulatedServer, make_settings

from sluice.rollout.decisions.states import Phase, State, Transition
from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT, SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from sluice.rollout.platforms.seldon.objects.predictors import PackagedRelease, build_deployment, build_predictor, build_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.rollout.round import ControlLoop

STEPS = tuple(make_settings().rollout.steps)


def spec_of(cluster: SimulatedCluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]["spec"]
    return found


def pod_of(cluster: SimulatedCluster, number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = cluster.predictors()[number]["componentSpecs"][0]["spec"]
    return found


def controller_with_corrections(cluster: SimulatedCluster) -> tuple[ControlLoop, list[str]]:
    control, corrections = cluster.controller("two"), list[str]()
    control.platform.warn = lambda reason, text: corrections.append(text) if reason == "PutRight" else None  # type: ignore[attr-defined]
    while not cluster.tick(control):  # until it has the lease
        pass
    return control, corrections


def test_a_seldondeployment_that_a_requester_prepared_is_replaced_before_it_gets_a_pod() -> None:
    """A requester adds a sidecar, a command and the controller's account to the Pod of a release that is then approved."""
    cluster = SimulatedCluster()
    cluster.servers[A] = SimulatedServer()
    predictor = build_predictor(PackagedRelease(A, 1, f"churn@{A}"), cluster.settings, replicas=0)
    pod = predictor["componentSpecs"][0]["spec"]
    pod |= {"serviceAccountName": "sluice-controller", "automountServiceAccountToken": True}
    pod["containers"][0]["command"] = ["sh", "-c", "anything with the approved image"]
    pod["containers"].append({"name": "side", "image": "evil/any:latest"})
    body = build_deployment(cluster.settings, build_spec(cluster.settings), [predictor])
    cluster.api.create(SELDON_DEPLOYMENT, body, manager="requester")
    cluster.request(A, 1)
    cluster.approve(A)
    cluster.run(cluster.controller(), until=lambda journal: journal.champion == A)
    pod = pod_of(cluster)
    assert [one["name"] for one in pod["containers"]] == ["model"]
    assert "command" not in pod["containers"][0]
    assert pod.get("serviceAccountName") != "sluice-controller"
    assert pod["automountServiceAccountToken"] is False


def add_sidecar(cluster: SimulatedCluster) -> None:
    pod_of(cluster)["containers"].append({"name": "side", "image": "evil/any:latest"})


def take_account(cluster: SimulatedCluster) -> None:
    pod_of(cluster)["serviceAccountName"] = "sluice-controller"


def add_explainer(cluster: SimulatedCluster) -> None:
    cluster.predictors()[0]["explainer"] = {"type": "AnchorTabular"}


def change_annotations(cluster: SimulatedCluster) -> None:
    spec_of(cluster)["annotations"]["seldon.io/rest-timeout"] = "1"


def add_transport(cluster: SimulatedCluster) -> None:
    spec_of(cluster)["transport"] = "grpc"


@pytest.mark.parametrize("edit", [add_sidecar, take_account, add_explainer, change_annotations, add_transport])
def test_what_others_change_is_put_right_and_reported(edit: Callable[[SimulatedCluster], None]) -> None:
    cluster = make_cluster(approved=True)
    cluster.run(cluster.controller(), until=ended)
    control, corrections = controller_with_corrections(cluster)
    before = json.dumps(spec_of(cluster), sort_keys=True)
    edit(cluster)
    cluster.tick(control)
    assert json.dumps(spec_of(cluster), sort_keys=True) == before
    assert len(corrections) == 1
    assert "was changed by others; it was put right" in corrections[0]
    version = cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]["metadata"]["resourceVersion"]
    for _ in range(3):
        cluster.tick(control)
    assert cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]["metadata"]["resourceVersion"] == version, "it is written once"


def test_labels_and_annotations_of_the_object_itself_stay() -> None:
    cluster = make_cluster(approved=True)
    cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]["metadata"]["labels"]["team"] = "risk"
    cluster.run(cluster.controller(), until=ended)
    assert cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]["metadata"]["labels"]["team"] == "risk"


def test_a_predictor_that_others_removed_is_added_again_as_it_was() -> None:
    cluster = make_cluster(approved=True)
    cluster.run(cluster.controller(), until=ended)
    control, corrections = controller_with_corrections(cluster)
    before = {one["name"]: one for one in cluster.predictors()}
    cluster.predictors().pop(0)
    cluster.tick(control)
    assert {one["name"]: one for one in cluster.predictors()} == before
    assert "was removed by others" in corrections[0]


def test_a_changed_setting_changes_no_predictor_that_runs_and_applies_to_the_next_release() -> None:
    """A server with traffic would restart otherwise."""
    cluster = make_cluster(approved=True)
    cluster.run(cluster.controller(), until=ended)
    before = json.dumps(spec_of(cluster), sort_keys=True)
    table = cluster.settings.seldon.model_copy(update={"workers": 7, "host": "models.example.com"})
    cluster.settings = cluster.settings.model_copy(
        update={"seldon": table, "rollout": cluster.settings.rollout.model_copy(update={"request_timeout_seconds": 60.0})}
    )
    control, corrections = controller_with_corrections(cluster)
    for _ in range(5):
        cluster.tick(control)
    assert (json.dumps(spec_of(cluster), sort_keys=True), corrections) == (before, [])
    release = f"sha256:{'c' * 64}"
    cluster.servers[release] = SimulatedServer()
    cluster.request(release, 3)
    cluster.tick(control)
    workers = {one["name"]: one["value"] for one in pod_of(cluster, -1)["containers"][0]["env"]}["GUNICORN_WORKERS"]
    assert workers == "7"


def test_replicas_of_the_modelrollout_hold_for_champion_n_minus_1_and_canary() -> None:
    cluster = make_cluster()
    cluster.api.merge(MODEL_ROLLOUT, NAME, {"spec": {"replicas": 4}}, manager="platform team")
    control = reach(cluster, Phase.AWAITING_APPROVAL)
    assert [one["replicas"] for one in cluster.predictors()] == [4, 4]
    cluster.predictors()[0]["replicas"] = 1
    cluster.tick(control)
    assert [one["replicas"] for one in cluster.predictors()] == [4, 4]
    cluster.approve(B)
    cluster.run(control, until=ended)
    assert [one["replicas"] for one in cluster.predictors()] == [4, 4]


def test_a_write_that_ends_before_its_rendering_is_stored_is_repeated_without_another_pod() -> None:
    cluster = make_cluster()
    control = cluster.controller("two")
    killed = False

    class KilledError(BaseException):
        pass

    def before(verb: str, plural: str, _name: str) -> None:
        nonlocal killed
        is_written = len(cluster.predictors()) == 2
        if not killed and is_written and (verb, plural) == ("update", MODEL_ROLLOUT.plural):
            killed = True
            raise KilledError

    cluster.api.before = before
    with pytest.raises(KilledError):
        cluster.run(control, until=ended)
    spec = json.dumps(spec_of(cluster), sort_keys=True)
    cluster.now += 20
    reach(cluster, Phase.AWAITING_APPROVAL)
    assert json.dumps(spec_of(cluster), sort_keys=True) == spec


def test_the_status_shows_what_a_platform_team_needs() -> None:
    cluster = make_cluster(approved=True)
    control = reach(cluster, Phase.STEP)
    for _ in range(10):
        cluster.tick(control)
    status = cluster.api.objects[MODEL_ROLLOUT.plural, NAME]["status"]
    assert (status["phase"], status["traffic"]) == ("step-1", "r1 95 %, r2 5 %")
    assert (status["champion"]["name"], status["canary"]["name"]) == ("r1-aaaaaaaa", "r2-bbbbbbbb")
    assert status["appliedWeights"] == {A: 95, B: 5}
    assert status["evidence"]["canary_requests"] > 0
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    assert conditions == {
        "Ready": "True", "Progressing": "True", "AwaitingApproval": "False", "Promoted": "False", "Failed": "False",
    }  # fmt: skip
    changed_at = {one["type"]: one["lastTransitionTime"] for one in status["conditions"]}
    cluster.run(control, until=ended)
    cluster.tick(control)
    status = cluster.api.objects[MODEL_ROLLOUT.plural, NAME]["status"]
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    assert (conditions["Promoted"], conditions["Progressing"], conditions["Failed"]) == ("True", "False", "False")
    assert [one["outcome"] for one in status["history"]] == ["promoted", "promoted"]
    assert {one["type"]: one["lastTransitionTime"] for one in status["conditions"]}["Ready"] == changed_at["Ready"]
    assert status["observedGeneration"] == cluster.api.objects[MODEL_ROLLOUT.plural, NAME]["metadata"]["generation"]


def test_a_status_that_is_written_with_a_decision_has_the_reason_of_the_decision() -> None:
    """The status of the next control round may come seconds later, and the message must not be that of the state before."""
    cluster = make_cluster(approved=True)
    reach(cluster, Phase.STEP)
    stored = cluster.api.objects[MODEL_ROLLOUT.plural, NAME]
    journal = cluster.journal.read()
    moved = Transition(time=cluster.now, from_state="step-1", to_state="baking", reason="it is good", decided_at=cluster.now)
    decided = dataclasses.replace(journal, state=State(phase=Phase.BAKING), transitions=(*journal.transitions, moved))
    status = cluster.journal.write_status(decided, stored, epoch=stored["status"]["epoch"])["status"]
    assert status["message"] == "it is good"
    assert {one["message"] for one in status["conditions"] if one["type"] in {"Progressing", "Promoted"}} == {"it is good"}


def test_a_failed_rollout_shows_as_failed_until_another_release_is_champion() -> None:
    cluster = make_cluster(SimulatedServer(error_rate=1.0), approved=True)
    control = cluster.controller("two")
    cluster.run(control, until=ended)
    cluster.tick(control)
    conditions = {one["type"]: one for one in cluster.api.objects[MODEL_ROLLOUT.plural, NAME]["status"]["conditions"]}
    assert (conditions["Failed"]["status"], conditions["Promoted"]["status"]) == ("True", "False")
    reason = cluster.journal.read().rollouts[-1].reason
    assert conditions["Failed"]["message"].startswith(f"release r2-bbbbbbbb was rolled back: {reason}; it is condemned")
    assert cluster.api.objects[VIRTUAL_SERVICE.plural, NAME]
