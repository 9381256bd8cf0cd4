"""Which Service a cluster of Envoy stands for, by the cluster's name in the metrics. Pure.

Istio names a cluster ``outbound|8000|subset|host``, and its metrics have this name in one label. Other Envoys may name it by the
host, with or without a port. With Envoy's default tags, the label ends at the first dot of the name, and the rest of it is a part
of the metric's name. The name of the Service itself is compared exactly, so that no other Service can be taken for it.
"""

from __future__ import annotations

import re

_PORT = re.compile(r"[:_]\d+$")
_NOT_IN_A_METRIC = re.compile(r"[^a-zA-Z0-9_]")


def is_cluster_of(host: str, label: str, rest: str) -> bool:
    """Return whether a cluster is that of a Service.

    Args:
        host: The host of the Service, for example ``churn-r1-1234abcd.production.svc.cluster.local``.
        label: The label with the cluster's name.
        rest: The part of the cluster's name that is in the name of the metric; empty with Istio's tags.
    """
    name = label.rpartition("|")[2]
    if not rest:
        return host in {name, _PORT.sub("", name)}
    service, _, domain = host.partition(".")
    written = _NOT_IN_A_METRIC.sub("_", domain)
    return name == service and written in {rest, _PORT.sub("", rest)}
