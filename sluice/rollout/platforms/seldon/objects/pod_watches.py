"""What happens to the servers of a release in a cluster: they are not ready any more, or Kubernetes restarted them. Pure.

A server that hangs fails its readiness probe, so that it gets no more requests, and then its liveness probe, so that Kubernetes
kills and restarts its container.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.rollout.observations import ServerEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod


_KEPT_LOGS = 5


@dataclass(slots=True)
class PodWatch:
    """Compares the Pods of each round with those of the round before.

    Attributes:
        last_logs: The end of the log of the last failed run of a release's server. A release that is rejected loses its Pods at
            once, so it is kept for the releases that were seen last.
    """

    last_logs: dict[str, str] = field(default_factory=dict)
    _silent_since: dict[str, float] = field(default_factory=dict)
    _ready: dict[str, bool] = field(default_factory=dict)
    _restarts: dict[str, int] = field(default_factory=dict)

    def measure_silence(self, release: str, *, ready: bool, now: float) -> float:
        """Return the seconds for which no Pod of a release has been ready; 0 if one is ready now.

        Args:
            release: The release.
            ready: Whether one of its Pods is ready.
            now: Seconds of a clock that never goes back.
        """
        if ready:
            self._silent_since.pop(release, None)
            return 0.0
        return now - self._silent_since.setdefault(release, now)

    def observe(self, releases: Iterable[str], pods: Sequence[ServingPod]) -> list[ServerEvent]:
        """Return what happened to the servers of these releases since the last call.

        Args:
            releases: The champion, N-1 and the canary.
            pods: The Pods of all predictors.
        """
        logs = self.last_logs | {pod.release: pod.last_log for pod in pods if pod.last_log}
        self.last_logs = {release: logs[release] for release in list(logs)[-_KEPT_LOGS:]}
        events = []
        for release in releases:
            own = [pod for pod in pods if pod.release == release and not pod.terminating]
            is_ready = any(pod.ready for pod in own)
            if self._ready.get(release) and not is_ready:
                problems = "; ".join(dict.fromkeys(pod.problem or "its health check fails" for pod in own)) or "it has no Pod"
                events.append(ServerEvent(release=release, text=f"is not ready any more: {problems}"))
            self._ready[release] = is_ready
        for pod in pods:
            before = self._restarts.get(pod.uid, pod.crashes)
            if pod.crashes > before and pod.release in self._ready:
                text = f"was restarted by Kubernetes in Pod {pod.name} ({pod.crashes} restarts so far)"
                events.append(ServerEvent(release=pod.release, text=text))
        self._restarts = {pod.uid: pod.crashes for pod in pods}
        return events
