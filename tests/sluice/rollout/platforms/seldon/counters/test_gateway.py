"""Asking the proxies of the gateway: several addresses, restarts, and proxies that do not answer. The servers are real."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from sluice.errors import ServiceError
from sluice.rollout.platforms.seldon.counters.gateway import Gateway
from sluice.rollout.platforms.seldon.counters.tallies import NO_REQUESTS, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "churn-r1-abc.ns.svc.cluster.local"


class Proxies:
    """Proxies of a gateway whose name has one address for each of them.

    Attributes:
        counted: What the proxy at each address answers: the number of requests that were answered with 200; None hangs.
        asked: The values of the header `host` that they got.
        port: The port of all of them.
    """

    def __init__(self) -> None:
        self.counted: dict[str, int | None] = {"127.0.0.1": 0}
        self.asked: set[str] = set()
        self.released = threading.Event()
        proxies = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxies.asked.add(self.headers["host"])
                number = proxies.counted[self.connection.getsockname()[0]]
                if number is None:
                    proxies.released.wait(30)
                name = "istio_requests_total"
                labels = f'reporter="source",destination_service="{HOST}",response_code="200"'
                self.send_response(200)
                self.end_headers()
                self.wfile.write(f"# TYPE {name} counter\n{name}{{{labels}}} {number or 0}\n".encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)  # noqa: S104 - each proxy has an address of its own
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def find(self, host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        """Answer as a name server does."""
        if host != "gateway.test":
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.counted]

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxies]:
    found, real = Proxies(), socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, *rest, **named: (
            found.find(host, port) if str(host).endswith(".test") else real(host, port, *rest, **named)
        ),
    )
    yield found
    found.close()


@pytest.fixture
def gateway(proxies: Proxies) -> Iterator[Gateway]:
    found = Gateway(f"http://gateway.test:{proxies.port}/stats/prometheus")
    yield found
    found.close()


def read(gateway: Gateway) -> Tally:
    return gateway.read({HOST})[HOST]


def test_every_address_is_a_proxy_and_counting_begins_at_the_first_reading(proxies: Proxies, gateway: Gateway) -> None:
    proxies.counted = {"127.0.0.1": 1000, "127.0.0.2": 70}
    assert read(gateway) == NO_REQUESTS
    proxies.counted = {"127.0.0.1": 1003, "127.0.0.2": 74}
    assert read(gateway) == Tally(answered=7)
    assert proxies.asked == {f"gateway.test:{proxies.port}"}


def test_counts_go_on_after_a_restart_and_a_new_proxy_begins_at_its_first_reading(proxies: Proxies, gateway: Gateway) -> None:
    proxies.counted = {"127.0.0.1": 1000}
    read(gateway)
    proxies.counted = {"127.0.0.1": 4}
    assert read(gateway) == Tally(answered=4), "the proxy was restarted"
    proxies.counted = {"127.0.0.1": 5, "127.0.0.2": 900}
    assert read(gateway) == Tally(answered=5)
    proxies.counted = {"127.0.0.2": 901}
    assert read(gateway) == Tally(answered=6), "a proxy that is gone takes nothing away"


def test_a_host_that_was_not_asked_for_before_begins_at_its_first_reading(proxies: Proxies, gateway: Gateway) -> None:
    proxies.counted = {"127.0.0.1": 1000}
    gateway.read({"other.ns.svc.cluster.local"})
    assert read(gateway) == NO_REQUESTS, "it has counts of an earlier rollout of the same release"


def test_if_one_proxy_does_not_answer_nothing_counts_and_the_next_reading_counts_what_was_missed(
    proxies: Proxies, gateway: Gateway
) -> None:
    proxies.counted = {"127.0.0.1": 10, "127.0.0.2": 10}
    read(gateway)
    proxies.counted = {"127.0.0.1": 15, "127.0.0.2": None}
    with pytest.raises(ServiceError, match=r"127\.0\.0\.2"):
        read(gateway)
    proxies.counted = {"127.0.0.1": 16, "127.0.0.2": 12}
    assert read(gateway) == Tally(answered=8)


def test_a_gateway_without_an_address_is_named_with_what_to_do(proxies: Proxies) -> None:
    del proxies
    found = Gateway("http://nowhere.test:15020/stats/prometheus")
    with pytest.raises(ServiceError, match=r"nowhere\.test.*Name or service not known") as error:
        found.read({HOST})
    assert "manifests/components/gateway-metrics" in str(error.value.hint)
    found.close()
