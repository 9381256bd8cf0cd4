"""The load generator with a real server: it keeps its rate, counts failed requests, and distinguishes releases."""

from __future__ import annotations

import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from sluice.demo.traffic import RELEASE_HEADER, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["data"]["ndarray"][0]
        failed = row[0] % 10 == 0
        self.send_response(500 if failed else 200)
        self.send_header(RELEASE_HEADER, "canary" if failed else "stable")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def wait_for_answers(traffic: Traffic, number: int) -> None:
    deadline = time.monotonic() + 300
    while len(traffic.answers) < number:
        assert time.monotonic() < deadline, "the requests get no answers"
        time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


def test_every_answer_is_counted_once_for_its_release(server: str) -> None:
    started = time.time()
    with Traffic(server, ({"n": n} for n in itertools.count()), rate=100) as traffic:
        wait_for_answers(traffic, 60)
    whole = traffic.count()
    assert whole.requests == len(traffic.answers) > 50
    assert whole.failed == len([a for a in traffic.answers if a.status == 500]) > 0
    assert traffic.failed_by_release(since=started, until=time.time()) == {"canary": whole.failed}
    assert traffic.count(release="stable").failed == 0
    assert traffic.count(since=time.time() + 1).requests == 0


def test_a_request_to_a_missing_server_counts_as_failed_without_a_release() -> None:
    with Traffic("http://127.0.0.1:9", ({"n": n} for n in itertools.count()), rate=50) as traffic:
        wait_for_answers(traffic, 1)
    assert {(answer.status, answer.release) for answer in traffic.answers} == {(0, "")}
