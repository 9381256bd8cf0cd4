"""The users of these tests, and the requests and approvals that they create with kubectl."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from manifests_cluster import KubectlResult, kubectl

if TYPE_CHECKING:
    from manifests_cluster import Installation

ALICE, BOB, REQUESTER, EDITOR = "alice@example.com", "bob@example.com", "carol@example.com", "dave@example.com"
CONTROLLER = "sluice-controller"
GROUPS = {ALICE: ["sluice-approvers"], BOB: ["sluice-approvers"], REQUESTER: ["sluice-requesters"], EDITOR: []}
DIGEST, OTHER = (f"sha256:{letter * 64}" for letter in "ab")
IMAGE = f"registry.example/churn@{DIGEST}"
NUMBERS = itertools.count(1)


def make_approval(installation: Installation, approved_by: str, **changes: Any) -> dict[str, Any]:
    """Return a RolloutApproval. A field that is None is left out."""
    spec = {
        "rollout": "churn",
        "digest": DIGEST,
        "image": IMAGE,
        "steps": [5, 100],
        "until": "2100-01-01T00:00:00Z",
        "approvedBy": approved_by,
    } | changes
    return {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "RolloutApproval",
        "metadata": {"name": f"churn-approval-{next(NUMBERS)}", "namespace": installation.production},
        "spec": {key: value for key, value in spec.items() if value is not None},
    }


def approve(installation: Installation, user: str, approved_by: str = "", **changes: Any) -> KubectlResult:
    """Create an approval as a user."""
    return create(make_approval(installation, approved_by or user, **changes), user)


def make_rollout(installation: Installation, requested_by: str, **changes: Any) -> dict[str, Any]:
    """Return a ModelRollout with a request. A field that is None is left out."""
    spec = {
        "release": {"digest": DIGEST, "image": IMAGE, "number": 1},
        "steps": [5, 25, 100],
        "requestedBy": requested_by,
    } | changes
    return {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": f"churn-{next(NUMBERS)}", "namespace": installation.production},
        "spec": {key: value for key, value in spec.items() if value is not None},
    }


def create(body: dict[str, Any], user: str) -> KubectlResult:
    """Create an object as a user."""
    return kubectl("create", "-f", "-", "-o", "name", given=body, user=user, groups=GROUPS.get(user, ()))


def patch(installation: Installation, name: str, change: object, user: str, *flags: str) -> KubectlResult:
    """Change an object as a user, with a merge patch."""
    arguments = ["--type=merge", "-p", json.dumps(change), "-n", installation.production, *flags]
    return kubectl("patch", name, *arguments, user=user, groups=GROUPS.get(user, ()))


def assert_refused(result: KubectlResult, reason: str) -> None:
    """Check that the API server refused a change for this reason."""
    assert not result.succeeded, result.out
    assert reason in result.error, result.error
