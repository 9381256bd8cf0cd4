"""What one proxy of the gateway counted for each Service, from its metrics in Prometheus' text format. Pure.

Istio's standard metrics are read if the proxy has them (https://istio.io/latest/docs/reference/config/metrics/): each request is
counted once there, with the host of the Service that the route chose. Otherwise Envoy's own statistics of its clusters are read
(https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats).
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from sluice.rollout.platforms.seldon.counters.cluster_names import is_cluster_of
from sluice.rollout.platforms.seldon.counters.tallies import NO_REQUESTS, Tally, name_kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from prometheus_client.samples import Sample

ISTIO_REQUESTS, ISTIO_DURATIONS = "istio_requests_total", "istio_request_duration_milliseconds_bucket"

_ENVOY = re.compile(r"envoy_cluster_(?:(?P<rest>.+)_)?upstream_rq(?:_(?P<code>\d{3})|(?P<durations>_time_bucket))?")
_TIMED = ("answered", "failed")
"""The kinds whose durations count: not those of rejected requests, and not those of the gateway's own answers."""


def read_proxy(text: str, hosts: Collection[str], slow_seconds: float) -> dict[str, Tally]:
    """Return what a proxy counted for each of these hosts since it started.

    Args:
        text: The metrics of the proxy.
        hosts: The hosts of the Services.
        slow_seconds: An answer that takes longer is slow. If no bound of the histograms is there, the next larger one is used.

    Raises:
        ValueError: The text has no metrics.
    """
    samples = list(_read_samples(text))
    read = _read_istio if any(one.name == ISTIO_REQUESTS for one in samples) else _read_envoy
    requests: dict[str, Tally] = dict.fromkeys(hosts, NO_REQUESTS)
    buckets: dict[str, dict[tuple[str, ...], dict[float, int]]] = defaultdict(lambda: defaultdict(dict))
    for host, kind, sample in read(samples, hosts):
        bound = sample.labels.get("le")
        if bound is None:
            requests[host] += Tally(**{kind: int(sample.value)})
        else:
            series = tuple(f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "le")
            buckets[host][series][float(bound)] = int(sample.value)
    return {host: found + _read_durations(buckets[host], 1000 * slow_seconds) for host, found in requests.items()}


def _read_samples(text: str) -> Iterable[Sample]:
    """Yield the samples that count. A proxy has thousands of others, so they are dropped before they are parsed."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - only a controller needs it

    if "# TYPE " not in text:
        raise ValueError("the answer has no metrics in Prometheus' text format")
    istio = (f"{ISTIO_REQUESTS}{{", f"{ISTIO_DURATIONS}{{")
    lines = [
        line
        for line in text.split("\n")  # nothing else ends a line, or a label could contain a sample
        if line.startswith(istio) or (line.startswith("envoy_cluster_") and _ENVOY.fullmatch(line.partition("{")[0]))
    ]
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        yield from family.samples


def _read_istio(samples: Iterable[Sample], hosts: Collection[str]) -> Iterable[tuple[str, str, Sample]]:
    for sample in samples:
        labels = sample.labels
        host, kind = labels.get("destination_service", ""), name_kind(labels.get("response_code", ""))
        if sample.name not in {ISTIO_REQUESTS, ISTIO_DURATIONS} or labels.get("reporter") != "source" or host not in hosts:
            continue
        if kind and (sample.name == ISTIO_REQUESTS or kind in _TIMED):
            yield host, kind, sample


def _read_envoy(samples: Iterable[Sample], hosts: Collection[str]) -> Iterable[tuple[str, str, Sample]]:
    """Yield the samples with Envoy's default tags or with Istio's.

    Envoy counts no duration of its own answers, but those of rejected requests. The executors take the latter away.
    """
    for sample in samples:
        labels, found = sample.labels, _ENVOY.fullmatch(sample.name)
        if found is None:
            continue
        cluster = labels.get("envoy_cluster_name") or labels.get("cluster_name", "")
        code = found["code"] or labels.get("envoy_response_code") or labels.get("response_code", "")
        kind = "timed" if found["durations"] else name_kind(code)
        host = next((one for one in hosts if kind and is_cluster_of(one, cluster, found["rest"] or "")), None)
        if host is not None:
            yield host, kind, sample


def _read_durations(series: Mapping[tuple[str, ...], Mapping[float, int]], slow_milliseconds: float) -> Tally:
    """Return the durations of one host. A bucket counts the requests up to its bound, and the last one counts all."""
    timed = fast = 0
    for buckets in series.values():
        timed += buckets.get(float("inf"), 0)
        fast += buckets[min(bound for bound in buckets if bound >= slow_milliseconds)]
    return Tally(timed=timed, slow=max(0, timed - fast))
