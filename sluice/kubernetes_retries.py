"""Repeating a call that the API server cannot answer now: it is overloaded, elects a leader, or makes a kind's storage ready.

A read is repeated after any such answer. A write is repeated only if the API server certainly did not carry it out. Every client
of an API server in Sluice uses this module, so that a short interruption fails no command and no pipeline step. The control round
gets the error at once, because the next round tries again anyway.
"""

from __future__ import annotations

import random
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from sluice.kubernetes_calls import RefusedCallError, read_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")

PATIENCE_SECONDS = 5.0
"""How long a command or a pipeline step waits for an API server that cannot answer now."""

READS = frozenset({"GET", "HEAD"})
"""The methods that change nothing."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 1.0
_JITTER = 0.25
_PASSING = ("storage is (re)initializing", "etcdserver: ", "timed out", "timeout", "deadline exceeded")
"""What the message of a 500 says if the same read may succeed a moment later."""


def retry_call(
    send: Callable[[], _Answer],
    method: str,
    *,
    seconds: float = PATIENCE_SECONDS,
    sleep: Callable[[float], object] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> _Answer:
    """Make a call, and repeat it while the API server says that it cannot answer now.

    Args:
        send: Makes the call.
        method: Its HTTP method.
        seconds: For how long the call is repeated; 0 makes it once. If the header ``Retry-After`` states a longer time than is
            left, the call is not repeated.
        sleep: Waits for some seconds.
        now: A clock that never goes back, in seconds.

    Raises:
        RefusedCallError: The API server refused, or could not answer for this long.
    """
    deadline, pause = now() + seconds, _FIRST_PAUSE_SECONDS
    while True:
        try:
            return send()
        except RefusedCallError as error:
            # Without the random part, all clients that were refused together would come back together.
            wait = max(pause, error.retry_after or 0.0) * random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311 - no secret
            if not is_passing(error, method) or now() + wait > deadline:
                raise
        sleep(wait)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def call_method(method: Any, *arguments: object, **options: object) -> Any:  # noqa: ANN401 - the client has no types
    """Call a method of the package ``kubernetes``, such as ``CoreV1Api().read_namespaced_pod``, as `retry_call` does.

    Raises:
        RefusedCallError: The API server refused, or could not answer for `PATIENCE_SECONDS`.
    """
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - the client's package is imported already

    def send() -> Any:  # noqa: ANN401
        try:
            return method(*arguments, **options)
        except ApiException as error:
            raise read_refusal(error) from error

    return retry_call(send, "GET" if method.__name__.startswith("read_") else "POST")


def is_passing(error: RefusedCallError, method: str) -> bool:
    """Return whether the same call may succeed in a moment, and can be repeated without doing anything twice.

    Kubernetes answers 429 before it carries a call out, and so does a 503 that states when to come back (API conventions, HTTP
    status codes). After a 500 or 504, a write may have been carried out.
    """
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    if method not in READS:
        return error.status == HTTPStatus.SERVICE_UNAVAILABLE and error.retry_after is not None
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return any(text in error.message for text in _PASSING)
    return error.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
