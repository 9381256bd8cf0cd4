"""What the controller publishes: Kubernetes events, and its own Prometheus metrics. A failure of either does not stop it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sluice.errors import SluiceError
from sluice.rollout.decisions.states import DIVERTED, Phase
from sluice.rollout.platforms.seldon.api import EVENT, MODEL_ROLLOUT
from sluice.rollout.platforms.seldon.resources.rollout_statuses import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from sluice.rollout.decisions.states import Transition
    from sluice.rollout.platforms.seldon.api import Cluster

MANAGER = "sluice-controller"
_MAX_MESSAGE_LENGTH = 1000
_WARNINGS = {Phase.ROLLED_BACK.value, Phase.ABORTED.value, Phase.REJECTED.value}


class Metrics:
    """The controller's own metrics. All have the label ``deployment``."""

    def __init__(self, deployment: str) -> None:
        self.registry = CollectorRegistry()
        self._last_round = time.monotonic()
        self._deployment = deployment
        labels, registry = ("deployment",), self.registry
        self._acting = Gauge(
            "sluice_controller_acting", "1 if this controller holds the lease, otherwise 0.", labels, registry=registry
        )
        self._rounds = Counter(
            "sluice_controller_rounds", "Control rounds by their outcome.", (*labels, "outcome"), registry=registry
        )
        self._seconds = Histogram(
            "sluice_controller_round_seconds", "Duration of a control round in seconds.", labels, registry=registry
        )
        self._phase = Gauge(
            "sluice_rollout_phase", "1 for the present state of the rollout.", (*labels, "phase"), registry=registry
        )
        self._weight = Gauge(
            "sluice_rollout_weight_percent",
            "Share of the traffic that the routes apply, in per cent.",
            (*labels, "release"),
            registry=registry,
        )
        self._evidence = Gauge(
            "sluice_rollout_evidence", "Numbers of the running rollout.", (*labels, "number"), registry=registry
        )
        self._servers = Gauge(
            "sluice_rollout_ready_servers",
            "Pods that answer: those of the champion, of the canary and of N-1 (previous).",
            (*labels, "role"),
            registry=registry,
        )
        self._losses = Counter(
            "sluice_rollout_server_losses",
            "How often no Pod of the champion, of the canary or of N-1 (previous) was ready any more.",
            (*labels, "role"),
            registry=registry,
        )
        self._answering: dict[str, str] = {}
        self._transitions = Counter(
            "sluice_rollout_transitions", "Transitions by the state that they enter.", (*labels, "phase"), registry=registry
        )
        self._apply = Histogram(
            "sluice_rollout_apply_seconds",
            "Seconds from a decision until the routes and the SeldonDeployment had its weights.",
            labels,
            registry=registry,
            buckets=(0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0),
        )

    def observe_round(self, seconds: float, outcome: str) -> None:
        """Count a control round.

        Args:
            seconds: Its duration.
            outcome: ``acting``, ``waiting`` (another controller acts), ``superseded`` (another process wrote meanwhile) or
                ``failed``.
        """
        self._last_round = time.monotonic()
        self._rounds.labels(self._deployment, outcome).inc()
        self._seconds.labels(self._deployment).observe(seconds)
        if outcome in {"acting", "waiting"}:
            self._acting.labels(self._deployment).set(outcome == "acting")
        if outcome == "waiting":  # another controller acts and publishes these numbers
            self._clear_rollout_gauges()

    def round_age(self) -> float:
        """Return the seconds since the last control round ended."""
        return time.monotonic() - self._last_round

    def observe_status(self, state: str, status: Mapping[str, Any]) -> None:
        """Publish the status of the last control round."""
        self._clear_rollout_gauges()
        self._phase.labels(self._deployment, state).set(1)
        for release, weight in status.get("seen_weights", {}).items():
            self._weight.labels(self._deployment, release).set(weight)
        for number, value in (status.get("evidence") or {}).items():
            if value is not None:
                self._evidence.labels(self._deployment, number).set(value)
        self._observe_servers(status.get("servers", []))

    def _observe_servers(self, servers: Sequence[Mapping[str, Any]]) -> None:
        """Publish how many servers answer, and count each release that answered at the round before and does not any more."""
        answering = {str(one["role"]): str(one["release"]) for one in servers if one["pods"]}
        for one in servers:
            role, release = str(one["role"]), str(one["release"])
            self._servers.labels(self._deployment, role).set(one["pods"])
            self._losses.labels(self._deployment, role).inc(self._answering.get(role) == release and role not in answering)
        self._answering = answering

    def _clear_rollout_gauges(self) -> None:
        for family in (self._phase, self._weight, self._evidence, self._servers):
            family.clear()

    def observe_transition(self, transition: Transition) -> None:
        """Count a transition that was written and enters a state, or measure one that was confirmed as applied."""
        if transition.applied_at is None and not _answers_command(transition):
            self._transitions.labels(self._deployment, transition.to_state).inc()
        elif transition.applied_at is not None:
            self._apply.labels(self._deployment).observe(max(0.0, transition.applied_at - transition.decided_at))


@dataclass(slots=True)
class Events:
    """Kubernetes events about the ModelRollout, which `kubectl describe` shows.

    Attributes:
        cluster: The namespace.
        name: Name of the ModelRollout.
        instance: Name of this controller.
    """

    cluster: Cluster
    name: str
    instance: str
    _count: int = field(default=0)
    _uid: str = ""

    def emit(self, transition: Transition) -> None:
        """Publish a transition that was written. An error is ignored."""
        text = f"{transition.release[:19]}: {transition.reason}"
        self._publish("Warning" if _warns(transition) else "Normal", _name_reason(transition), text)

    def warn(self, reason: str, text: str) -> None:
        """Publish something unusual, for example that others changed what the controller owns. An error is ignored.

        Args:
            reason: The reason of the event: ``PutRight``, ``RoutesRestored``, ``RoutesNotApplied``, ``LeaseTakenOver``,
                ``RolloutRestored``, ``DirectRequests`` or ``NotVerified``.
            text: What happened.
        """
        if reason == "RolloutRestored":
            self._uid = ""  # the ModelRollout is another object now
        self._publish("Warning", reason, text)

    def _publish(self, kind: str, reason: str, text: str) -> None:
        self._count += 1
        moment = format_time(self.cluster.clock.now())
        with contextlib.suppress(SluiceError):
            body = {
                "metadata": {"name": f"{self.name}.{time.time_ns():x}.{self._count}"},
                "involvedObject": {
                    "apiVersion": MODEL_ROLLOUT.api_version,
                    "kind": MODEL_ROLLOUT.name,
                    "name": self.name,
                    "namespace": self.cluster.namespace,
                    "uid": self._read_uid(),
                },
                "type": kind,
                "reason": reason,
                "message": text[:_MAX_MESSAGE_LENGTH],
                "source": {"component": MANAGER},
                "reportingComponent": MANAGER,
                "reportingInstance": self.instance,
                "firstTimestamp": moment,
                "lastTimestamp": moment,
                "count": 1,
            }
            self.cluster.create(EVENT, body, manager=MANAGER)

    def _read_uid(self) -> str:
        """Return the uid of the ModelRollout, by which `kubectl describe` finds its events."""
        if not self._uid:
            found = self.cluster.get(MODEL_ROLLOUT, self.name) or {}
            self._uid = str(found.get("metadata", {}).get("uid", ""))
        return self._uid


def _warns(transition: Transition) -> bool:
    return (
        transition.is_event
        or _answers_command(transition)
        or transition.to_state in _WARNINGS
        or transition.to_state.endswith(DIVERTED)
    )


def _name_reason(transition: Transition) -> str:
    """Return the reason of an event, for example ``RolledBack``. What happened to a server enters no state."""
    state = "command-answered" if _answers_command(transition) else transition.to_state
    state = "server-changed" if transition.is_event else state
    return "".join(part.title() for part in state.replace("-", "_").split("_"))


def _answers_command(transition: Transition) -> bool:
    """Return whether it answers a command without entering a state: a part was moved, or the command was refused."""
    return bool(transition.commanded_by) and transition.from_state == transition.to_state


def report_transition(metrics: Metrics, events: Events, transition: Transition) -> None:
    """Publish a transition as metrics, and also as an event if it was just decided.

    A confirmation that it was applied is no event, because people want to know of the decision.
    """
    metrics.observe_transition(transition)
    if transition.applied_at is None:
        events.emit(transition)
