"""The lease: it decides which controller acts, and it carries the controller's status and evidence.

There is one Lease for each SeldonDeployment. A lease alone does not stop an earlier holder: a controller that was paused for a
minute still believes that it holds the lease. Therefore each holder gets an epoch that is higher than all before, and writes it
into the objects that it changes. Every write applies only to the version of the object that was read.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sluice.rollout.clocks import REAL_CLOCK, Clock
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import LEASE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.rollout.platforms.seldon.api import Cluster

STATUS_ANNOTATION, EVIDENCE_ANNOTATION = "sluice.dev/status", "sluice.dev/evidence"
MANAGER = "sluice-controller"
_FRESH_FACTOR = 2.0
_SAFE_SHARE = 2 / 3
"""After this share of the lease's time without a renewal, its holder stops acting, well before another controller may begin."""


def lease_name(deployment: str) -> str:
    """Return the name of the Lease of a SeldonDeployment."""
    return f"{deployment}-rollout"


def is_fresh(lease: Mapping[str, Any], now: float) -> bool:
    """Return whether a controller holds a lease, as seen by a process that reads the lease once.

    The clocks of two machines are compared, so a lease counts as held for twice its duration.
    """
    spec = lease.get("spec", {})
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return False
    renewed = datetime.fromisoformat(spec["renewTime"]).timestamp()
    return bool(now - renewed < _FRESH_FACTOR * spec.get("leaseDurationSeconds", 0))


@dataclass(slots=True)
class LeaseLock:
    """One controller's hold on a lease.

    Attributes:
        cluster: The namespace.
        name: Name of the Lease.
        holder: The name of this controller. No other process has it.
        seconds: How long the lease stays held without being renewed.
        clock: Time.
        epoch: The epoch of this controller, higher than all before; 0 while it does not hold the lease.
        annotations: The annotations of the Lease when it was read last.
        taken_from: The controller that stopped renewing the lease before this one acquired it; empty if it was free.
        is_kept: Whether a thread acquires and renews the lease, so that the control rounds need not.
    """

    cluster: Cluster
    name: str
    holder: str
    seconds: float
    clock: Clock = REAL_CLOCK
    epoch: int = 0
    annotations: dict[str, str] = field(default_factory=dict)
    taken_from: str = ""
    is_kept: bool = False
    _guard: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _renewed: float = 0.0
    _observed: tuple[str, str] = ("", "")
    _observed_at: float = 0.0

    @property
    def is_held(self) -> bool:
        """Whether this controller certainly still holds the lease: it stops well before the others may acquire it."""
        return self.epoch > 0 and self.clock.steady() - self._renewed < _SAFE_SHARE * self.seconds

    @property
    def renewal_due(self) -> bool:
        """Whether a control round has to acquire or renew the lease."""
        return not self.is_kept and (not self.epoch or self.clock.steady() - self._renewed > self.seconds / 6)

    def acquire(self, annotations: Mapping[str, str]) -> bool:
        """Acquire the lease if it is free, renew it if this controller holds it, and return whether this controller holds it now.

        Args:
            annotations: Annotations to write with a renewal. They are not written when the lease is acquired.

        Raises:
            ServiceError: The API server does not answer, or refuses.
        """
        with self._guard:
            return self._acquire(annotations)

    def _acquire(self, annotations: Mapping[str, str]) -> bool:
        started = self.clock.steady()
        lease = self.cluster.get(LEASE, self.name)
        before = (lease or {}).get("spec", {}).get("holderIdentity") or ""
        try:
            if lease is None:
                spec = self._build_spec(transitions=1, acquired=True)
                lease = self.cluster.create(LEASE, {"metadata": {"name": self.name}, "spec": spec}, manager=MANAGER)
            else:
                update = self._build_update(lease, annotations)
                if update is None:
                    self.epoch = 0
                    return False
                update["metadata"]["resourceVersion"] = lease["metadata"]["resourceVersion"]
                lease = self.cluster.merge(LEASE, self.name, update, manager=MANAGER)
        except ConflictError:
            return self.is_held  # another process wrote the lease, so the next round reads it again
        if int(lease["spec"]["leaseTransitions"]) != self.epoch:
            self.taken_from = before if before != self.holder else ""
        self.epoch, self._renewed = int(lease["spec"]["leaseTransitions"]), started
        self.annotations = dict(lease["metadata"].get("annotations") or {})
        return True

    def raise_epoch(self, epoch: int) -> None:
        """Continue with a higher epoch.

        This is needed if the objects carry a later epoch than the lease, for example because the lease was deleted and created
        again.

        Raises:
            ConflictError: Another controller has acquired the lease.
            ServiceError: The API server does not answer, or refuses.
        """
        with self._guard:
            lease = self.cluster.get(LEASE, self.name)
            if lease is None or lease["spec"].get("holderIdentity") != self.holder:
                raise ConflictError(f"another controller has acquired the lease {self.name}")
            version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
            self.cluster.merge(LEASE, self.name, {"metadata": version, "spec": {"leaseTransitions": epoch}}, manager=MANAGER)
            self.epoch = epoch

    def give_up(self) -> None:
        """Stop acting. The thread or the next control round asks for the lease again and gets a new epoch."""
        with self._guard:
            self.epoch = 0

    def release(self) -> None:
        """Release the lease, so that another controller can acquire it at once."""
        with self._guard:
            if not self.epoch:
                return
            lease = self.cluster.get(LEASE, self.name)
            if lease is not None and lease["spec"].get("holderIdentity") == self.holder:
                patch = {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": {"holderIdentity": ""}}
                self.cluster.merge(LEASE, self.name, patch, manager=MANAGER)
            self.epoch = 0

    def _build_update(self, lease: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any] | None:
        """Return what to write; None while another controller holds the lease."""
        spec = lease.get("spec", {})
        transitions = int(spec.get("leaseTransitions", 0))
        if spec.get("holderIdentity") == self.holder and self.epoch:
            return {
                "metadata": {"annotations": dict(annotations)},
                "spec": self._build_spec(transitions=transitions, acquired=False),
            }
        # Only this process's clock counts. It measures how long the lease has not changed, and ignores the time in the lease.
        observed = (spec.get("holderIdentity") or "", spec.get("renewTime") or "")
        if observed != self._observed:
            self._observed, self._observed_at = observed, self.clock.steady()
        if observed[0] and self.clock.steady() - self._observed_at < self.seconds:
            return None
        return {"metadata": {}, "spec": self._build_spec(transitions=transitions + 1, acquired=True)}

    def _build_spec(self, *, transitions: int, acquired: bool) -> dict[str, Any]:
        now = datetime.fromtimestamp(self.clock.now(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": max(1, round(self.seconds)),
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        return spec | {"acquireTime": now} if acquired else spec
