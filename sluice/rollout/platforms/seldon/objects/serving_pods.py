"""The Pods behind the predictors: which release each serves, whether it is ready, and why it is not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sluice.rollout.decisions.health import MAX_CRASHES, Health
from sluice.rollout.failures import find_last_words
from sluice.rollout.platforms.seldon.objects.predictors import CONTAINER, find_model_container, read_container_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.rollout.platforms.seldon.objects.predictors import PackagedRelease

READINESS_DELAY_SECONDS = 2.0
"""A canary gets its first traffic this long after it became ready, because kube-proxy may take a second to learn of its Pods."""

_PERMANENT_PROBLEMS = {
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "ErrImageNeverPull",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPod:
    """One Pod of a predictor.

    Attributes:
        uid: Unique id. A later Pod of the same name has another one.
        name: The name.
        release: The release that its server has to serve. The server does not become ready with any other release.
        image: Image of the model container.
        ip: Address; empty while it has none.
        ready: Whether it answers requests, and has answered its golden rows as at training.
        created_at: When it was created, in seconds since the epoch.
        problem: Why it is not ready; empty if nothing is known.
        crashes: Restarts of the model container.
        terminating: Whether it is being deleted, or has ended for good (for example because it was evicted) and is only still
            listed.
        waiting_since: When it stopped being ready, or was created.
        last_log: The end of the log of the model container's last run, if that run failed.
    """

    uid: str
    name: str
    release: str
    image: str
    ip: str
    ready: bool
    created_at: float
    problem: str
    crashes: int
    terminating: bool
    waiting_since: float = 0.0
    last_log: str = ""

    def url(self, port: int) -> str:
        """Return the URL of one of its ports."""
        return f"http://[{self.ip}]:{port}" if ":" in self.ip else f"http://{self.ip}:{port}"


@dataclass(slots=True)
class ReadinessDelay:
    """Delays the canary's first traffic, because a node learns of a Service's new Pods late and refuses connections until then.

    Attributes:
        release: The canary; empty while it is not ready.
        since: Since when the canary has been ready, on a clock that never jumps.
    """

    release: str = ""
    since: float = 0.0

    def observe(self, release: str, *, ready: bool, now: float) -> bool:
        """Return whether the canary has been ready for long enough to get traffic."""
        if not ready or self.release != release:
            self.release, self.since = (release if ready else ""), now
        return ready and now - self.since >= READINESS_DELAY_SECONDS


def read_pod(pod: Mapping[str, Any]) -> ServingPod:
    """Return a Pod from the API server's JSON."""
    metadata, status = pod["metadata"], pod.get("status", {})
    model = find_model_container(pod["spec"])
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    condition = conditions.get("Ready", {})
    ready, created = condition.get("status") == "True", metadata["creationTimestamp"]
    containers = status.get("containerStatuses") or []
    return ServingPod(
        uid=metadata["uid"],
        name=metadata["name"],
        release=read_container_digest(model),
        image=model.get("image", ""),
        ip=status.get("podIP", ""),
        ready=ready,
        created_at=datetime.fromisoformat(created).timestamp(),
        problem="" if ready else _read_problem(containers, conditions),
        crashes=sum(int(one.get("restartCount", 0)) for one in containers if one["name"] == CONTAINER),
        terminating="deletionTimestamp" in metadata or status.get("phase") in {"Failed", "Succeeded"},
        waiting_since=datetime.fromisoformat(condition.get("lastTransitionTime") or created).timestamp(),
        last_log=_read_last_log(containers),
    )


def judge_health(
    pods: Sequence[ServingPod], release: PackagedRelease, *, exposed: bool, routed: bool, now: float, start_timeout_seconds: float
) -> Health:
    """Return the health of a release's server.

    Args:
        pods: The Pods of all predictors.
        release: The release.
        exposed: Whether it takes traffic as a canary. Then it fails as soon as no Pod is ready, because no other server answers
            its requests.
        routed: Whether every route has it as a destination. The operator writes no routes while any Pod is not ready, so one Pod
            that never becomes ready blocks them all.
        now: Seconds since the epoch.
        start_timeout_seconds: A Pod that is not ready for this long counts as failed.
    """
    own = [pod for pod in pods if pod.release == release.digest and not pod.terminating]
    count = sum(pod.ready and pod.image == release.image for pod in own)
    if count and (exposed or routed):
        return Health(ready=routed, pods=count)
    unready = [pod for pod in own if not (pod.ready and pod.image == release.image)]
    problems = "; ".join(dict.fromkeys(pod.problem or "it is not ready" for pod in unready)) or ("" if own else "it has no Pod")
    if exposed:
        return Health(failure=f"none of its Pods is ready: {problems}", pods=count)
    for pod in unready:
        reason = pod.problem.partition(":")[0]
        if reason in _PERMANENT_PROBLEMS and (reason != "CrashLoopBackOff" or pod.crashes >= MAX_CRASHES):
            return Health(failure=problems, pods=count)
        if now - max(pod.created_at, pod.waiting_since) > start_timeout_seconds:
            return Health(failure=f"not ready within {start_timeout_seconds:g} s: {problems}", pods=count)
    which = f"{len(unready)} of its {len(own)} Pods: " if len(own) > 1 and unready else ""
    return Health(waiting=which + problems if problems else "the operator has not routed to it yet", pods=count)


def _read_last_log(containers: Sequence[Mapping[str, Any]]) -> str:
    """Return the message with which the model container ended: Kubernetes copies the end of its log there if it failed."""
    for container in containers:
        if container["name"] == CONTAINER:
            states = (container.get("state") or {}, container.get("lastState") or {})
            return next((str(text) for one in states if (text := (one.get("terminated") or {}).get("message"))), "")
    return ""


def _quote_last_words(ended: Mapping[str, Any]) -> str:
    """Return what a container wrote last before it ended, as the end of a sentence; empty if that may not be shown."""
    found = find_last_words(str(ended.get("message") or "").splitlines())
    return f": {found}" if found else ""


def _read_problem(containers: Sequence[Mapping[str, Any]], conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return why a Pod is not ready. A container that waits or has ended explains more than a failed readiness probe."""
    for container in containers:
        state = container.get("state", {})
        ended = state.get("terminated") or container.get("lastState", {}).get("terminated")
        if (waiting := state.get("waiting")) and waiting.get("reason") not in {"ContainerCreating", "PodInitializing"}:
            last = f" (it ended with code {ended.get('exitCode')}{_quote_last_words(ended)})" if ended else ""
            return f"{waiting.get('reason', 'waiting')}: {waiting.get('message', '')}".rstrip(": ") + last
        if state.get("terminated"):
            return f"ended: container {container['name']} with code {ended.get('exitCode')}{_quote_last_words(ended)}"
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}".rstrip(": ")
    started = any(one.get("started") and not one.get("ready") for one in containers if one["name"] == CONTAINER)
    return "its health check fails" if started else ""
