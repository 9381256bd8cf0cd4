"""The HTTP side of the monitor: ``POST /events``, ``/metrics``, ``/healthz``, ``/readyz`` and ``/openapi.json``."""

from __future__ import annotations

import contextlib
import gc
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sluice.triggers.answers import AnswerError, answer_error, answer_failure
from sluice.triggers.http_protocol import ShortWay
from sluice.triggers.http_server import BodyTooLargeError, BodyTooSlowError, ClientLeftError, open_socket, read_body, serve
from sluice.triggers.monitor.events import BadEventError, read_arrival
from sluice.triggers.monitor.metrics import MonitorMetrics
from sluice.triggers.monitor.openapi import describe_monitor
from sluice.triggers.monitor.polling import poll
from sluice.triggers.monitor.references import find_reference
from sluice.triggers.monitor.watching import Monitor
from sluice.triggers.service_logs import start_logs
from sluice.triggers.starters import open_starter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from sluice.project.projects import Project

EVENTS_PATH = "/events"
_JSON = {"content-type": "application/json"}
_COLLECT_AFTER = 100_000
"""New objects between two runs of the garbage collector. The default of 700 would start it for every few events."""

BODY_SECONDS = 10.0
"""Time in which a body must arrive."""


class MonitorApp:
    """The ASGI application. Events take a short way, because there are many of them; Starlette answers everything else."""

    def __init__(self, monitor: Monitor) -> None:
        """Bind the monitor."""
        self.monitor, self._rest = monitor, _build_rest(monitor)
        self._most_bytes = monitor.settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["path"] == EVENTS_PATH and scope["method"] == "POST":
            with contextlib.suppress(ClientLeftError):
                await self._take_events(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    @property
    def short_way(self) -> ShortWay:
        """The way of plain requests."""
        return ShortWay(EVENTS_PATH.encode(), self._most_bytes, self._answer)

    async def _take_events(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        try:
            body = await read_body(receive, headers, most_bytes=self._most_bytes, seconds=BODY_SECONDS)
        except (BodyTooLargeError, BodyTooSlowError) as error:
            self.monitor.metrics.add_events("refused")
            await _describe(error).to_response()(scope, receive, send)
            return
        status, shown, content = self._answer(headers, body)
        await Response(content, status, headers=shown)(scope, receive, send)

    def _answer(self, headers: Mapping[bytes, bytes], body: bytes) -> tuple[HTTPStatus, Mapping[str, str], bytes]:
        """Take the events of one request, and return the status, the headers and the body of the answer."""
        try:
            arrival = read_arrival(headers, body)
            if not self.monitor.put(arrival.events, len(body)):
                self.monitor.metrics.add_events("refused", len(arrival.events))
                return _write(_refuse(is_ready=self.monitor.is_ready))
        except BadEventError as error:
            self.monitor.metrics.add_events("refused")
            return _write(_describe(error))
        if arrival.ignored:
            self.monitor.metrics.add_events("ignored", arrival.ignored)
        return HTTPStatus.ACCEPTED, _JSON, b'{"accepted":%d,"ignored":%d}' % (len(arrival.events), arrival.ignored)


def _write(error: AnswerError) -> tuple[HTTPStatus, Mapping[str, str], bytes]:
    return error.status, {**_JSON, **error.headers}, bytes(error.to_response().body)


def _refuse(*, is_ready: bool) -> AnswerError:
    """Return the answer to events that cannot be taken now."""
    return AnswerError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "busy" if is_ready else "no_reference",
        "too many events wait" if is_ready else "there is no reference yet",
        hint="Send the events again later.",
        headers={"retry-after": "1"},
    )


def _describe(error: Exception) -> AnswerError:
    """Return the answer to a request that brought no event."""
    if isinstance(error, BodyTooLargeError):
        return AnswerError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", "the body is too large", headers={"connection": "close"}
        )
    if isinstance(error, BodyTooSlowError):
        return AnswerError(
            HTTPStatus.REQUEST_TIMEOUT, "too_slow", "the body did not arrive in time", headers={"connection": "close"}
        )
    return AnswerError(HTTPStatus.BAD_REQUEST, "no_event", str(error), hint="Send CloudEvents 1.0 over HTTP.")


def _build_rest(monitor: Monitor) -> ASGIApp:
    async def show_health(_: Request) -> Response:
        return _show_state("alive" if monitor.is_alive else "stalled", good=monitor.is_alive)

    async def show_readiness(_: Request) -> Response:
        return _show_state("ready" if monitor.is_ready else "no reference", good=monitor.is_ready)

    async def show_metrics(_: Request) -> Response:
        return Response(generate_latest(monitor.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def show_document(_: Request) -> Response:
        return JSONResponse(describe_monitor())

    async def refuse_method(_: Request) -> Response:
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"allow": "POST"})

    @contextlib.asynccontextmanager
    async def run_loops(_: Starlette) -> AsyncIterator[None]:
        stopping = threading.Event()
        threads = [threading.Thread(target=monitor.run, args=(stopping,), name="monitor")]
        if monitor.settings.poll:
            arguments = (monitor, monitor.settings.poll, monitor.settings.poll_seconds, stopping)
            threads.append(threading.Thread(target=poll, args=arguments, name="poll"))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopping.set()
            for thread in threads:
                thread.join()

    shown: dict[str, Callable[[Request], Any]] = {
        "/healthz": show_health,
        "/readyz": show_readiness,
        "/metrics": show_metrics,
        "/openapi.json": show_document,
    }
    return Starlette(
        routes=[*(Route(path, answer) for path, answer in shown.items()), Route(EVENTS_PATH, refuse_method)],
        exception_handlers={HTTPException: answer_error, Exception: answer_failure},
        lifespan=run_loops,
    )


def _show_state(status: str, *, good: bool) -> Response:
    return JSONResponse({"status": status}, HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)


def run_monitor(project: Project, port: int | None = None, *, notify: Callable[[str], object]) -> None:
    """Run the monitor until SIGTERM or ctrl-C.

    Args:
        project: The project.
        port: The port; None for that of the settings; 0 for any free one.
        notify: Called with one line that names the port.

    Raises:
        UsageError: The settings name no engine that exists.
        DataError: The state is damaged.
        PortInUseError: The port cannot be used.
    """
    starter = open_starter(project, project.settings.monitor.engine)
    monitor = Monitor(project, find_reference(project), starter, MonitorMetrics())
    listening = open_socket(project.settings.monitor.port if port is None else port)
    notify(f"monitor on port {listening.getsockname()[1]}")
    start_logs()
    app = MonitorApp(monitor)
    gc.freeze()  # the objects that were loaded at the start stay, and events leave no cycles behind
    gc.set_threshold(_COLLECT_AFTER)
    serve(app, listening, name="monitor", short_way=app.short_way)
