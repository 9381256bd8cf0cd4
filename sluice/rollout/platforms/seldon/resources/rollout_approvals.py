"""RolloutApprovals: immutable objects, which the controller's account can read and not create.

The policy in ``manifests/`` compares ``approvedBy`` with the account that makes the call.
"""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from sluice.rollout.decisions.states import KEPT_RELEASES, Approval, Command, CommandKind, name_approver
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import ROLLOUT_APPROVAL
from sluice.rollout.platforms.seldon.resources.rollout_specs import Account, Digest, Image, SpecModel, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.rollout.decisions.states import Journal
    from sluice.rollout.platforms.seldon.api import Cluster

MANAGER = "sluice-approvals"


class _ApprovalSpec(SpecModel):
    rollout: Text
    digest: Digest
    image: Image
    steps: tuple[int, ...]
    until: datetime
    approved_by: Account
    reviewer: Text = ""
    note: Text = ""
    skip_evidence: Annotated[bool, Field(strict=True)] = False


def read_approvals(cluster: Cluster, rollout: str, journal: Journal, *, not_by: str = "") -> tuple[Approval, ...]:
    """Return the approvals that are not used up, oldest first.

    An approval that is being deleted is withdrawn. The end of a rollout uses up the approvals that were given to its release
    before. An approval that is older than all rollouts that the journal still has may be such a one, so it does not count either.
    Nobody approves their own request.

    Args:
        cluster: The namespace.
        rollout: Name of the ModelRollout.
        journal: The journal, which says which rollouts have ended and who made the request.
        not_by: An account whose approvals do not count: that of the controller.
    """
    ended = {one.release: one.ended for one in journal.rollouts}
    forgotten = journal.rollouts[0].ended if len(journal.rollouts) >= KEPT_RELEASES else 0.0
    found = []
    for item in cluster.list(ROLLOUT_APPROVAL, ""):
        approval = _read_approval(item, rollout)
        if approval is None or approval.account == not_by or approval.id in journal.used_approvals:
            continue
        # The API server states whole seconds. An approval in the second of the end counts, unless the journal names it as used.
        if approval.at + 1 > ended.get(approval.release, forgotten) and not is_own_request(journal, approval):
            found.append(approval)
    return tuple(sorted(found, key=lambda one: one.at))


def is_own_request(journal: Journal, approval: Approval) -> bool:
    """Return whether an approval is by the account that requested the running rollout of the release."""
    request = journal.request
    return request is not None and (request.release, request.by) == (approval.release, approval.account)


def add_promotion(journal: Journal, now: float) -> Journal:
    """Return the journal with the command to promote that a valid approval with ``skipEvidence`` gives, if there is one."""
    request, state = journal.request, journal.state
    if request is None or journal.command is not None or not state.phase.exposed or state.promoted_by:
        return journal
    for one in journal.approvals:
        covers = one.covers(request.release, request.steps, now, image=request.image)
        if one.skip_evidence and covers and one.id not in journal.done_promotions:
            command = Command(id=one.id, kind=CommandKind.PROMOTE, by=one.by, at=one.at, reason=one.note)
            return dataclasses.replace(journal, command=command)
    return journal


def write_approval(cluster: Cluster, rollout: str, approval: Approval, *, reviewer: str) -> None:
    """Create a RolloutApproval by this process's account.

    Args:
        cluster: The namespace.
        rollout: Name of the ModelRollout.
        approval: What is approved.
        reviewer: The person who decided, if that is not the account itself.

    Raises:
        ServiceError: The API server refuses, for example because this account may not approve.
    """
    spec: dict[str, Any] = {
        "rollout": rollout,
        "digest": approval.release,
        "image": approval.image,
        "steps": list(approval.steps),
        "until": datetime.fromtimestamp(approval.until, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "approvedBy": approval.account,
    }
    spec |= {name: text for name, text in (("reviewer", reviewer), ("note", approval.note)) if text}
    spec |= {"skipEvidence": True} if approval.skip_evidence else {}
    name = f"{rollout}-{approval.release.removeprefix('sha256:')[:12]}-{approval.id[:8]}"
    with contextlib.suppress(ConflictError):  # this approval was written a moment ago
        cluster.create(ROLLOUT_APPROVAL, {"metadata": {"name": name}, "spec": spec}, manager=MANAGER)


def _read_approval(item: Mapping[str, Any], rollout: str) -> Approval | None:
    """Return the approval in an object; None if it is none, if it is for another ModelRollout, or if it is being deleted."""
    metadata = item["metadata"]
    try:
        spec = _ApprovalSpec.model_validate(item.get("spec"))
        created = datetime.fromisoformat(metadata["creationTimestamp"])
    except (ValidationError, LookupError, ValueError):
        return None
    if spec.rollout != rollout or metadata.get("deletionTimestamp"):
        return None
    return Approval(
        id=str(metadata["uid"]),
        release=spec.digest,
        steps=spec.steps,
        by=name_approver(spec.approved_by, spec.reviewer),
        account=spec.approved_by,
        at=created.timestamp(),
        until=spec.until.timestamp(),
        note=spec.note,
        image=spec.image,
        skip_evidence=spec.skip_evidence,
    )
