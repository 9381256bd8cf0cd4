"""Fetch the recent requests of model servers, where no request log is sent.

A server keeps only its last requests (`sluice.scoring.recent_requests`), so this sees a sample of heavy traffic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import orjson

from sluice.scoring.recent_requests import RECENT_PATH
from sluice.triggers.monitor.events import Event
from sluice.triggers.service_logs import log

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from sluice.triggers.monitor.watching import Monitor

_TIMEOUT_SECONDS = 5.0


def poll(monitor: Monitor, urls: Sequence[str], seconds: float, stopping: threading.Event) -> None:
    """Fetch the recent requests again and again, until the event is set.

    Args:
        monitor: What counts them.
        urls: The servers.
        seconds: Pause between two fetches.
        stopping: Ends the loop.
    """
    with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
        while not stopping.wait(seconds):
            for url in urls:
                poll_once(monitor, client, url)


def poll_once(monitor: Monitor, client: httpx.Client, url: str) -> None:
    """Fetch the recent requests of one server. A failure is counted, and the next fetch tries again."""
    try:
        answer = client.get(f"{url.rstrip('/')}{RECENT_PATH}")
        answer.raise_for_status()
        events = read_recent(orjson.loads(answer.content))
    except (httpx.HTTPError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        monitor.metrics.add_failure("poll")
        log("the recent requests cannot be fetched", url=url, error=type(error).__name__)
        return
    if not monitor.put(events, len(answer.content)):
        monitor.metrics.add_events("refused", len(events))


def read_recent(document: Any) -> list[Event]:  # noqa: ANN401 - any JSON
    """Read the answer of a server. The process and the number identify a request.

    Raises:
        KeyError: A field is missing.
        TypeError: A field has another type.
    """
    server = document["server"]
    return [Event(hash((server, one["number"])), {"data": one["data"]}) for one in document["requests"]]
