"""The journal in a cluster: an annotation of the SeldonDeployment. A write applies only to the version that was read.

Only the controller writes the journal. Requests and commands of others have annotations of their own
(``request_annotations``), so that an admission policy can allow others to write these alone. Every reader sees the journal
together with them. Approvals are ConfigMaps (``approval_objects``), which the controller's account can read and not create.
"""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluice.errors import DataError, NotServingError, RefusedError
from sluice.rollout.clocks import REAL_CLOCK, Clock
from sluice.rollout.decisions.states import Journal
from sluice.rollout.journals import JOURNAL, ConflictError, build_document
from sluice.rollout.platforms.seldon.api import LEASE, SELDON_DEPLOYMENT, connect
from sluice.rollout.platforms.seldon.approval_objects import read_approvals, write_approval
from sluice.rollout.platforms.seldon.leases import STATUS_ANNOTATION, is_fresh, lease_name
from sluice.rollout.platforms.seldon.objects.predictors import build_deployment, build_predictors, deployment_name
from sluice.rollout.platforms.seldon.request_annotations import (
    JOURNAL_ANNOTATION,
    add_pending_requests,
    build_request_annotations,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.project.projects import Project
    from sluice.project.settings import Settings
    from sluice.rollout.platforms.seldon.api import Cluster

EPOCH_ANNOTATION = "sluice.dev/epoch"
JOURNAL_MANAGER, ROLLOUT_MANAGER = "sluice-journal", "sluice-rollout"
"""Field managers: of the annotations, and of the predictors and routes, which only the controller writes."""

MAX_JOURNAL_BYTES = 120_000
"""Size limit of the journal, because all annotations of an object together may have 256 KiB. The oldest transitions go first."""

MAX_EPOCH = 2**31 - 2
"""The highest epoch: a lease counts its holders in 32 bits."""

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
        self._parsed: tuple[str, Journal] = ("", Journal())

    def read(self) -> Journal:
        """Return the journal with the approvals that are not used up; an empty one if none was ever written.

        Raises:
            DataError: The annotation is not a journal.
            ServiceError: The API server does not answer, or refuses.
        """
        return self.parse(self.cluster.get(SELDON_DEPLOYMENT, self.name))

    def parse(self, deployment: Mapping[str, Any] | None) -> Journal:
        """Return the journal of a SeldonDeployment that was just read, with the approvals that are not used up.

        Raises:
            DataError: The annotation is not a journal.
            ServiceError: The approvals cannot be listed.
        """
        journal = self.parse_document(deployment)
        return dataclasses.replace(journal, approvals=read_approvals(self.cluster, self.name, journal, not_by=self.account))

    def parse_document(self, deployment: Mapping[str, Any] | None) -> Journal:
        """Return the journal without approvals, which are not in the annotation. No release advances by it.

        Raises:
            DataError: The annotation is not a journal.
        """
        annotations = (deployment or {}).get("metadata", {}).get("annotations") or {}
        text = annotations.get(JOURNAL_ANNOTATION)
        try:
            journal = self._parsed[1] if text == self._parsed[0] else JOURNAL.validate_json(text) if text else Journal()
        except ValidationError as error:
            raise DataError(
                f"the annotation {JOURNAL_ANNOTATION} of SeldonDeployment {self.name} is not a rollout journal: {error}",
                hint="Restore it from a backup. Without it, Sluice does not know which release is the champion.",
            ) from error
        self._parsed = (text or "", journal)
        return add_pending_requests(journal, annotations, now=self.clock.now())

    def update(self, change: Callable[[Journal], Journal], *, epoch: int | None = None) -> Journal:
        """Read, change and write the journal in one step. If another process writes meanwhile, try again.

        Args:
            change: Returns the changed journal. It returns its argument to change nothing, and raises an error to refuse.
            epoch: The epoch of the controller that writes; None for any other process.

        Raises:
            ConflictError: Another process wrote during each attempt, or a controller with a later epoch has taken over.
            ServiceError: The API server does not answer, or refuses.
        """
        for attempt in range(_MAX_ATTEMPTS):
            deployment = self.cluster.get(SELDON_DEPLOYMENT, self.name)
            if epoch is not None and read_epoch(deployment) > epoch:
                raise ConflictError(f"a controller with the later epoch {read_epoch(deployment)} has taken over")
            journal = self.parse(deployment) if epoch is None else self.parse_document(deployment)
            changed = change(journal)
            for approval in changed.approvals:
                if approval not in journal.approvals:
                    self._refuse_own_approval()
                    write_approval(self.cluster, self.name, approval)
            changed = dataclasses.replace(changed, approvals=journal.approvals)
            if changed == journal:
                return changed
            try:
                if epoch is not None and deployment is not None:
                    return self.write(changed, deployment, epoch=epoch)[0]
                return self._write_request(changed, journal, deployment)
            except ConflictError:
                if attempt == _MAX_ATTEMPTS - 1:
                    raise
                time.sleep(0.05 * (attempt + 1))
        raise AssertionError

    def write(self, journal: Journal, deployment: Mapping[str, Any], *, epoch: int) -> tuple[Journal, dict[str, Any]]:
        """Write what the controller derived from this SeldonDeployment; return the journal and the SeldonDeployment as written.

        Raises:
            ConflictError: The SeldonDeployment has changed since it was read.
        """
        written = dataclasses.replace(journal, version=journal.version + 1)
        annotations = {JOURNAL_ANNOTATION: dump_journal(written), EPOCH_ANNOTATION: str(epoch)}
        return written, self._annotate(deployment, annotations)

    def _refuse_own_approval(self) -> None:
        """Refuse an approval by the controller's account at once, because the controller would ignore it."""
        own = self.read_status().get("account")
        if own and own == self.cluster.whoami():
            raise RefusedError(
                f"{own} is the controller's account, which may not approve releases",
                hint="Approve with your own account, or run the controller with the account in manifests/.",
            )

    def _write_request(self, changed: Journal, journal: Journal, deployment: Mapping[str, Any] | None) -> Journal:
        """Write the request or the command of a process that is not the controller."""
        annotations = build_request_annotations(changed, journal)
        if deployment is None:
            return self._create(changed, annotations)
        self._annotate(deployment, annotations)
        return changed

    def _annotate(self, deployment: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
        metadata = {"resourceVersion": deployment["metadata"]["resourceVersion"], "annotations": dict(annotations)}
        return self.cluster.merge(SELDON_DEPLOYMENT, self.name, {"metadata": metadata}, manager=JOURNAL_MANAGER)

    def is_supervised(self) -> bool:
        """Return whether a controller holds the lease."""
        lease = self.cluster.get(LEASE, lease_name(self.name))
        return lease is not None and is_fresh(lease, time.time())

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

    def _create(self, journal: Journal, annotations: Mapping[str, str]) -> Journal:
        """Create the SeldonDeployment with its first release, which gets no replicas before it is approved.

        Raises:
            ConflictError: Another process has created it.
            NotServingError: There is no request, and so no release to create it with.
        """
        if journal.request is None:
            raise NotServingError(
                f"there is no SeldonDeployment {self.name} in {self.cluster.namespace}",
                hint="`sluice rollout start` creates it with the first release.",
            )
        desired = build_deployment(self.settings, build_predictors((), journal, self.settings, held_for_approval=True))
        desired["metadata"]["annotations"] = dict(annotations)
        self.cluster.create(SELDON_DEPLOYMENT, desired, manager=ROLLOUT_MANAGER)
        return journal


def read_epoch(found: Mapping[str, Any] | None) -> int:
    """Return the epoch of the controller that wrote an object last; 0 if there is none, or none that a lease can count."""
    text = str(((found or {}).get("metadata", {}).get("annotations") or {}).get(EPOCH_ANNOTATION, ""))
    return int(text) if text.isascii() and text.isdecimal() and int(text) < MAX_EPOCH else 0


def dump_journal(journal: Journal) -> str:
    """Return the journal as compact JSON of at most `MAX_JOURNAL_BYTES`, without the approvals."""
    journal = dataclasses.replace(journal, approvals=())
    while True:
        text = json.dumps(build_document(journal), separators=(",", ":"), allow_nan=False)
        if len(text) <= MAX_JOURNAL_BYTES or not journal.transitions:
            return text
        journal = dataclasses.replace(journal, transitions=journal.transitions[len(journal.transitions) // 4 + 1 :])


def open_seldon_journal(project: Project) -> SeldonJournal:
    """Return the journal of a project whose production runs in a cluster.

    Raises:
        ServiceError: No cluster can be reached.
    """
    return SeldonJournal(connect(project.settings.seldon.namespace), project.settings)
