"""Asks the canary what stable was asked a moment ago, and holds the answers against each other. No user sees any of it.

Nothing is mirrored in the proxy: a shadow predictor of Seldon's carries a label in its Pods' template, so it would start anew
before it could take traffic, and with a mirror nobody sees both answers. Instead, stable's servers keep their last requests
(`sluice.scoring.recent_requests`); who rolls out fetches them and asks the canary, at a pace of its own. Nobody waits for it.
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
from sluice.scoring.recent_requests import RECENT_PATH
from sluice.scoring.release_client import PREDICT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


FETCH_SECONDS = 2.0
"""How long a server of the champion's may take to say what it was asked."""

ROUND_SECONDS = 1.0
"""After that a round begins no other request; what is left comes with the next one."""

_JSON = {"content-type": "application/json"}

NONE_KEPT = "the champion's server keeps no requests, since it was started without `rollout.shadow_requests`"


class ShadowComparer(Protocol):
    """Who asks the canary."""

    def poll(self, rollout: str, champions: Sequence[str], canary: str) -> Comparison:
        """What was found since the last call; never waits.

        Args:
            rollout: Id of the request; what was found for another one is forgotten.
            champions: URLs of the champion's servers.
            canary: URL of one of the canary's.

        Raises:
            ServiceError: A server of the champion's does not say what it was asked.
        """

    def close(self) -> None:
        """Begin nothing more."""


@dataclass(slots=True)
class Shadow:
    """Asks in a thread, a round at a time.

    Attributes:
        timeout_seconds: An answer of the canary that takes longer is none.
    """

    timeout_seconds: float
    _round: _Round | None = None
    _asked: dict[str, int] = field(default_factory=dict)

    def poll(self, rollout: str, champions: Sequence[str], canary: str) -> Comparison:
        """As in `ShadowComparer`; begins a round where none is running."""
        last = self._round
        if last is not None and last.is_alive():
            return NO_COMPARISON
        self._round = _Round(rollout, champions, canary, self._asked, self.timeout_seconds)
        self._round.start()
        if last is None or last.rollout != rollout:
            return NO_COMPARISON
        if last.trouble is not None:
            raise last.trouble
        return last.found

    def close(self) -> None:
        """Begin nothing more; a request that is under way ends with the process."""
        self._round = None


class _Round(threading.Thread):
    """Once: fetch what stable was asked, ask the canary what it was not asked yet."""

    def __init__(
        self, rollout: str, champions: Sequence[str], canary: str, asked: dict[str, int], timeout_seconds: float
    ) -> None:
        super().__init__(name="shadow", daemon=True)
        self.rollout, self.found = rollout, NO_COMPARISON
        self.trouble: ServiceError | None = None
        self._champions, self._canary, self._asked, self._timeout = champions, canary, asked, timeout_seconds

    def run(self) -> None:
        try:
            self._compare()
        except ServiceError as error:
            self.trouble = error
        except Exception as error:  # noqa: BLE001 - a thread that ends without a word looks like one that finds nothing
            self.trouble = ServiceError(f"the shadow failed: {type(error).__name__}: {error}", hint="It begins anew.")

    def _compare(self) -> None:
        with httpx.Client(trust_env=False) as client:
            kept = [recent for url in self._champions if (recent := fetch_recent(client, url)) is not None]
            if self._champions and not kept:
                self.found = Comparison(impossible=NONE_KEPT)
                return
            deadline = time.monotonic() + ROUND_SECONDS
            for request in self._new(kept):
                answer = ask(client, self._canary, request["data"], self._timeout)
                self.found = _add(self.found, request["probabilities"], answer)
                if time.monotonic() > deadline:
                    return

    def _new(self, kept: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for recent in kept:
            for request in recent["requests"]:
                if request["number"] > self._asked.get(recent["server"], 0):
                    self._asked[recent["server"]] = request["number"]
                    yield request


def fetch_recent(client: httpx.Client, url: str) -> dict[str, Any] | None:
    """What a server was asked lately, as `sluice.scoring.recent_requests` says it; None where it keeps nothing.

    Raises:
        ServiceError: It does not notify.
    """
    try:
        answer = client.get(url + RECENT_PATH, timeout=FETCH_SECONDS)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        recent = answer.raise_for_status().json()
        return {"server": str(recent["server"]), "requests": list(recent["requests"])}
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise ServiceError(
            f"the champion's server at {url} does not say what it was asked: {type(error).__name__}: {error}",
            hint="The shadow holds where it is. A network policy must let the controller in at that port.",
        ) from error


def ask(client: httpx.Client, url: str, data: dict[str, Any], timeout_seconds: float) -> list[float] | None:
    """A server's probabilities of one request; None where it gives none."""
    body = json.dumps({"data": data})  # as clients write it: NaN, and halves of surrogate pairs, are what stable was asked
    try:
        answer = client.post(url + PREDICT_PATH, content=body, headers=_JSON, timeout=timeout_seconds).raise_for_status()
        return [float(row[0]) for row in answer.json()["data"]["ndarray"]]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None


def _add(found: Comparison, stable: Sequence[float], canary: Sequence[float] | None) -> Comparison:
    """One more request: the mean absolute difference of its rows; 1 where the canary did not answer."""
    if canary is None or len(canary) != len(stable):
        return found + Comparison(requests=1, failed=1, difference=1.0)
    difference = float(np.mean(np.abs(np.subtract(stable, canary)))) if stable else 0.0
    return found + Comparison(requests=1, difference=min(1.0, difference))
