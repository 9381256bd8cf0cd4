"""Asking the gateway once whether it reaches the first release, before that release becomes champion.

Seldon's operator writes the DestinationRule after the VirtualService, and a proxy learns of both a moment later. Until then the
gateway answers 503. A first release has no stable release beside it that would answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

import httpx

HEALTH_PATH = "/api/v1.0/health/status"
"""A path of Seldon's executor that asks the model for its health. It counts as no prediction."""

TIMEOUT_SECONDS = 1.0
UNREACHABLE_SECONDS = 10.0
"""The controller may be unable to reach the gateway, for example because of a NetworkPolicy. Then this time has to do."""

_NOT_REACHED = {
    HTTPStatus.NOT_FOUND,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(slots=True)
class GatewayCheck:
    """Whether the gateway reaches the first release.

    Attributes:
        url: URL of the model at the gateway (``seldon.url``); empty if it is not known.
    """

    url: str
    _reached: str = ""
    _since: dict[str, float] = field(default_factory=dict)

    def find_problem(self, release: str, now: float) -> str:
        """Return why users cannot reach a release yet; empty if the gateway has reached it once.

        Args:
            release: The first release, whose servers are ready and routed.
            now: Seconds of a clock that never goes back.
        """
        if not self.url or self._reached == release:
            return ""
        self._since = {release: self._since.get(release, now)}
        address = self.url.rstrip("/") + HEALTH_PATH
        try:
            status = httpx.get(address, timeout=TIMEOUT_SECONDS, trust_env=False).status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if now - self._since[release] < UNREACHABLE_SECONDS:
                return f"the gateway does not answer at {address}: {error}"
            status = 0
        if status in _NOT_REACHED:
            return (
                f"the gateway answers {status} at {address}, so users cannot reach it yet; seldon.url must be "
                "the gateway's URL with the path of the model: http://GATEWAY/seldon/NAMESPACE/NAME"
            )
        self._reached = release
        return ""
