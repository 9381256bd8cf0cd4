"""The time of the API server is known from its answers, whatever the machine's own clock shows."""

from __future__ import annotations

import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.rollout.platforms.seldon.api import LEASE, Cluster
from sluice.rollout.platforms.seldon.leases.lease_locks import is_fresh
from sluice.rollout.platforms.seldon.server_times import ServerTime

START = 1_800_000_000.0


@given(
    offset=st.floats(-1e6, 1e6),
    answers=st.lists(st.tuples(st.floats(0.0, 60.0), st.floats(0.0, 2.0), st.floats(0.0, 1.0)), min_size=1, max_size=30),
)
def test_the_estimate_is_never_off_by_more_than_a_second_and_the_time_of_one_call(
    offset: float, answers: list[tuple[float, float, float]]
) -> None:
    """Each answer: seconds since the one before, the duration of the call, and where in the call the server wrote its time."""
    now = [0.0]
    time = ServerTime(steady=lambda: now[0], now=lambda: 0.0)
    shortest = 2.0
    for pause, duration, place in answers:
        sent = now[0] + pause
        now[0] = sent + duration
        stated = START + offset + sent + place * duration
        time.observe(formatdate(int(stated), usegmt=True), sent=sent, received=now[0])
        shortest = min(shortest, duration)
        assert abs(time.now() - (START + offset + now[0])) <= (1.0 + shortest) / 2 + 1e-3


def test_a_clock_of_the_server_that_was_set_is_followed_at_once() -> None:
    now = [100.0]
    time = ServerTime(steady=lambda: now[0])
    time.observe(formatdate(START, usegmt=True), sent=100.0, received=100.0)
    assert abs(time.now() - START) <= 1.0
    time.observe(formatdate(START - 3600, usegmt=True), sent=100.0, received=100.0)
    assert abs(time.now() - (START - 3600)) <= 1.0


def test_before_the_first_answer_the_time_is_the_machine_s() -> None:
    assert ServerTime(now=lambda: 42.0).now() == 42.0


@pytest.mark.parametrize("date", [None, "", "yesterday", "2026-01-01"])
def test_a_header_that_is_no_date_is_ignored(date: str | None) -> None:
    time = ServerTime(now=lambda: 42.0)
    time.observe(date, sent=0.0, received=0.0)
    assert time.now() == 42.0


def test_a_machine_whose_clock_is_40_seconds_ahead_sees_that_the_lease_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The requester was told that no controller is running, and could not roll back."""
    from kubernetes.client import ApiClient, Configuration

    class Answering(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            del timestamp
            return formatdate(START, usegmt=True)

        def do_GET(self) -> None:
            body = b"{}"
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        cluster = Cluster(ApiClient(Configuration(host=f"http://127.0.0.1:{server.server_port}")), "prod")
        monkeypatch.setattr("time.time", lambda: START + 40.0)
        cluster.get(LEASE, "churn-rollout")
        lease = {"spec": {"holderIdentity": "one", "renewTime": "2027-01-15T08:00:00.000000Z", "leaseDurationSeconds": 15}}
        assert is_fresh(lease, cluster.clock.now())
        assert not is_fresh(lease, START + 40.0)
    finally:
        server.shutdown()
        server.server_close()
