"""The Seldon model class, which serves a release at ``POST /api/v1.0/predictions``.

Request: ``{"data": {"names": [columns], "ndarray": [[values], …]}}``. Answer: ``{"data": {"names": ["probability"], "ndarray":
[[p], …]}, "meta": {"tags": {"release": "sha256:…"}}}``. Status 4xx means that the request is wrong: it was refused before the
model was called. Status 500 means that the release failed. A rollout counts failures of the release only. It also asks at ``GET
/faults`` for the rejected requests, because stable may accept what a canary rejects.

The server serves the release in ``$SLUICE_RELEASE_FOLDER``, which must have the digest in ``$SLUICE_RELEASE_DIGEST``. The
deployment sets the digest, and the image never contains it.

A worker of its own (`serving.http_worker`) reads the requests. It limits their size and time, so that no client stops the others.

Four things make it faster than a plain Seldon class (measured by ``python -m benchmarks.serving``). Requests that wait at the
same time share one call of the model (`sluice.scoring.batching`). Connections stay open. An answer without custom metrics is not
reported to the process that collects metrics. The garbage collector ignores the objects that were loaded at the start. Each
request is still checked, answered and refused independently of the others.
"""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import flask  # type: ignore[import-not-found]  # only the serving environment has it
import gunicorn.config
import numpy as np
from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.gunicorn_utils import UserModelApplication
from seldon_core.metrics import SeldonMetrics
from seldon_core.proto.prediction_pb2 import SeldonMessage
from seldon_core.user_model import SeldonComponent
from seldon_core.utils import json_to_seldon_message, seldon_message_to_json
from werkzeug.exceptions import HTTPException

from serving.http_worker import EventWorker
from sluice.errors import DataError, RefusedError, ServiceError, SluiceError
from sluice.scoring.containers.server_containers import DIGEST_VARIABLE, FOLDER_VARIABLE, SILENCE_VARIABLE, START_VARIABLE
from sluice.scoring.faults import FAULTS_PATH, FAULTS_VARIABLE, MAX_BODY_BYTES, Faults, describe_kind
from sluice.scoring.recent_requests import (
    MAX_KEPT_ROWS,
    READER_VARIABLE,
    RECENT_PATH,
    RECENT_VARIABLE,
    RecentRequests,
    may_read,
)
from sluice.scoring.scorer import Scorer, load_scorer
from sluice.scoring.time_limits import STUCK_SECONDS, RunningCalls, SignsOfLife

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OUTPUT = "probability"
BAD_DATA = "MICROSERVICE_BAD_DATA"
BAD_OUTPUT = "MICROSERVICE_BAD_OUTPUT"
INVALID_OUTPUT = "invalid output"
INTERNAL_ERROR = "error in the server"
DEFAULT_START_SECONDS, DEFAULT_SILENCE_SECONDS = 600.0, 30
"""The time limits of a deployment that does not set them."""

WORKER_CANNOT_BOOT = 3
"""The exit status of a worker after which gunicorn stops. After any other status it starts the worker again without end."""

SWITCH_SECONDS = 0.0005
"""How long the model may keep the interpreter while another thread has an answer to write. Python's default is ten times this."""

logger = logging.getLogger("sluice.serving")


class ModelServer(SeldonComponent):  # type: ignore[misc]
    """A Seldon model that serves one release.

    Attributes:
        model_error_handler: Seldon's hook for errors of Flask. Without it Seldon answers them with status 500.
    """

    model_error_handler = flask.Blueprint("sluice", __name__)

    def __init__(self) -> None:
        """Load nothing yet, because Seldon creates the object before it forks and calls `load` in the worker."""
        super().__init__()
        _set_time_limits()
        logger.setLevel(logging.INFO)
        self._scorer: Scorer | None = None
        self._calls = RunningCalls()

    def load(self) -> None:
        """Verify, compare, load and test the release, or end the process.

        Raises:
            SystemExit: The release must not be served here. With some other exceptions, Seldon would assume a class without
                `load` and continue.
        """
        started = time.perf_counter()
        try:
            folder, digest = _read_variable(FOLDER_VARIABLE), _read_variable(DIGEST_VARIABLE)
            self._scorer = load_scorer(Path(folder), digest)
        except SluiceError as error:
            logger.critical("refused: %s. %s", error.message, error.hint)
            raise SystemExit(WORKER_CANNOT_BOOT) from None
        recent.start(int(os.environ.get(RECENT_VARIABLE) or 0))
        faults.start(os.environ.get(FAULTS_VARIABLE, ""), self._scorer.golden.names)
        _tune_interpreter()
        seconds = time.perf_counter() - started
        compared = "equal to the last bit" if self._scorer.exact else "equal within 1e-12, on another class of processor"
        rows = len(self._scorer.golden.rows)
        logger.info("release %s is ready after %.2f s: the answers to %d golden rows are %s", digest, seconds, rows, compared)
        if self._scorer.patch_level:
            logger.info("%s", self._scorer.patch_level)
        if self._scorer.batches:
            logger.info("requests that wait at the same time share one call of the model")
        else:
            logger.info("each request has its own call of the model, because other rows in a call change the answer to a row")

    def predict_raw(self, msg: Any) -> Any:  # noqa: ANN401 - parsed JSON or a protobuf message, and the same back
        """Answer a request, with the values as they were sent. For `predict`, Seldon would convert mixed rows to texts.

        Args:
            msg: The request as parsed JSON, or as a SeldonMessage that came over gRPC.

        Raises:
            AnswerError: The answer has status 400, 500 or 503, with the reason.
        """
        if isinstance(msg, SeldonMessage):
            return json_to_seldon_message(self._answer(seldon_message_to_json(msg)))
        return self._answer(msg)

    def class_names(self) -> list[str]:
        """Return the name of the only output."""
        return [OUTPUT]

    def tags(self) -> dict[str, str]:
        """Return the release that answers."""
        return {"release": self._loaded.digest}

    def health_status(self) -> list[str]:
        """Report that the server is ready. The worker answers only after `load`.

        Raises:
            AnswerError: A call of the model hangs, so the server must be replaced.
        """
        if (seconds := self._calls.find_longest()) > STUCK_SECONDS:
            what = f"the model has not answered a request for {seconds:.0f} s"
            raise AnswerError(what, status_code=HTTPStatus.SERVICE_UNAVAILABLE, reason=BAD_OUTPUT)
        return ["ready"] if self._loaded else []

    @property
    def _loaded(self) -> Scorer:
        if self._scorer is None:
            raise AnswerError("no release is loaded", status_code=HTTPStatus.SERVICE_UNAVAILABLE, reason=BAD_OUTPUT)
        return self._scorer

    def _answer(self, message: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
        names, rows, is_tensor = _read_request(message)
        found = self._score(names, rows)
        if self._loaded.batches or len(rows) <= MAX_KEPT_ROWS:  # otherwise the first rows alone would have other answers
            recent.add(names, rows, found)
        values = (
            {"tensor": {"shape": [len(found), 1], "values": found}} if is_tensor else {"ndarray": [[value] for value in found]}
        )
        return {"data": {"names": self.class_names(), **values}, "meta": _plan_meta(message, self.tags())}

    def _score(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[float]:
        try:
            with self._calls.track():
                return self._loaded.score(names, rows)
        except DataError as error:
            raise _bad_data(f"{error.message}. {error.hint}") from error
        except ServiceError as error:
            self._record_failure(error, names, rows)
            raise AnswerError(error.message, status_code=HTTPStatus.INTERNAL_SERVER_ERROR, reason=BAD_OUTPUT) from error

    def _record_failure(self, error: ServiceError, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Keep what failed, and log the first failure of each kind. The log contains no values of requests."""
        kind = describe_kind(error.__cause__) if error.__cause__ else INVALID_OUTPUT
        if faults.add_failure(kind, error.message, names, rows):
            logger.error("%s: %s", kind, faults.describe_first(kind))


class AnswerError(SeldonMicroserviceException):  # type: ignore[misc]
    """An answer with an error status. Seldon would log the text of its own exception, which contains values of the request."""


recent = RecentRequests()
"""The most recent requests of this process."""

faults = Faults()
"""What this process could not answer."""


def answer_recent() -> flask.Response:
    """Return the most recent requests. The status is 404 if none are kept, and 401 or 403 for others."""
    _refuse_others(is_enabled=recent.is_enabled)
    return flask.jsonify(recent.to_dict())


def answer_faults() -> flask.Response:
    """Return the faults. The status is 404 if none are kept, and 401 or 403 for others."""
    _refuse_others(is_enabled=faults.is_enabled)
    return flask.jsonify(faults.to_dict(flask.request.args.get("after", 0, int)))


def _refuse_others(*, is_enabled: bool) -> None:
    """End the request with status 404 if nothing is kept, 403 if it comes from a web page, and 401 without the reader's token.

    Seldon allows every web page to read every answer (CORS). A page of another site sends an Origin header. A page whose host
    name was bound to this server's address (DNS rebinding) sends that name as the host, but a rollout uses an IP address as the
    host.
    """
    if not is_enabled:
        flask.abort(HTTPStatus.NOT_FOUND)
    if "Origin" in flask.request.headers or not _is_address(flask.request.host):
        flask.abort(HTTPStatus.FORBIDDEN)
    sent = flask.request.authorization
    if not may_read(sent.password if sent else None, os.environ.get(READER_VARIABLE, "")):
        flask.abort(HTTPStatus.UNAUTHORIZED, "only the deployment may read requests: send the token that it made for this server")


def prepare_body() -> None:
    """Read a short body before anything parses it.

    A form cannot be read again once it is parsed, but Flask keeps a body that was read before.
    """
    if faults.is_enabled and 0 < (flask.request.content_length or 0) <= MAX_BODY_BYTES:
        flask.request.get_data()


def keep_rejected(response: flask.Response) -> flask.Response:
    """Keep a prediction request that is answered with a 4xx, and count an error of the server that has no other record."""
    if not faults.is_enabled or flask.request.method != "POST" or response.status_code < HTTPStatus.BAD_REQUEST:
        return response
    status = (response.get_json(silent=True) or {}).get("status", {})
    is_short = (flask.request.content_length or 0) <= MAX_BODY_BYTES
    body = flask.request.get_data() if is_short else b""
    if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        faults.add_rejected(body, flask.request.content_type or "", str(status.get("info", "")))
    elif status.get("reason") != BAD_OUTPUT:
        faults.add_error(INTERNAL_ERROR, str(status.get("info", "")), body)
    return response


def answer_error(error: AnswerError) -> tuple[flask.Response, int]:
    """Answer as Seldon does, but log nothing: the text contains values of the request."""
    return flask.jsonify(error.to_dict()), error.status_code


def _is_address(host: str) -> bool:
    """Return whether a Host header contains an IP address, with or without a port."""
    try:
        ipaddress.ip_address(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
    return True


def answer_http_error(error: HTTPException) -> tuple[flask.Response, int]:
    """Answer an error of Flask, such as an unknown path, as JSON with Flask's status."""
    return _plan_error(str(error.description), "MICROSERVICE_HTTP_ERROR"), error.code or HTTPStatus.INTERNAL_SERVER_ERROR


def answer_unreadable(error: Exception) -> tuple[flask.Response, int]:
    """Answer a body that cannot be read, for example a number of 5,000 digits, or lists in lists that nest too deeply.

    Only reading a request and writing an answer raise these errors here. What the model raises is a `ServiceError`.
    """
    return _plan_error(f"the request is not valid JSON: {error}", BAD_DATA), HTTPStatus.BAD_REQUEST


ModelServer.model_error_handler.route(RECENT_PATH)(answer_recent)
ModelServer.model_error_handler.route(FAULTS_PATH)(answer_faults)
ModelServer.model_error_handler.before_app_request(prepare_body)
ModelServer.model_error_handler.after_app_request(keep_rejected)
ModelServer.model_error_handler.app_errorhandler(HTTPException)(answer_http_error)
ModelServer.model_error_handler.app_errorhandler(AnswerError)(answer_error)
for _unreadable in (ValueError, RecursionError, OverflowError):
    ModelServer.model_error_handler.app_errorhandler(_unreadable)(answer_unreadable)


def _tune_interpreter() -> None:
    """Configure the interpreter for many short requests, after everything was loaded."""
    gc.freeze()  # otherwise a full garbage collection sometimes scans all libraries, and every request waits 0.15 s
    sys.setswitchinterval(SWITCH_SECONDS)


def _report_some(report: Callable[[SeldonMetrics, list[Any], str], None]) -> Callable[[SeldonMetrics, list[Any], str], None]:
    """Wrap Seldon's report of custom metrics, so that an answer without any is not reported. It costs six messages per answer."""

    def update(self: SeldonMetrics, custom_metrics: list[Any], method: str) -> None:
        if custom_metrics:
            report(self, custom_metrics, method)

    return update


SeldonMetrics.update = _report_some(SeldonMetrics.update)


def _take_no_commands() -> None:
    """Let gunicorn open no control socket, through which a process of the same user could change or stop the server.

    Versions before 25.1 have none. All servers of a user would also use the same path.
    """
    if hasattr(gunicorn.config, "ControlSocketDisable"):
        gunicorn.config.ControlSocketDisable.default = True


_take_no_commands()


def _read_variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise RefusedError(
            f"${name} is not set", hint="Deploy the release with `sluice serve` or `sluice rollout`, which set the variable."
        )
    return value


def _set_time_limits() -> None:
    """Give loading and answering limits of their own, and let `EventWorker` read the requests.

    Seldon makes the time limit of a request (``seldon.io/rest-timeout``) gunicorn's limit for a worker without a sign of life. A
    worker gives none while it loads, so a model that loads for longer would be killed and loaded again for ever. The proxy and
    the executor keep the limit of a request.
    """
    load_config, signs = UserModelApplication.load_config, SignsOfLife()
    start = float(os.environ.get(START_VARIABLE) or DEFAULT_START_SECONDS)
    silence = int(os.environ.get(SILENCE_VARIABLE) or DEFAULT_SILENCE_SECONDS)

    def load_config_with_limits(application: Any) -> None:  # noqa: ANN401 - gunicorn has no types
        load_config(application)
        settings, after_loading = application.cfg, application.cfg.post_worker_init

        def begin_loading(_server: object, worker: Any) -> None:  # noqa: ANN401
            signs.start(worker.tmp.fileno(), start)

        def end_loading(worker: object) -> None:
            signs.end()
            after_loading(worker)

        settings.set("worker_class", f"{EventWorker.__module__}.{EventWorker.__qualname__}")
        settings.set("timeout", silence)
        settings.set("post_fork", begin_loading)
        settings.set("post_worker_init", end_loading)

    UserModelApplication.load_config = load_config_with_limits


def _read_request(message: Any) -> tuple[list[str], list[Any], bool]:  # noqa: ANN401 - any JSON
    """Return the column names, the rows, and whether they came as a tensor."""
    data = message.get("data") if isinstance(message, dict) else None
    if not isinstance(data, dict):
        raise _bad_data('the request has no object "data": send {"data": {"names": […], "ndarray": [[…], …]}}')
    names = data.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _bad_data("data.names is not a list of column names")
    if "tensor" in data:
        return names, _read_tensor(data["tensor"]), True
    rows = data.get("ndarray")
    if not isinstance(rows, list):
        raise _bad_data("data.ndarray is not a list of rows")
    return names, rows, False


def _read_tensor(tensor: Any) -> list[Any]:  # noqa: ANN401 - parsed JSON
    """Return the rows of a tensor, which must have two dimensions."""
    try:
        rows = np.array(tensor["values"], dtype=np.float64).reshape(tensor["shape"])
    except (LookupError, OverflowError, TypeError, ValueError) as error:
        raise _bad_data(f"data.tensor cannot be read: {error}") from error
    if rows.ndim != 2:  # noqa: PLR2004 - rows and columns
        raise _bad_data(f"data.tensor has the shape {tensor['shape']}, but it must have rows and columns")
    return [[None if np.isnan(value) else value for value in row] for row in rows.tolist()]


def _plan_meta(message: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    meta = message.get("meta")
    sent = meta if isinstance(meta, dict) else {}
    outer = sent.get("tags")
    kept = {"puid": sent["puid"]} if isinstance(sent.get("puid"), str) else {}
    return kept | {"tags": (outer if isinstance(outer, dict) else {}) | tags}


def _plan_error(info: str, reason: str) -> flask.Response:
    return flask.jsonify({"status": {"status": 1, "info": info, "code": -1, "reason": reason}})


def _bad_data(info: str) -> AnswerError:
    return AnswerError(info, status_code=HTTPStatus.BAD_REQUEST, reason=BAD_DATA)
