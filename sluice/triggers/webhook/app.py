"""The HTTP side of the webhook: ``POST /events/drift`` and ``/events/code``, ``/metrics`` and what a service shows."""

from __future__ import annotations

import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sluice.errors import ConfigurationError, SluiceError
from sluice.triggers.answers import AnswerError, answer_error, answer_failure
from sluice.triggers.http_server import BodyTooLargeError, BodyTooSlowError, ClientLeftError, open_socket, read_body, serve
from sluice.triggers.service_logs import log, start_logs
from sluice.triggers.starters import open_starter
from sluice.triggers.webhook.admission import Message, Webhook, refuse_rate
from sluice.triggers.webhook.bodies import BODIES
from sluice.triggers.webhook.keys import find_keys
from sluice.triggers.webhook.metrics import ACCEPTED
from sluice.triggers.webhook.openapi import describe_webhook
from sluice.triggers.webhook.rates import RateLimit
from sluice.triggers.webhook.storage import Storage, find_store_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from sluice.project.projects import Project
    from sluice.triggers.webhook.metrics import WebhookMetrics

_JSON = "application/json"


def build_app(webhook: Webhook) -> Starlette:
    """Return the ASGI application."""
    peers = RateLimit(webhook.settings.requests_per_minute, time.monotonic)

    async def show_health(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def show_readiness(_: Request) -> Response:
        try:
            await run_in_threadpool(webhook.check)
        except SluiceError as error:
            log("not ready", reason=error.message)
            return JSONResponse({"status": "not ready"}, HTTPStatus.SERVICE_UNAVAILABLE)
        return JSONResponse({"status": "ready"})

    async def show_metrics(_: Request) -> Response:
        return Response(generate_latest(webhook.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def show_document(_: Request) -> Response:
        return JSONResponse(describe_webhook())

    return Starlette(
        routes=[
            *(
                Route(
                    f"/events/{kind}",
                    _record_answer(webhook.metrics, kind, partial(_take_event, webhook, peers, kind)),
                    methods=["POST"],
                )
                for kind in BODIES
            ),
            Route("/healthz", show_health),
            Route("/readyz", show_readiness),
            Route("/metrics", show_metrics),
            Route("/openapi.json", show_document),
        ],
        exception_handlers={AnswerError: answer_error, HTTPException: answer_error, Exception: answer_failure},
    )


async def _take_event(webhook: Webhook, peers: RateLimit, kind: str, request: Request) -> Response:
    """Answer a message. What costs least is checked first."""
    if wait := peers.take(request.client.host if request.client else ""):
        raise refuse_rate(wait)
    if request.url.query:
        raise AnswerError(HTTPStatus.BAD_REQUEST, "query", "the address has a query, which nobody signed")
    headers = {name: value for name, value in request.headers.items() if len(request.headers.getlist(name)) == 1}
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON or "content-encoding" in headers:
        raise AnswerError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media_type", "the body must be application/json, and not be compressed"
        )
    body = await _read(webhook, request)
    message = Message(kind, request.url.path, headers, body)
    return JSONResponse(await run_in_threadpool(webhook.answer, message), HTTPStatus.ACCEPTED)


async def _read(webhook: Webhook, request: Request) -> bytes:
    limit, seconds = webhook.settings.max_body_bytes, webhook.settings.body_seconds
    close = {"connection": "close"}
    try:
        return await read_body(request.receive, dict(request.scope["headers"]), most_bytes=limit, seconds=seconds)
    except BodyTooLargeError:
        text = f"the body has more than {limit} bytes"
        raise AnswerError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", text, headers=close) from None
    except (BodyTooSlowError, ClientLeftError):
        text = f"the body did not arrive in {seconds:g} s"
        raise AnswerError(HTTPStatus.REQUEST_TIMEOUT, "too_slow", text, headers=close) from None


def _record_answer(
    metrics: WebhookMetrics, kind: str, answer: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """Log the status, the code and the time of each answer, and count it."""

    async def answer_and_record(request: Request) -> Response:
        started = time.perf_counter()
        status, code = HTTPStatus.INTERNAL_SERVER_ERROR.value, "unexpected"
        try:
            response = await answer(request)
            status, code = response.status_code, ""
        except AnswerError as error:
            status, code = error.status.value, error.code
            raise
        finally:
            metrics.add_message(kind, code or ACCEPTED)
            log("answered", kind=kind, status=status, code=code, seconds=round(time.perf_counter() - started, 4))
        return response

    return answer_and_record


def run_webhook(project: Project, port: int | None = None, *, notify: Callable[[str], object]) -> None:
    """Run the webhook until SIGTERM or ctrl-C.

    Args:
        project: The project.
        port: The port; None for that of the settings; 0 for any free one.
        notify: Called with one line that names the port.

    Raises:
        ConfigurationError: The settings name no audience, no keys, or no engine that exists.
        DataError: A key or the store cannot be used.
        PortInUseError: The port cannot be used.
        ServiceError: The store cannot be opened.
    """
    settings = project.settings.webhook
    if not settings.audience:
        raise ConfigurationError(
            "webhook.audience is not set, so a message for another webhook would be accepted",
            hint="Set it to a name that only this webhook has, for example its URL.",
        )
    keys = find_keys(project)
    starter = open_starter(project, settings.engine)
    storage = Storage(find_store_file(project))
    listening = open_socket(settings.port if port is None else port)
    notify(f"webhook on port {listening.getsockname()[1]}")
    start_logs()
    try:
        serve(build_app(Webhook(project, keys, storage, starter)), listening, name="webhook")
    finally:
        storage.close()
