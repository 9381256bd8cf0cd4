"""The Pods behind the predictors: which release each serves, whether it is ready, and why it never will be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sluice.rollout.decisions.health import MOST_CRASHES, Health
from sluice.rollout.platforms.seldon.objects.predictors import CONTAINER, find_model, read_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.rollout.platforms.seldon.objects.predictors import Packaged

SETTLE_SECONDS = 2.0
"""How long a canary is ready before anything is sent to it; kube-proxy alone may take a second to know its Pods."""

_HOPELESS = {"CrashLoopBackOff", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "ErrImageNeverPull"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPod:
    """One Pod of a predictor.

    Attributes:
        uid: Its own; a Pod of the same name that comes after it has another.
        name: Its name.
        release: What it was told to serve, and refuses to be ready with anything else.
        image: Of the model container.
        ip: Empty while it has none.
        ready: It answers, and its golden rows were answered as at training.
        since: When it was made, in seconds since the epoch.
        trouble: What keeps it from being ready; empty where nothing does.
        crashes: Restarts of the model container.
        leaving: It is being deleted, or has ended for good (evicted, notify) and is only still listed.
        waiting_since: When it was made, or stopped being ready.
    """

    uid: str
    name: str
    release: str
    image: str
    ip: str
    ready: bool
    since: float
    trouble: str
    crashes: int
    leaving: bool
    waiting_since: float = 0.0

    def url(self, port: int) -> str:
        """Of one of its ports."""
        return f"http://[{self.ip}]:{port}" if ":" in self.ip else f"http://{self.ip}:{port}"


@dataclass(slots=True)
class ReadinessDelay:
    """Since when the canary has been ready: a node learns of a Service's new Pods with a lag of its own, and refuses until then.

    Attributes:
        release: The canary; empty while it is not ready.
        since: On a clock that never jumps.
    """

    release: str = ""
    since: float = 0.0

    def observe(self, release: str, *, ready: bool, now: float) -> bool:
        """Whether it has been ready for long enough to be sent to."""
        if not ready or self.release != release:
            self.release, self.since = (release if ready else ""), now
        return ready and now - self.since >= SETTLE_SECONDS


def read_pod(pod: Mapping[str, Any]) -> ServingPod:
    """A Pod of the API's JSON."""
    metadata, status = pod["metadata"], pod.get("status", {})
    model = find_model(pod["spec"])
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    told = conditions.get("Ready", {})
    ready, made = told.get("status") == "True", metadata["creationTimestamp"]
    containers = status.get("containerStatuses") or []
    return ServingPod(
        uid=metadata["uid"],
        name=metadata["name"],
        release=read_digest(model),
        image=model.get("image", ""),
        ip=status.get("podIP", ""),
        ready=ready,
        since=datetime.fromisoformat(made).timestamp(),
        trouble="" if ready else _read_trouble(containers, conditions),
        crashes=sum(int(one.get("restartCount", 0)) for one in containers if one["name"] == CONTAINER),
        leaving="deletionTimestamp" in metadata or status.get("phase") in {"Failed", "Succeeded"},
        waiting_since=datetime.fromisoformat(told.get("lastTransitionTime") or made).timestamp(),
    )


def judge_health(
    pods: Sequence[ServingPod], release: Packaged, *, exposed: bool, routed: bool, now: float, start_timeout_seconds: float
) -> Health:
    """How a release's server is.

    Args:
        pods: Of all predictors.
        release: Which.
        exposed: It takes traffic as a canary: nobody who could answer in its place waits for it to come back.
        routed: Every route knows it. The operator writes none while any Pod is not ready, so one that never becomes so holds
            everybody up.
        now: Seconds since the epoch.
        start_timeout_seconds: A Pod that is not ready for so long is given up.
    """
    own = [pod for pod in pods if pod.release == release.digest and not pod.leaving]
    ready = any(pod.ready and pod.image == release.image for pod in own)
    if ready and (exposed or routed):
        return Health(ready=routed)
    late = [pod for pod in own if not (pod.ready and pod.image == release.image)]
    said = "; ".join(dict.fromkeys(pod.trouble or "it is not ready" for pod in late)) or ("" if own else "it has no Pod")
    if exposed:
        return Health(failure=f"none of its Pods is ready: {said}")
    for pod in late:
        reason = pod.trouble.partition(":")[0]
        if reason in _HOPELESS and (reason != "CrashLoopBackOff" or pod.crashes >= MOST_CRASHES):
            return Health(failure=said)
        if now - max(pod.since, pod.waiting_since) > start_timeout_seconds:
            return Health(failure=f"not ready within {start_timeout_seconds:g} s: {said}")
    count = f"{len(late)} of its {len(own)} Pods: " if len(own) > 1 and late else ""
    return Health(waiting=count + said if said else "the operator has not routed to it yet")


def _read_trouble(containers: Sequence[Mapping[str, Any]], conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Why it is not ready: a container that waits or ended before one that only has not passed its probe."""
    for container in containers:
        state = container.get("state", {})
        ended = state.get("terminated") or container.get("lastState", {}).get("terminated")
        if (waiting := state.get("waiting")) and waiting.get("reason") not in {"ContainerCreating", "PodInitializing"}:
            last = f" (it ended with code {ended.get('exitCode')})" if ended else ""
            return f"{waiting.get('reason', 'waiting')}: {waiting.get('message', '')}".rstrip(": ") + last
        if state.get("terminated"):
            return f"ended: container {container['name']} with code {state['terminated'].get('exitCode')}"
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}".rstrip(": ")
    return ""
