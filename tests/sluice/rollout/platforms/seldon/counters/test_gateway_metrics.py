"""Reading the metrics of the gateway's proxies.

``samples/envoy-*.txt`` are what Envoy 1.40.0 answered at ``/stats/prometheus``, with its default tags and with those of Istio's
bootstrap. ``samples/istio-standard-metrics.txt`` has the labels of https://istio.io/latest/docs/reference/config/metrics/.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.rollout.platforms.seldon.counters.cluster_names import is_cluster_of
from sluice.rollout.platforms.seldon.counters.gateway_metrics import read_proxy
from sluice.rollout.platforms.seldon.counters.tallies import NO_REQUESTS, Tally

FIRST, SECOND, THIRD = (f"churn-{name}.ns.svc.cluster.local" for name in ("r1-abc", "r2-def", "r3-fff"))
HOSTS = (FIRST, SECOND, THIRD)
SENT = Tally(answered=6, failed=2, unreached=1, rejected=3, timed=11, slow=1)
"""What the recorded Envoy answered: six times 200 (once slowly), twice 500, three times 400, and 504 after a time limit."""


def read_sample(name: str) -> str:
    return (Path(__file__).parent / "samples" / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["envoy-default-tags", "envoy-istio-tags"])
def test_envoys_statistics_of_its_clusters_are_read_with_its_own_tags_and_with_those_of_istio(name: str) -> None:
    found = read_proxy(read_sample(name), HOSTS, 0.5)
    assert found == {FIRST: SENT, SECOND: SENT, THIRD: Tally(unreached=2)}


def test_istios_standard_metrics_count_each_request_once() -> None:
    found = read_proxy(read_sample("istio-standard-metrics"), HOSTS, 0.5)
    assert found[FIRST] == Tally(answered=940, rejected=7), "a client that went away got no answer"
    assert found[SECOND] == Tally(answered=48, failed=2, unreached=1, timed=50, slow=3)
    assert found[THIRD] == NO_REQUESTS


def test_without_a_bound_at_the_limit_the_next_one_is_used() -> None:
    assert read_proxy(read_sample("istio-standard-metrics"), HOSTS, 0.75)[SECOND].slow == 1


def test_an_answer_without_metrics_is_an_error_and_a_proxy_without_traffic_is_none() -> None:
    assert read_proxy("# TYPE envoy_server_uptime gauge\nenvoy_server_uptime{} 3\n", [FIRST], 0.5) == {FIRST: NO_REQUESTS}
    with pytest.raises(ValueError, match="no metrics"):
        read_proxy("<html>not found</html>", [FIRST], 0.5)


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0b", "\r"])
def test_only_a_line_feed_ends_a_line_so_that_no_text_can_contain_a_sample(separator: str) -> None:
    sample = f'istio_requests_total{{reporter="source",destination_service="{FIRST}",response_code="200"}} 1000'
    text = f"# TYPE istio_requests_total counter\n# HELP istio_requests_total Requests{separator}{sample}\n"
    assert read_proxy(text, [FIRST], 0.5) == {FIRST: NO_REQUESTS}
    assert read_proxy(f"{text}{sample}\n", [FIRST], 0.5) == {FIRST: Tally(answered=1000)}


def test_a_service_with_a_similar_name_is_another_service() -> None:
    for label in (FIRST, f"{FIRST}:8000", f"{FIRST}_8000", f"outbound|8000|r1-abc|{FIRST}", f"outbound|8000||{FIRST}"):
        assert is_cluster_of(FIRST, label, "")
    for label in (f"x-{FIRST}", f"outbound|8000||x-{FIRST}", f"{FIRST}.example.com", f"x.{FIRST}", "churn-r1-abc", ""):
        assert not is_cluster_of(FIRST, label, "")
    assert is_cluster_of(FIRST, "churn-r1-abc", "ns_svc_cluster_local_8000")
    assert not is_cluster_of(FIRST, "x-churn-r1-abc", "ns_svc_cluster_local_8000")
    assert not is_cluster_of(FIRST, "churn-r1-abc", "other_svc_cluster_local_8000")
    assert not is_cluster_of(FIRST, "churn-r1-abc", "ns_svc_cluster_local_8000_external")
