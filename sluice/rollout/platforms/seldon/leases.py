"""Who acts: one Lease for each deployment. It also carries the controller's last words and its evidence.

A lease does not fence: a controller that was stopped for a minute still believes that it holds it. So each one that takes it
gets an epoch, higher than all before, and writes it into the objects that it moves; every write names the version that it read.
"""

from __future__ import annotations

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


def lease_name(deployment: str) -> str:
    """Name of the Lease of a SeldonDeployment."""
    return f"{deployment}-rollout"


def is_fresh(lease: Mapping[str, Any], now: float) -> bool:
    """Whether somebody holds a lease, for who has not watched it: two clocks are compared, so it is generous."""
    spec = lease.get("spec", {})
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return False
    renewed = datetime.fromisoformat(spec["renewTime"]).timestamp()
    return bool(now - renewed < _FRESH_FACTOR * spec.get("leaseDurationSeconds", 0))


@dataclass(slots=True)
class LeaseLock:
    """One contender for a lease.

    Attributes:
        cluster: The namespace.
        name: Of the Lease.
        holder: Who asks; nobody else has this name.
        seconds: How long it is held without being renewed.
        clock: Time.
        epoch: Of this holder, higher than all before; 0 while it does not hold it.
        annotations: What the Lease carried when it was read last.
    """

    cluster: Cluster
    name: str
    holder: str
    seconds: float
    clock: Clock = REAL_CLOCK
    epoch: int = 0
    annotations: dict[str, str] = field(default_factory=dict)
    _renewed: float = 0.0
    _observed: tuple[str, str] = ("", "")
    _observed_at: float = 0.0

    @property
    def held(self) -> bool:
        """Whether it is certainly still held: others wait for `seconds`, this one stops well before."""
        return self.epoch > 0 and self.clock.steady() - self._renewed < 0.6 * self.seconds

    @property
    def due(self) -> bool:
        """Whether it is time to take or renew it."""
        return not self.epoch or self.clock.steady() - self._renewed > self.seconds / 6

    def hold(self, annotations: Mapping[str, str]) -> bool:
        """Take it where it is free, renew it where it is held; whether it is held now.

        Args:
            annotations: What to write beside it; only where it was held already.

        Raises:
            ServiceError: The API server does not answer, or refuses.
        """
        asked = self.clock.steady()
        lease = self.cluster.get(LEASE, self.name)
        try:
            if lease is None:
                spec = self._spec(transitions=1, taken=True)
                lease = self.cluster.create(LEASE, {"metadata": {"name": self.name}, "spec": spec}, manager=MANAGER)
            else:
                planned = self._plan(lease, annotations)
                if planned is None:
                    self.epoch = 0
                    return False
                planned["metadata"]["resourceVersion"] = lease["metadata"]["resourceVersion"]
                lease = self.cluster.merge(LEASE, self.name, planned, manager=MANAGER)
        except ConflictError:
            return self.held  # somebody else wrote it: the next round looks anew
        self.epoch, self._renewed = int(lease["spec"]["leaseTransitions"]), asked
        self.annotations = dict(lease["metadata"].get("annotations") or {})
        return True

    def raise_epoch(self, epoch: int) -> None:
        """Go on under a higher one, where objects carry a later one than the lease counts: it was made anew, notify.

        Raises:
            ConflictError: Somebody else has taken the lease meanwhile.
            ServiceError: The API server does not answer, or refuses.
        """
        lease = self.cluster.get(LEASE, self.name)
        if lease is None or lease["spec"].get("holderIdentity") != self.holder:
            raise ConflictError(f"the lease {self.name} was taken meanwhile")
        version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        self.cluster.merge(LEASE, self.name, {"metadata": version, "spec": {"leaseTransitions": epoch}}, manager=MANAGER)
        self.epoch = epoch

    def release(self) -> None:
        """Let another one take it at once."""
        if not self.epoch:
            return
        lease = self.cluster.get(LEASE, self.name)
        if lease is not None and lease["spec"].get("holderIdentity") == self.holder:
            patch = {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": {"holderIdentity": ""}}
            self.cluster.merge(LEASE, self.name, patch, manager=MANAGER)
        self.epoch = 0

    def _plan(self, lease: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any] | None:
        """What to write; None while somebody else holds it."""
        spec = lease.get("spec", {})
        transitions = int(spec.get("leaseTransitions", 0))
        if spec.get("holderIdentity") == self.holder and self.epoch:
            return {"metadata": {"annotations": dict(annotations)}, "spec": self._spec(transitions=transitions, taken=False)}
        # By its own clock alone: whether the lease was renewed, not when the other's clock says that it was.
        observed = (spec.get("holderIdentity") or "", spec.get("renewTime") or "")
        if observed != self._observed:
            self._observed, self._observed_at = observed, self.clock.steady()
        if observed[0] and self.clock.steady() - self._observed_at < self.seconds:
            return None
        return {"metadata": {}, "spec": self._spec(transitions=transitions + 1, taken=True)}

    def _spec(self, *, transitions: int, taken: bool) -> dict[str, Any]:
        now = datetime.fromtimestamp(self.clock.now(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": max(1, round(self.seconds)),
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        return spec | {"acquireTime": now} if taken else spec
