"""The journal in a cluster: the status of a ModelRollout. A write applies only to the version that was read.

Only the controller writes the status. Requests and commands of others are in the spec, and approvals are objects of their own.
Every reader sees the journal together with them.
"""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

from sluice.errors import NotServingError, RefusedError
from sluice.rollout.clocks import REAL_CLOCK, Clock
from sluice.rollout.decisions.states import Approval, CommandKind, Journal
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import LEASE, MODEL_ROLLOUT, connect
from sluice.rollout.platforms.seldon.leases.lease_locks import STATUS_ANNOTATION, is_fresh, lease_name
from sluice.rollout.platforms.seldon.objects.predictors import deployment_name
from sluice.rollout.platforms.seldon.resources.rollout_approvals import (
    add_promotion,
    is_own_request,
    read_approvals,
    write_approval,
)
from sluice.rollout.platforms.seldon.resources.rollout_specs import accept_spec, build_spec_patch
from sluice.rollout.platforms.seldon.resources.rollout_statuses import Report, build_status, read_epoch, read_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.project.projects import Project
    from sluice.project.settings import Settings
    from sluice.rollout.decisions.states import Command
    from sluice.rollout.platforms.seldon.api import Cluster
    from sluice.rollout.platforms.seldon.objects.renderings import Renderings

REQUEST_MANAGER, STATUS_MANAGER = "sluice-requests", "sluice-controller"
"""Field managers: of the spec, and of the status, which only the controller writes."""

_MAX_ATTEMPTS = 20


class SeldonJournal:
    """The journal of one project in one namespace.

    Args:
        cluster: The namespace.
        settings: The settings of the project.
        clock: Time.

    Attributes:
        account: The controller's own account, whose approvals do not count; empty outside the controller.
    """

    poll_seconds, absence_seconds = 0.5, 600.0  # a node has failed, and its Pods start on another one

    def __init__(self, cluster: Cluster, settings: Settings, clock: Clock = REAL_CLOCK) -> None:
        self.cluster, self.settings, self.clock = cluster, settings, clock
        self.name = deployment_name(settings)
        self.account = ""

    def read(self) -> Journal:
        """Return the journal with the approvals that are not used up; an empty one if none was ever written.

        Raises:
            DataError: The status has no journal in it.
            ServiceError: The API server does not answer, or refuses.
        """
        return self.parse(self.cluster.get(MODEL_ROLLOUT, self.name))

    def parse(self, rollout: Mapping[str, Any] | None) -> Journal:
        """Return the journal of a ModelRollout that was just read, with the approvals that are not used up.

        Raises:
            DataError: The status has no journal in it.
            ServiceError: The approvals cannot be listed.
        """
        journal = self.parse_document(rollout)
        approvals = read_approvals(self.cluster, self.name, journal, not_by=self.account)
        return add_promotion(dataclasses.replace(journal, approvals=approvals), self.clock.now())

    def parse_document(self, rollout: Mapping[str, Any] | None) -> Journal:
        """Return the journal without approvals, which are not in the ModelRollout. No release advances by it.

        Raises:
            DataError: The status has no journal in it.
        """
        journal = read_journal(rollout) or Journal()
        return accept_spec(journal, (rollout or {}).get("spec") or {}, now=self.clock.now())

    def update(self, change: Callable[[Journal], Journal], *, epoch: int | None = None) -> Journal:
        """Read, change and write the journal in one step. If another process writes meanwhile, try again.

        Args:
            change: Returns the changed journal. It returns its argument to change nothing, and raises an error to refuse.
            epoch: The epoch of the controller that writes; None for any other process.

        Raises:
            ConflictError: Another process wrote during each attempt, or a controller with a later epoch has taken over.
            RefusedError: The account of this process may not give this approval.
            ServiceError: The API server does not answer, or refuses.
        """
        for attempt in range(_MAX_ATTEMPTS):
            rollout = self.cluster.get(MODEL_ROLLOUT, self.name)
            if epoch is not None and read_epoch(rollout) > epoch:
                raise ConflictError(f"a controller with the later epoch {read_epoch(rollout)} has taken over")
            journal = self.parse(rollout) if epoch is None else self.parse_document(rollout)
            changed = change(journal)
            try:
                return self._write_change(changed, journal, rollout, epoch)
            except ConflictError:
                if attempt == _MAX_ATTEMPTS - 1:
                    raise
                time.sleep(0.05 * (attempt + 1))
        raise AssertionError

    def write(
        self, journal: Journal, rollout: Mapping[str, Any], *, epoch: int, report: Report | None = None
    ) -> tuple[Journal, dict[str, Any]]:
        """Write what the controller derived from this ModelRollout; return the journal and the ModelRollout as written.

        Args:
            journal: The journal.
            rollout: The ModelRollout as it was read.
            epoch: The epoch of the controller.
            report: What the last control round saw; None keeps what the status says about that.

        Raises:
            ConflictError: The ModelRollout has changed since it was read.
        """
        written = dataclasses.replace(journal, version=journal.version + 1)
        return written, self.write_status(written, rollout, epoch=epoch, report=report)

    def write_status(
        self,
        journal: Journal,
        rollout: Mapping[str, Any],
        *,
        epoch: int,
        report: Report | None = None,
        renderings: Renderings | None = None,
    ) -> dict[str, Any]:
        """Write the status without a new version of the journal, and return the ModelRollout as written.

        Raises:
            ConflictError: The ModelRollout has changed since it was read.
        """
        seen = report if report is not None else _read_report(rollout, journal)
        status = build_status(journal, rollout, seen, epoch=epoch, now=self.clock.now(), renderings=renderings)
        return self.cluster.replace_status(MODEL_ROLLOUT, self.name, {**rollout, "status": status}, manager=STATUS_MANAGER)

    def identify(self, by: str) -> str:
        """Return the name in which this process asks: its account, because the API server lets nobody state another one."""
        del by
        return self.cluster.whoami()

    def is_supervised(self) -> bool:
        """Return whether a controller holds the lease."""
        lease = self.cluster.get(LEASE, lease_name(self.name))
        return lease is not None and is_fresh(lease, self.clock.now())

    def read_status(self) -> dict[str, Any]:
        """Return the status that the controller wrote last; empty if there is none."""
        lease = self.cluster.get(LEASE, lease_name(self.name)) or {}
        try:
            status: dict[str, Any] = json.loads((lease.get("metadata", {}).get("annotations") or {})[STATUS_ANNOTATION])
        except (LookupError, ValueError):
            return {}
        return status

    def read_samples(self, start: float, end: float) -> list[dict[str, Any]]:
        """Return nothing: in a cluster Prometheus stores the numbers over time."""
        del start, end
        return []

    def _write_change(self, changed: Journal, journal: Journal, rollout: Mapping[str, Any] | None, epoch: int | None) -> Journal:
        if epoch is not None and rollout is not None:
            return changed if changed == journal else self.write(changed, rollout, epoch=epoch)[0]
        for approval in changed.approvals:
            if approval not in journal.approvals:
                self._approve(journal, approval)
        changed = dataclasses.replace(changed, approvals=journal.approvals)
        command = changed.command
        if command is not None and command.kind is CommandKind.PROMOTE and command != journal.command:
            self._approve(journal, self._build_promotion(journal, command))
            return changed
        return changed if changed == journal else self._write_spec(changed, journal, rollout)

    def _approve(self, journal: Journal, approval: Approval) -> None:
        """Create a RolloutApproval by this process's account, unless the controller would ignore it.

        Raises:
            RefusedError: The account is the controller's, or it made the request.
        """
        account = self.cluster.whoami()
        mine = dataclasses.replace(approval, account=account)
        if account == self.read_status().get("account"):
            raise RefusedError(
                f"{account} is the controller's account, which may not approve releases",
                hint="Approve with your own account, or run the controller with the account in manifests/.",
            )
        if is_own_request(journal, mine):
            raise RefusedError(
                f"{account} requested this rollout, and nobody approves their own request",
                hint="Let another person approve it, or let CI or the pipeline make the request with an account of its own.",
            )
        write_approval(self.cluster, self.name, mine, reviewer="" if approval.by == account else approval.by)

    def _build_promotion(self, journal: Journal, command: Command) -> Approval:
        """Return the approval that lets the canary of the running rollout go to the bake without more evidence."""
        request, now = journal.request, self.clock.now()
        if request is None:
            raise RefusedError("no rollout is running", hint="`sluice rollout status` shows the state.")
        return Approval(
            id=command.id,
            release=request.release,
            steps=request.steps,
            image=request.image,
            by=command.by,
            at=now,
            until=now + self.settings.rollout.approval_seconds,
            note=command.reason,
            skip_evidence=True,
        )

    def _write_spec(self, changed: Journal, journal: Journal, rollout: Mapping[str, Any] | None) -> Journal:
        """Write the request or the command of a process that is not the controller.

        Raises:
            ConflictError: Another process has created the ModelRollout.
            NotServingError: There is no ModelRollout, and no request to create it with.
        """
        spec = build_spec_patch(changed, journal)
        if rollout is not None:
            metadata = {"resourceVersion": rollout["metadata"]["resourceVersion"]}
            self.cluster.merge(MODEL_ROLLOUT, self.name, {"metadata": metadata, "spec": spec}, manager=REQUEST_MANAGER)
            return changed
        if changed.request is None:
            raise NotServingError(
                f"there is no ModelRollout {self.name} in {self.cluster.namespace}",
                hint="`sluice rollout start` creates it with the first release.",
            )
        labels = {"app.kubernetes.io/part-of": self.settings.project.name}
        body = {"metadata": {"name": self.name, "labels": labels}, "spec": _without_empty(spec)}
        self.cluster.create(MODEL_ROLLOUT, body, manager=REQUEST_MANAGER)
        return changed


def _without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without the fields that a merge patch would remove."""
    return {
        name: _without_empty(field) if isinstance(field, dict) else field for name, field in value.items() if field is not None
    }


def _read_report(rollout: Mapping[str, Any], journal: Journal) -> Report:
    """Return what the status says about the last control round. A new state has the reason of its transition as its message."""
    status = rollout.get("status") or {}
    last = journal.transitions[-1] if journal.transitions else None
    is_new = last is not None and status.get("phase") != journal.state.name
    return Report(
        message=last.reason if last and is_new else status.get("message", ""),
        applied_weights=status.get("appliedWeights") or {},
        evidence=status.get("evidence") or {},
        servers=tuple(status.get("servers") or ()),
    )


def open_seldon_journal(project: Project) -> SeldonJournal:
    """Return the journal of a project whose production runs in a cluster.

    Raises:
        ServiceError: No cluster can be reached.
    """
    cluster = connect(project.settings.seldon.namespace)
    return SeldonJournal(cluster, project.settings, cluster.clock)
