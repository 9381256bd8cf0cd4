"""Approvals in a cluster: immutable ConfigMaps beside the SeldonDeployment, which the controller's account cannot make.

``by`` is who approved, ``recorded_by`` the account that the API server knew when it was written down: a person's own, or that of
the pipeline whose suspended approval somebody resumed. ``manifests/`` has a ValidatingAdmissionPolicy that holds ``recorded_by``
against the caller.
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


def selector_of(deployment: str) -> str:
    """Labels of the approvals of a SeldonDeployment."""
    return f"app.kubernetes.io/component={COMPONENT},sluice.dev/deployment={deployment}"


def read_approvals(cluster: Cluster, deployment: str, journal: Journal, *, not_by: str = "") -> tuple[Approval, ...]:
    """The approvals that no rollout has used up, oldest first; what is none, or can still be changed, is left aside.

    An approval serves one rollout: those given before the last one of that release ended are used up.

    Args:
        cluster: The namespace.
        deployment: Name of the SeldonDeployment.
        journal: Where everything stands.
        not_by: An account whose approvals do not count: the controller's own.
    """
    ended = {one.release: one.ended for one in journal.rollouts}
    found = []
    for item in cluster.list(CONFIG_MAP, selector_of(deployment)):
        with contextlib.suppress(LookupError, ValidationError):
            approval = _APPROVAL.validate_json(item["data"]["approval"])
            if item.get("immutable") is not True or item["data"]["recorded_by"] in {"", not_by}:
                continue
            if approval.at > ended.get(approval.release, 0.0):
                found.append(approval)
    return tuple(sorted(found, key=lambda one: one.at))


def write_approval(cluster: Cluster, deployment: str, approval: Approval) -> None:
    """Write an approval down for good.

    Raises:
        ServiceError: The API server refuses: this account may not approve.
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
    with contextlib.suppress(ConflictError):  # the same one, written a moment ago
        cluster.create(CONFIG_MAP, body, manager=MANAGER)
