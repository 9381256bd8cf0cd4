"""The journal in a cluster: annotations of the SeldonDeployment, written only over the version that was read.

The controller alone writes the journal: it says who is champion. What others wish, a request or a command, has an annotation of
its own, which a policy can leave to them (``wishes``); whoever reads sees the journal with it. Approvals lie in ConfigMaps
(``approvals``): the controller's account may read those and not make any.
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
from sluice.rollout.journals import JOURNAL, ConflictError, plan_document
from sluice.rollout.platforms.seldon.api import LEASE, SELDON_DEPLOYMENT, connect
from sluice.rollout.platforms.seldon.approval_objects import read_approvals, write_approval
from sluice.rollout.platforms.seldon.leases import STATUS_ANNOTATION, is_fresh, lease_name
from sluice.rollout.platforms.seldon.objects.predictors import deployment_name, plan_deployment, plan_predictors
from sluice.rollout.platforms.seldon.request_annotations import JOURNAL_ANNOTATION, add_pending_requests, plan_request_annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.project.projects import Project
    from sluice.project.settings import Settings
    from sluice.rollout.platforms.seldon.api import Cluster

EPOCH_ANNOTATION = "sluice.dev/epoch"
JOURNAL_MANAGER, ROLLOUT_MANAGER = "sluice-journal", "sluice-rollout"
"""Field managers: of the journal, which everybody writes; of the predictors and routes, which the controller writes."""

MOST_BYTES = 120_000
"""Of the journal: all annotations of an object may have 256 KiB. Over that its oldest transitions go."""

MOST_EPOCH = 2**31 - 2
"""A lease counts in 32 bits."""

_TRIES = 20


class SeldonJournal:
    """The journal of one project in one namespace.

    Args:
        cluster: The namespace.
        settings: The project's.
        clock: Time.

    Attributes:
        account: The controller's own name, where it is the controller's: it takes no approval that this account gave.
    """

    poll_seconds, absence_seconds = 0.5, 600.0  # a node that has died, and its Pods made anew elsewhere

    def __init__(self, cluster: Cluster, settings: Settings, clock: Clock = REAL_CLOCK) -> None:
        self.cluster, self.settings, self.clock = cluster, settings, clock
        self.name = deployment_name(settings)
        self.account = ""
        self._parsed: tuple[str, Journal] = ("", Journal())

    def read(self) -> Journal:
        """The journal, with the approvals that hold; an empty one where nothing was ever written.

        Raises:
            DataError: The annotation is not a journal.
            ServiceError: The API server does not answer, or refuses.
        """
        return self.parse(self.cluster.get(SELDON_DEPLOYMENT, self.name))

    def parse(self, deployment: Mapping[str, Any] | None) -> Journal:
        """The journal of a SeldonDeployment that was just read, with the approvals that hold.

        Raises:
            DataError: The annotation is not a journal.
            ServiceError: The approvals cannot be listed.
        """
        journal = self.parse_document(deployment)
        return dataclasses.replace(journal, approvals=read_approvals(self.cluster, self.name, journal, not_by=self.account))

    def parse_document(self, deployment: Mapping[str, Any] | None) -> Journal:
        """The same without any approvals, which are not in it: nothing goes up by it.

        Raises:
            DataError: The annotation is not a journal.
        """
        annotations = (deployment or {}).get("metadata", {}).get("annotations") or {}
        text = annotations.get(JOURNAL_ANNOTATION)
        try:
            journal = self._parsed[1] if text == self._parsed[0] else JOURNAL.validate_json(text) if text else Journal()
        except ValidationError as error:
            raise DataError(
                f"the annotation {JOURNAL_ANNOTATION} of SeldonDeployment {self.name} is no rollout journal: {error}",
                hint="Restore it from a backup; without it nobody knows which release is champion.",
            ) from error
        self._parsed = (text or "", journal)
        return add_pending_requests(journal, annotations, now=self.clock.now())

    def update(self, change: Callable[[Journal], Journal], *, epoch: int | None = None) -> Journal:
        """Read, change and write as one, again where somebody else wrote meanwhile; `change` may raise to refuse.

        Args:
            change: Gives back what it got to change nothing.
            epoch: Of the controller that writes; None for anybody else.

        Raises:
            ConflictError: Somebody else wrote each time, or a controller of a later epoch has.
            ServiceError: The API server does not answer, or refuses.
        """
        for attempt in range(_TRIES):
            deployment = self.cluster.get(SELDON_DEPLOYMENT, self.name)
            if epoch is not None and read_epoch(deployment) > epoch:
                raise ConflictError(f"a controller of epoch {read_epoch(deployment)} has taken over")
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
                return self._wish(changed, journal, deployment)
            except ConflictError:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(0.05 * (attempt + 1))
        raise AssertionError

    def write(self, journal: Journal, deployment: Mapping[str, Any], *, epoch: int) -> tuple[Journal, dict[str, Any]]:
        """Write what the controller derived from this SeldonDeployment; gives both as they are then.

        Raises:
            ConflictError: It has changed since.
        """
        written = dataclasses.replace(journal, version=journal.version + 1)
        annotations = {JOURNAL_ANNOTATION: dump_journal(written), EPOCH_ANNOTATION: str(epoch)}
        return written, self._annotate(deployment, annotations)

    def _refuse_own_approval(self) -> None:
        """The controller takes none that its own account gave: whoever uses that account is told at once."""
        own = self.read_status().get("account")
        if own and own == self.cluster.whoami():
            raise RefusedError(
                f"{own} is the controller's own account, which may not approve",
                hint="Approve with an account of your own, or run the controller with its own (manifests/).",
            )

    def _wish(self, changed: Journal, journal: Journal, deployment: Mapping[str, Any] | None) -> Journal:
        """Write what somebody else than the controller wishes."""
        wishes = plan_request_annotations(changed, journal)
        if deployment is None:
            return self._create(changed, wishes)
        self._annotate(deployment, wishes)
        return changed

    def _annotate(self, deployment: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
        metadata = {"resourceVersion": deployment["metadata"]["resourceVersion"], "annotations": dict(annotations)}
        return self.cluster.merge(SELDON_DEPLOYMENT, self.name, {"metadata": metadata}, manager=JOURNAL_MANAGER)

    def is_supervised(self) -> bool:
        """Whether a controller holds the lease."""
        lease = self.cluster.get(LEASE, lease_name(self.name))
        return lease is not None and is_fresh(lease, time.time())

    def read_status(self) -> dict[str, Any]:
        """What the controller last said; empty where it said nothing."""
        lease = self.cluster.get(LEASE, lease_name(self.name)) or {}
        try:
            said: dict[str, Any] = json.loads((lease.get("metadata", {}).get("annotations") or {})[STATUS_ANNOTATION])
        except (LookupError, ValueError):
            return {}
        return said

    def read_samples(self, start: float, end: float) -> list[dict[str, Any]]:
        """None: in a cluster Prometheus has the curves."""
        del start, end
        return []

    def _create(self, journal: Journal, wishes: Mapping[str, str]) -> Journal:
        """Make the SeldonDeployment with its first release, which gets no replicas before it is approved.

        Raises:
            ConflictError: Somebody else has made it meanwhile.
            NotServingError: There is nothing to make it of.
        """
        if journal.request is None:
            raise NotServingError(
                f"there is no SeldonDeployment {self.name} in {self.cluster.namespace}",
                hint="`sluice rollout start` makes it with the first release.",
            )
        planned = plan_deployment(self.settings, plan_predictors((), journal, self.settings, held_for_approval=True))
        planned["metadata"]["annotations"] = dict(wishes)
        self.cluster.create(SELDON_DEPLOYMENT, planned, manager=ROLLOUT_MANAGER)
        return journal


def read_epoch(found: Mapping[str, Any] | None) -> int:
    """Of the controller that wrote an object last; 0 where none has, or where it is none that a lease could count."""
    text = str(((found or {}).get("metadata", {}).get("annotations") or {}).get(EPOCH_ANNOTATION, ""))
    return int(text) if text.isascii() and text.isdecimal() and int(text) < MOST_EPOCH else 0


def dump_journal(journal: Journal) -> str:
    """Compact JSON of at most `MOST_BYTES`; approvals are not in it."""
    journal = dataclasses.replace(journal, approvals=())
    while True:
        text = json.dumps(plan_document(journal), separators=(",", ":"), allow_nan=False)
        if len(text) <= MOST_BYTES or not journal.transitions:
            return text
        journal = dataclasses.replace(journal, transitions=journal.transitions[len(journal.transitions) // 4 + 1 :])


def open_seldon_journal(project: Project) -> SeldonJournal:
    """The journal of a project whose rollouts are in a cluster.

    Raises:
        ServiceError: There is no cluster to talk to.
    """
    return SeldonJournal(connect(project.settings.seldon.namespace), project.settings)
