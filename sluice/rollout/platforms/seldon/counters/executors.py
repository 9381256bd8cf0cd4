"""Seldon's executors, one in each Pod: read the counters at ``/prometheus``, and sum them by release across restarts.

Errors are 5xx. The executor answers 500 for a time-out and for a server that it cannot reach, and the model server turns invalid
outputs into 500s. A 4xx of the model server keeps its status; it is counted apart, because a client caused it unless stable
accepts the same request. The executor cannot tell one client's fault from an error: it answers 500 to a client that goes away in
the middle of its body. Such clients meet both releases at the same rate.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from sluice.errors import ServiceError
from sluice.rollout.decisions.evidence import NO_COUNTS, Counts, count_since

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod

PORT, PATH = 8000, "/prometheus"
METRIC = "seldon_api_executor_server_requests_seconds"
TIMEOUT_SECONDS = 1.0


def read_counts(text: str, slow_seconds: float = 0.5) -> Counts:
    """Return the predictions, errors, slow answers and rejected requests in the metrics of one executor.

    Args:
        text: The metrics in Prometheus' text format. An executor that has answered no prediction yet has none of these metrics.
        slow_seconds: An answer that takes longer is slow. It must be a bound of the executor's histogram.

    Raises:
        ValueError: The text is not in Prometheus' text format.
    """
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - only a controller needs it

    requests = errors = fast = rejected = 0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("service") != "predictions":
                continue
            code = sample.labels.get("code", "")
            if sample.name == f"{METRIC}_count":
                is_rejected = code.startswith("4")
                rejected += int(sample.value) if is_rejected else 0
                requests += 0 if is_rejected else int(sample.value)
                errors += int(sample.value) if code.startswith("5") else 0
            elif sample.name == f"{METRIC}_bucket" and float(sample.labels["le"]) == slow_seconds and not code.startswith("4"):
                fast += int(sample.value)
    return Counts(requests, errors, requests, requests - fast, rejected)


@dataclass(slots=True)
class Executors:
    """The executors of a SeldonDeployment.

    Attributes:
        slow_seconds: An answer that takes longer is slow.
        totals: Counts by release since this object was created. They never fall.
    """

    slow_seconds: float = 0.5
    totals: dict[str, Counts] = field(default_factory=dict)
    _last: dict[str, Counts] = field(default_factory=dict)
    _started: float | None = None
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False))
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, thread_name_prefix="executors"))

    def read(self, pods: Sequence[ServingPod], now: float) -> dict[str, Counts]:
        """Read the executors of these Pods, and return the counts by release since this object was created.

        A Pod that is starting, terminating or broken gets no traffic, so its executor does not have to answer.

        Args:
            pods: Pods with an address.
            now: Seconds since the epoch.

        Raises:
            ServiceError: The executor of a ready Pod did not answer. Nothing was counted; the next call counts what this one
                missed.
        """
        found: dict[str, Counts] = {}
        for pod, answer in zip(pods, self._threads.map(self._fetch, pods), strict=True):
            if isinstance(answer, Counts):
                found[pod.uid] = answer
            elif pod.ready and not pod.terminating:
                raise answer
        first = self._started is None
        self._started = now if self._started is None else self._started
        for pod in pods:
            if (counted := found.get(pod.uid)) is not None:
                before = self._last.get(pod.uid, counted if first or pod.created_at < self._started else NO_COUNTS)
                self.totals[pod.release] = self.totals.get(pod.release, NO_COUNTS) + count_since(before, counted)
        present = {pod.uid for pod in pods}
        self._last = {uid: counts for uid, counts in (self._last | found).items() if uid in present}
        return dict(self.totals)

    def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown(wait=False)
        self._client.close()

    def _fetch(self, pod: ServingPod) -> Counts | ServiceError:
        try:
            answer = self._client.get(pod.url(PORT) + PATH).raise_for_status()
            return read_counts(answer.text, self.slow_seconds)
        except (httpx.HTTPError, ValueError) as error:
            return ServiceError(
                f"the metrics of {pod.name} cannot be read: {error}",
                hint="The rollout stays at its current step until they can be read.",
            )
