"""The shadow: send the canary requests that stable has just answered, and compare the answers. No user sees the canary's answers.

The proxy mirrors nothing, for two reasons. Seldon's shadow predictor carries a label in its Pods' template, so its Pods would
have to restart before they could take traffic. And with a mirror no process sees both answers. Instead, stable's servers keep
their last requests (`sluice.scoring.recent_requests`). The supervisor or controller fetches them and sends them to the canary in
a thread of its own, so no control round waits for the answers.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import numpy as np

from sluice.errors import ServiceError
from sluice.rollout.decisions.shadow_comparisons import NO_COMPARISON, Comparison
from sluice.scoring.containers.server_containers import PREDICT_PATH
from sluice.scoring.recent_requests import RECENT_PATH, hide_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


FETCH_SECONDS = 2.0
"""Time limit for fetching the recent requests of one of the champion's servers."""

ROUND_SECONDS = 1.0
"""After this time a thread sends no further request. The next thread continues with the rest."""

_JSON = {"content-type": "application/json"}

NO_RECENT_REQUESTS = "the champion's server keeps no requests, because it was started without `rollout.shadow_requests`"


class ShadowComparer(Protocol):
    """Compares the canary's answers with stable's."""

    def poll(self, rollout: str, champions: Sequence[str], canary: str) -> Comparison:
        """Return what was found since the last call, without waiting.

        Args:
            rollout: Id of the request. What was found for another rollout is discarded.
            champions: URLs of the champion's servers.
            canary: URL of one of the canary's servers.

        Raises:
            ServiceError: A server of the champion does not return its recent requests.
        """

    def close(self) -> None:
        """Start no further comparison."""


@dataclass(slots=True)
class HttpShadowComparer:
    """Compare over HTTP, in one thread after another.

    Attributes:
        timeout_seconds: A canary that takes longer to answer counts as failed.
    """

    timeout_seconds: float
    _thread: _ComparisonThread | None = None
    _last_compared: dict[str, int] = field(default_factory=dict)

    def poll(self, rollout: str, champions: Sequence[str], canary: str) -> Comparison:
        """Return the result of the last thread, and start the next one, as `ShadowComparer.poll` describes."""
        last = self._thread
        if last is not None and last.is_alive():
            return NO_COMPARISON
        self._thread = _ComparisonThread(rollout, champions, canary, self._last_compared, self.timeout_seconds)
        self._thread.start()
        if last is None or last.rollout != rollout:
            return NO_COMPARISON
        if last.error is not None:
            raise last.error
        return last.found

    def close(self) -> None:
        """Start no further comparison. A request that is under way ends with the process."""
        self._thread = None


class _ComparisonThread(threading.Thread):
    """One pass: fetch stable's recent requests, and send the canary those that it has not answered yet."""

    def __init__(
        self, rollout: str, champions: Sequence[str], canary: str, last_compared: dict[str, int], timeout_seconds: float
    ) -> None:
        super().__init__(name="shadow", daemon=True)
        self.rollout, self.found = rollout, NO_COMPARISON
        self.error: ServiceError | None = None
        self._champions, self._canary = champions, canary
        self._last_compared, self._timeout = last_compared, timeout_seconds

    def run(self) -> None:
        try:
            self._compare()
        except ServiceError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - otherwise the thread would end silently, as if it had found nothing
            self.error = ServiceError(
                hide_token(f"the shadow comparison failed: {type(error).__name__}: {error}"), hint="The next round tries again."
            )

    def _compare(self) -> None:
        with httpx.Client(trust_env=False) as client:
            fetched = [recent for url in self._champions if (recent := fetch_recent_requests(client, url)) is not None]
            if self._champions and not fetched:
                self.found = Comparison(impossible=NO_RECENT_REQUESTS)
                return
            deadline = time.monotonic() + ROUND_SECONDS
            for request in self._select_new(fetched):
                answer = predict(client, self._canary, request["data"], self._timeout)
                self.found = _add_answer(self.found, request["probabilities"], answer)
                if time.monotonic() > deadline:
                    return

    def _select_new(self, fetched: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for recent in fetched:
            for request in recent["requests"]:
                if request["number"] > self._last_compared.get(recent["server"], 0):
                    self._last_compared[recent["server"]] = request["number"]
                    yield request


def fetch_recent_requests(client: httpx.Client, url: str) -> dict[str, Any] | None:
    """Return the recent requests of a server, as `sluice.scoring.recent_requests` writes them; None if the server keeps none.

    Raises:
        ServiceError: The server does not return its recent requests.
    """
    try:
        answer = client.get(url + RECENT_PATH, timeout=FETCH_SECONDS)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        recent = answer.raise_for_status().json()
        return {"server": str(recent["server"]), "requests": list(recent["requests"])}
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise ServiceError(
            hide_token(f"the champion's server at {url} does not return its recent requests: {type(error).__name__}: {error}"),
            hint="The shadow waits meanwhile. In a cluster, a network policy must let the controller reach that port.",
        ) from error


def predict(client: httpx.Client, url: str, data: dict[str, Any], timeout_seconds: float) -> list[float] | None:
    """Return a server's probabilities for one request; None if it returns none."""
    body = json.dumps({"data": data})  # as clients write it: stable has answered NaN and lone surrogates, too
    try:
        answer = client.post(url + PREDICT_PATH, content=body, headers=_JSON, timeout=timeout_seconds).raise_for_status()
        return [float(row[0]) for row in answer.json()["data"]["ndarray"]]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None


def _add_answer(found: Comparison, stable: Sequence[float], canary: Sequence[float] | None) -> Comparison:
    """Add one request: the mean absolute difference of its rows, or 1 if the canary did not answer."""
    if canary is None or len(canary) != len(stable):
        return found + Comparison(requests=1, failed=1, difference=1.0)
    difference = float(np.mean(np.abs(np.subtract(stable, canary)))) if stable else 0.0
    return found + Comparison(requests=1, difference=min(1.0, difference))
