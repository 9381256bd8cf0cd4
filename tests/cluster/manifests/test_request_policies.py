"""Test ModelRollouts and SeldonDeployments on a real API server: who may write what, and that only the controller decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from approvals_by_kubectl import (
    ALICE,
    BOB,
    CONTROLLER,
    DIGEST,
    EDITOR,
    GROUPS,
    IMAGE,
    NUMBERS,
    OTHER,
    REQUESTER,
    assert_refused,
    create,
    make_rollout,
    patch,
)
from manifests_cluster import ISTIO, SELDON, kubectl, may, skip_unless_registered

if TYPE_CHECKING:
    from manifests_cluster import Installation, KubectlResult

RELEASE = {"digest": DIGEST, "image": IMAGE, "number": 1}
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}


@pytest.fixture
def rollout(installation: Installation) -> str:
    """Create a ModelRollout as a requester, and return its name."""
    result = create(make_rollout(installation, REQUESTER), REQUESTER)
    assert result.succeeded, result.error
    return result.out.strip()


def order(kind: str, by: str) -> dict[str, Any]:
    return {"spec": {"command": {"id": f"order-{next(NUMBERS)}", "kind": kind, "by": by}}}


def request(by: str) -> dict[str, Any]:
    release = {"digest": OTHER, "image": IMAGE, "number": 2}
    return {"spec": {"release": release, "requestedBy": by, "requestID": f"request-{next(NUMBERS)}"}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": []}, "spec.steps"),
        ({"steps": [5, 25]}, "the last step must be 100"),
        ({"steps": [25, 5, 100]}, "the steps must rise"),
        ({"steps": [5, 5, 100]}, "the steps must rise"),
        ({"steps": [0, 100]}, "spec.steps"),
        ({"steps": None}, "a request needs steps"),
        ({"requestedBy": None}, "a request needs requestedBy"),
        ({"release": RELEASE | {"digest": "latest"}}, "spec.release.digest"),
        ({"release": RELEASE | {"image": "churn:latest"}}, "spec.release.image"),
        ({"release": RELEASE | {"number": 100_000}}, "spec.release.number"),
        ({"release": {"digest": DIGEST}}, "Required value"),
        ({"again": "x" * 1001}, "spec.again"),
        ({"replicas": 0}, "spec.replicas"),
        ({"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}, "minReplicas must be at most maxReplicas"),
        ({"autoscaling": {"minReplicas": 0, "maxReplicas": 2}}, "spec.autoscaling.minReplicas"),
        ({"autoscaling": {"maxReplicas": 2}}, "spec.autoscaling.minReplicas"),
        ({"command": {"id": "1", "kind": "promote", "by": REQUESTER}}, "spec.command.kind"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(installation: Installation, change: dict[str, Any], reason: str) -> None:
    assert_refused(create(make_rollout(installation, REQUESTER, **change), REQUESTER), reason)


def test_a_requester_requests_and_aborts_in_their_own_name_only(installation: Installation, rollout: str) -> None:
    assert_refused(
        create(make_rollout(installation, ALICE), REQUESTER), f"spec.requestedBy must be the account that requests: {REQUESTER}"
    )
    assert_refused(patch(installation, rollout, request(ALICE), REQUESTER), "spec.requestedBy must be the account")
    assert patch(installation, rollout, request(REQUESTER), REQUESTER).succeeded
    assert_refused(patch(installation, rollout, order("abort", ALICE), REQUESTER), "spec.command.by must be the account")
    assert patch(installation, rollout, order("abort", REQUESTER), REQUESTER).succeeded


def test_a_requester_neither_rolls_back_nor_scales(installation: Installation, rollout: str) -> None:
    assert_refused(patch(installation, rollout, order("rollback", REQUESTER), REQUESTER), "needs the verb `rollback`")
    assert_refused(patch(installation, rollout, {"spec": {"replicas": 900}}, REQUESTER), "needs the verb `scale`")


SCALER = "erin@example.com"
"""A person of the platform team: the Role sluice-scaler and nothing else."""


@pytest.fixture
def scaler(installation: Installation) -> str:
    flags = ["--role=sluice-scaler", f"--user={SCALER}", "-n", installation.production]
    kubectl("create", "rolebinding", "scaler-of-the-test", *flags)  # there already in a second test
    return SCALER


def scale(installation: Installation, name: str, user: str) -> KubectlResult:
    flags = ["--replicas=3", "-n", installation.production]
    return kubectl("scale", name, *flags, user=user, groups=GROUPS.get(user, ()))


@pytest.mark.parametrize("user", [ALICE, SCALER])
def test_approvers_and_the_platform_team_scale(installation: Installation, rollout: str, scaler: str, user: str) -> None:
    result = scale(installation, rollout, user)
    assert result.succeeded, result.error
    found = kubectl("get", rollout, "-n", installation.production, "-o", "jsonpath={.spec.replicas}")
    assert found.out == "3"
    for change in ({"replicas": 2}, {"autoscaling": {"minReplicas": 2, "maxReplicas": 4}}, {"autoscaling": None}):
        result = patch(installation, rollout, {"spec": change}, user)
        assert result.succeeded, result.error
    assert_refused(patch(installation, rollout, request(scaler), scaler), "needs the verb `request`")
    assert_refused(patch(installation, rollout, order("rollback", scaler), scaler), "needs the verb `rollback`")


@pytest.mark.parametrize("user", [REQUESTER, EDITOR])
def test_nobody_else_scales(installation: Installation, rollout: str, user: str) -> None:
    assert_refused(scale(installation, rollout, user), "forbidden")
    for verb in ("update", "patch"):
        assert not may(user, verb, "modelrollouts.sluice.dev/scale", installation.production, groups=GROUPS[user])
    if user == REQUESTER:
        asked = {"spec": {"autoscaling": {"minReplicas": 1, "maxReplicas": 900}}}
        assert_refused(patch(installation, rollout, asked, user), "needs the verb `scale`")
        assert_refused(create(make_rollout(installation, user, replicas=9), user), "needs the verb `scale`")
        assert_refused(create(make_rollout(installation, user, **asked["spec"]), user), "needs the verb `scale`")


def test_the_autoscaler_of_kubernetes_may_scale_and_the_controller_states_the_replicas(installation: Installation) -> None:
    autoscaler = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
    for verb in ("get", "update"):
        assert may(autoscaler, verb, "modelrollouts.sluice.dev/scale", installation.production)
    controller = installation.account(CONTROLLER)
    assert may(controller, "patch", "modelrollouts.sluice.dev/scale", installation.production)
    assert not may(controller, "patch", "modelrollouts.sluice.dev", installation.production)


def test_an_approver_rolls_back_and_aborts_but_does_not_request(installation: Installation, rollout: str) -> None:
    assert patch(installation, rollout, order("rollback", ALICE), ALICE).succeeded
    assert patch(installation, rollout, order("abort", ALICE), ALICE).succeeded
    assert_refused(patch(installation, rollout, order("rollback", BOB), ALICE), "spec.command.by must be the account")
    assert_refused(patch(installation, rollout, request(ALICE), ALICE), "needs the verb `request`")
    assert_refused(patch(installation, rollout, {"spec": {"steps": [100]}}, ALICE), "needs the verb `request`")
    assert_refused(create(make_rollout(installation, ALICE), ALICE), "cannot create resource")


def test_a_requester_does_not_cancel_a_rollback_that_the_controller_has_not_read(
    installation: Installation, rollout: str
) -> None:
    """The controller may be away, and the rollback must still be there when it comes back."""
    rollback = order("rollback", ALICE)
    assert patch(installation, rollout, rollback, ALICE).succeeded
    for change in (order("abort", REQUESTER), {"spec": {"command": None}}):
        assert_refused(patch(installation, rollout, change, REQUESTER), "a rollback waits for the controller")
    assert patch(installation, rollout, request(REQUESTER), REQUESTER).succeeded, "everything else may change"
    seen = {"status": {"lastCommandID": rollback["spec"]["command"]["id"]}}
    assert patch(installation, rollout, seen, "", "--subresource=status").succeeded
    assert patch(installation, rollout, order("abort", REQUESTER), REQUESTER).succeeded


@pytest.mark.parametrize("account", ["sluice-gate", "sluice-pipeline", "sluice-reader", "sluice-integration"])
def test_no_other_step_of_a_pipeline_requests(installation: Installation, rollout: str, account: str) -> None:
    user = installation.account(account, installation.pipelines)
    assert_refused(create(make_rollout(installation, user), user), "cannot create resource")
    assert_refused(patch(installation, rollout, order("abort", user), user), "forbidden")
    assert not may(user, "patch", "modelrollouts.sluice.dev", installation.production)


@pytest.mark.parametrize("user", [REQUESTER, ALICE, EDITOR])
def test_only_the_controller_writes_the_status(installation: Installation, rollout: str, user: str) -> None:
    """Whoever writes the status decides which release is champion."""
    change = {"status": {"phase": "promoted", "journal": "{}"}}
    assert_refused(patch(installation, rollout, change, user, "--subresource=status"), "forbidden")
    for verb in ("update", "patch"):
        assert not may(user, verb, "modelrollouts.sluice.dev/status", installation.production, groups=GROUPS[user])
    found = kubectl("get", rollout, "-n", installation.production, "-o", "json")
    assert '"journal"' not in found.out
    if user != EDITOR:  # without the subresource, the API server drops the status
        assert patch(installation, rollout, change, user).succeeded
        assert '"journal"' not in kubectl("get", rollout, "-n", installation.production, "-o", "json").out


def test_the_controller_neither_requests_nor_orders(installation: Installation, rollout: str) -> None:
    controller = installation.account(CONTROLLER)
    assert_refused(patch(installation, rollout, request(controller), controller), "cannot patch resource")
    assert_refused(create(make_rollout(installation, controller), controller), "needs the verb `request`")


def test_a_modelrollout_has_no_owner_with_which_it_would_be_deleted(installation: Installation, rollout: str) -> None:
    change = {"metadata": {"ownerReferences": [OWNER]}}
    assert_refused(patch(installation, rollout, change, REQUESTER), "a ModelRollout must not have an owner")


def make_deployment(replicas: int = 0) -> dict[str, Any]:
    """Return a SeldonDeployment with one predictor."""
    predictor = {
        "name": "r1",
        "replicas": replicas,
        "graph": {"name": "model", "type": "MODEL", "children": []},
        "componentSpecs": [{"spec": {"containers": [{"name": "model", "image": "model@sha256:0"}]}}],
    }
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": f"churn-{next(NUMBERS)}"},
        "spec": {"name": "churn", "predictors": [predictor]},
    }


def create_deployment(installation: Installation, user: str) -> Any:
    flags = ["-n", installation.production, "-o", "name", "-f", "-"]
    return kubectl("create", *flags, given=make_deployment(), user=user, groups=GROUPS.get(user, ()))


def test_nobody_but_the_controller_writes_a_seldondeployment(installation: Installation) -> None:
    skip_unless_registered(installation, SELDON, ISTIO)
    controller = installation.account(CONTROLLER)
    result = create_deployment(installation, controller)
    assert result.succeeded, result.error
    name, pipeline = result.out.strip(), installation.account("sluice-canary", installation.pipelines)
    assert name
    for user in (pipeline, REQUESTER, ALICE):
        assert_refused(create_deployment(installation, user), "cannot create resource")
        for verb in ("update", "patch", "delete"):
            groups = GROUPS.get(user, ())
            assert not may(user, verb, "seldondeployments.machinelearning.seldon.io", installation.production, groups=groups)


def test_an_account_that_may_edit_seldondeployments_changes_no_decision_of_the_controller(
    installation: Installation,
) -> None:
    skip_unless_registered(installation, SELDON, ISTIO)
    rules = [
        "create",
        "role",
        "seldon-editor",
        "--verb=create,patch,get",
        "--resource=seldondeployments.machinelearning.seldon.io",
    ]
    assert kubectl(*rules, "-n", installation.production).succeeded
    bound = ["create", "rolebinding", "seldon-editor", "--role=seldon-editor", f"--user={BOB}", "-n", installation.production]
    assert kubectl(*bound).succeeded
    name = create_deployment(installation, installation.account(CONTROLLER)).out.strip()
    assert_refused(create_deployment(installation, BOB), "only the controller writes a SeldonDeployment")
    spec = {"spec": {"predictors": make_deployment(replicas=1)["spec"]["predictors"]}}
    assert_refused(patch(installation, name, spec, BOB), "only the controller writes a SeldonDeployment")
    epoch = {"metadata": {"annotations": {"sluice.dev/epoch": "1000000"}}}
    assert_refused(patch(installation, name, epoch, BOB), "only the controller writes annotations that begin with sluice.dev/")
    assert_refused(patch(installation, name, {"metadata": {"ownerReferences": [OWNER]}}, BOB), "must not have an owner")
    assert patch(installation, name, {"metadata": {"labels": {"team": "risk"}}}, BOB).succeeded
