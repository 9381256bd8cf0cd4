"""The people of these tests, and the approvals that they write with kubectl."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from manifests_cluster import Answer, kubectl

if TYPE_CHECKING:
    from manifests_cluster import Site

ALICE, BOB, REQUESTER, EDITOR = "alice@example.com", "bob@example.com", "carol@example.com", "dave@example.com"
CONTROLLER = "sluice-controller"
GROUPS = {ALICE: ["sluice-approvers"], BOB: ["sluice-approvers"], REQUESTER: ["sluice-requesters"], EDITOR: []}
LABELS = {
    "app.kubernetes.io/managed-by": "sluice",
    "app.kubernetes.io/component": "approval",
    "sluice.dev/deployment": "churn",
}
NUMBERS = itertools.count(1)


def approval(site: Site, recorded_by: str, *, immutable: bool | None = True, **labels: str | None) -> dict[str, Any]:
    metadata = {"name": f"churn-approval-{next(NUMBERS)}", "namespace": site.production, "labels": LABELS}
    metadata["labels"] = {key: value for key, value in (LABELS | labels).items() if value is not None}
    data = {"approval": "{}", "recorded_by": recorded_by}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    return body | ({} if immutable is None else {"immutable": immutable})


def approve(site: Site, user: str, recorded_by: str = "", **changes: Any) -> Answer:
    body = approval(site, recorded_by or user, **changes)
    return kubectl("create", "-f", "-", "-o", "name", given=body, user=user, groups=GROUPS.get(user, ()))


def refused(answer: Answer, why: str) -> None:
    assert not answer.done, answer.out
    assert why in answer.error, answer.error
