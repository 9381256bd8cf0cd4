"""The users of these tests, and the approvals that they create with kubectl."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from manifests_cluster import KubectlResult, kubectl

if TYPE_CHECKING:
    from manifests_cluster import Installation

ALICE, BOB, REQUESTER, EDITOR = "alice@example.com", "bob@example.com", "carol@example.com", "dave@example.com"
CONTROLLER = "sluice-controller"
GROUPS = {ALICE: ["sluice-approvers"], BOB: ["sluice-approvers"], REQUESTER: ["sluice-requesters"], EDITOR: []}
LABELS = {
    "app.kubernetes.io/managed-by": "sluice",
    "app.kubernetes.io/component": "approval",
    "sluice.dev/deployment": "churn",
}
NUMBERS = itertools.count(1)


def make_approval(
    installation: Installation, recorded_by: str, *, immutable: bool | None = True, **labels: str | None
) -> dict[str, Any]:
    """Return the ConfigMap of an approval. A label that is None is left out."""
    metadata = {"name": f"churn-approval-{next(NUMBERS)}", "namespace": installation.production, "labels": LABELS}
    metadata["labels"] = {key: value for key, value in (LABELS | labels).items() if value is not None}
    data = {"approval": "{}", "recorded_by": recorded_by}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    return body | ({} if immutable is None else {"immutable": immutable})


def approve(installation: Installation, user: str, recorded_by: str = "", **changes: Any) -> KubectlResult:
    """Create an approval as a user."""
    body = make_approval(installation, recorded_by or user, **changes)
    return kubectl("create", "-f", "-", "-o", "name", given=body, user=user, groups=GROUPS.get(user, ()))


def assert_refused(result: KubectlResult, reason: str) -> None:
    """Check that the API server refused a change for this reason."""
    assert not result.succeeded, result.out
    assert reason in result.error, result.error
