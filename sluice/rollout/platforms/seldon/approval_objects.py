"""Approvals in a cluster: immutable ConfigMaps beside the SeldonDeployment. The controller's account cannot create them.

``by`` is the person who approved. ``recorded_by`` is the account that wrote the ConfigMap: the person's own, or that of the
pipeline whose suspended approval step the person resumed. A ValidatingAdmissionPolicy in ``manifests/`` compares ``recorded_by``
with the account that makes the call.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from sluice.rollout.decisions.states import Approval
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import CONFIG_MAP

if TYPE_CHECKING:
    from sluice.rollout.decisions.states import Journal
    from sluice.rollout.platforms.seldon.api import Cluster

COMPONENT = "approval"
MANAGER = "sluice-approvals"
_APPROVAL: TypeAdapter[Approval] = TypeAdapter(Approval)


def build_selector(deployment: str) -> str:
    """Return the label selector for the approvals of a SeldonDeployment."""
    return f"app.kubernetes.io/component={COMPONENT},sluice.dev/deployment={deployment}"


def read_approvals(cluster: Cluster, deployment: str, journal: Journal, *, not_by: str = "") -> tuple[Approval, ...]:
    """Return the approvals that are not used up, oldest first.

    A ConfigMap that contains no valid approval, or that can still be changed, is ignored. The end of a rollout uses up the
    approvals that were given to its release before.

    Args:
        cluster: The namespace.
        deployment: Name of the SeldonDeployment.
        journal: The journal, which says which rollouts have ended.
        not_by: An account whose approvals do not count: that of the controller.
    """
    ended = {one.release: one.ended for one in journal.rollouts}
    found = []
    for item in cluster.list(CONFIG_MAP, build_selector(deployment)):
        with contextlib.suppress(LookupError, ValidationError):
            approval = _APPROVAL.validate_json(item["data"]["approval"])
            if item.get("immutable") is not True or item["data"]["recorded_by"] in {"", not_by}:
                continue
            if approval.at > ended.get(approval.release, 0.0):
                found.append(approval)
    return tuple(sorted(found, key=lambda one: one.at))


def write_approval(cluster: Cluster, deployment: str, approval: Approval) -> None:
    """Write an approval as an immutable ConfigMap.

    Raises:
        ServiceError: The API server refuses, for example because this account may not approve.
    """
    body = {
        "metadata": {
            "name": f"{deployment}-approval-{approval.release.removeprefix('sha256:')[:12]}-{int(approval.at * 1000)}",
            "labels": {
                "app.kubernetes.io/managed-by": "sluice",
                "app.kubernetes.io/component": COMPONENT,
                "sluice.dev/deployment": deployment,
            },
        },
        "immutable": True,
        "data": {
            "approval": json.dumps(_APPROVAL.dump_python(approval, mode="json")),
            "recorded_by": cluster.whoami(),
        },
    }
    with contextlib.suppress(ConflictError):  # this approval was written a moment ago
        cluster.create(CONFIG_MAP, body, manager=MANAGER)
