"""Asking the proxies of the gateway what they counted.

The host of the URL may have several addresses, as a headless Service has: each address is one proxy, and all are asked at once.
"""

from __future__ import annotations

import concurrent.futures
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from sluice.errors import ServiceError
from sluice.rollout.platforms.seldon.counters.gateway_metrics import read_proxy
from sluice.rollout.platforms.seldon.counters.tallies import NO_REQUESTS, Tally, tally_since

if TYPE_CHECKING:
    from collections.abc import Collection

TIMEOUT_SECONDS = 1.0
"""Time limit for finding the addresses, and again for the answers of all proxies."""

HINT = "Apply manifests/components/gateway-metrics, or set seldon.gateway_metrics. No release advances until they can be read."


@dataclass(slots=True)
class Gateway:
    """The proxies of the gateway.

    Attributes:
        url: Where their metrics are.
        slow_seconds: An answer that takes longer is slow.
        totals: What all proxies counted by host since this object was created. It never falls.
    """

    url: str
    slow_seconds: float = 0.5
    totals: dict[str, Tally] = field(default_factory=dict)
    _last: dict[str, dict[str, Tally]] = field(default_factory=dict)
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False))
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16, thread_name_prefix="gateway"))

    def read(self, hosts: Collection[str]) -> dict[str, Tally]:
        """Return what all proxies counted for these hosts since this object was created.

        A proxy or a host that is read for the first time counts from there on.

        Raises:
            ServiceError: A proxy did not answer, or there is none. Nothing was counted; the next call counts what this one
                missed.
        """
        found = self._fetch_all(self._find_addresses(), hosts)
        for address, tallies in found.items():
            known = self._last.setdefault(address, {})
            for host, now in tallies.items():
                self.totals[host] = self.totals.get(host, NO_REQUESTS) + tally_since(known.get(host, now), now)
            self._last[address] = tallies
        return {host: self.totals.get(host, NO_REQUESTS) for host in hosts}

    def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _find_addresses(self) -> list[str]:
        url = httpx.URL(self.url)
        asked = self._threads.submit(socket.getaddrinfo, url.host, url.port or 80, type=socket.SOCK_STREAM)
        try:
            found = asked.result(TIMEOUT_SECONDS)
        except TimeoutError as error:
            raise self._describe(f"no name server says within {TIMEOUT_SECONDS:g} s where {url.host} is") from error
        except OSError as error:
            raise self._describe(str(error)) from error
        return sorted({str(one[4][0]) for one in found})

    def _fetch_all(self, addresses: Collection[str], hosts: Collection[str]) -> dict[str, dict[str, Tally]]:
        asked = {address: self._threads.submit(self._fetch, address, hosts) for address in addresses}
        concurrent.futures.wait(asked.values(), TIMEOUT_SECONDS)
        found = {}
        for address, answer in asked.items():
            try:
                found[address] = answer.result(0)
            except (httpx.HTTPError, ValueError) as error:
                raise self._describe(f"{address}: {error}") from error
            except TimeoutError as error:
                raise self._describe(f"{address} did not answer within {TIMEOUT_SECONDS:g} s") from error
        return found

    def _fetch(self, address: str, hosts: Collection[str]) -> dict[str, Tally]:
        url = httpx.URL(self.url)
        headers = {"host": url.netloc.decode("ascii")}
        answer = self._client.get(url.copy_with(host=address), headers=headers).raise_for_status()
        return read_proxy(answer.text, hosts, self.slow_seconds)

    def _describe(self, problem: str) -> ServiceError:
        return ServiceError(f"the gateway's metrics at {self.url} cannot be read: {problem}", hint=HINT)
