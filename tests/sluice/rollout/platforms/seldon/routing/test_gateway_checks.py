"""The gateway is asked until it reaches the first release, and a gateway that the controller cannot ask holds it up for 10 s."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from sluice.rollout.platforms.seldon.routing.gateway_checks import HEALTH_PATH, GatewayCheck

if TYPE_CHECKING:
    from collections.abc import Iterator


class Gateway:
    """A gateway that gives planned answers, and 200 after them."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                self.send_response(outer.answers.pop(0) if outer.answers else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/seldon/prod/churn/"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize("status", [404, 502, 503, 504])
def test_a_release_that_the_gateway_does_not_reach_waits_however_long_that_takes(gateway: Gateway, status: int) -> None:
    gateway.answers = [status] * 3
    check = GatewayCheck(gateway.url)
    for now in (0.0, 20.0, 1000.0):
        assert f"the gateway answers {status}" in check.find_problem("a", now)
    assert check.find_problem("a", 1001.0) == ""
    assert check.find_problem("a", 1002.0) == ""
    assert gateway.paths == [f"/seldon/prod/churn{HEALTH_PATH}"] * 4, "it is not asked again after it has reached the release"


@pytest.mark.parametrize("status", [200, 401, 403, 500])
def test_any_other_answer_comes_from_behind_the_gateways_routes(gateway: Gateway, status: int) -> None:
    gateway.answers = [status]
    assert GatewayCheck(gateway.url).find_problem("a", 0.0) == ""


def test_another_release_is_asked_for_again(gateway: Gateway) -> None:
    check = GatewayCheck(gateway.url)
    assert check.find_problem("a", 0.0) == ""
    gateway.answers = [503]
    assert check.find_problem("b", 1.0) != ""


def test_a_gateway_that_cannot_be_asked_holds_a_release_up_for_ten_seconds() -> None:
    check = GatewayCheck("http://127.0.0.1:1/seldon/prod/churn")
    assert "does not answer" in check.find_problem("a", 100.0)
    assert "does not answer" in check.find_problem("a", 109.0)
    assert check.find_problem("a", 110.0) == ""


@pytest.mark.parametrize("url", ["", "no url at all"])
def test_without_a_usable_url_nothing_waits_for_ever(url: str) -> None:
    check = GatewayCheck(url)
    check.find_problem("a", 0.0)
    assert check.find_problem("a", 11.0) == ""
