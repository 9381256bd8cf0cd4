"""The Seldon model class: a release behind ``POST /api/v1.0/predictions``.

Request: ``{"data": {"names": [columns], "ndarray": [[values], …]}}``; answer: ``{"data": {"names": ["probability"], "ndarray":
[[p], …]}, "meta": {"tags": {"release": "sha256:…"}}}``. 400 is the caller's fault, 500 the release's: a rollout counts both.

It serves the release in ``$SLUICE_RELEASE_FOLDER``, which must have the digest in ``$SLUICE_RELEASE_DIGEST``. The digest comes
from who deploys, never from the image.

Where it is quicker than a plain Seldon class (``python -m benchmarks.serving``): requests that wait at the same time are asked in
one call of the model (`sluice.scoring.batching`), connections stay open, an answer without metrics of its own is not reported to
the process that keeps them, and what was loaded is not searched for garbage. Each request is still checked, answered and refused
by itself.
"""

from __future__ import annotations

import gc
import ipaddress
import json
import logging
import os
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import flask  # type: ignore[import-not-found]  # only the serving environment has it
import numpy as np
from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.metrics import SeldonMetrics
from seldon_core.proto.prediction_pb2 import SeldonMessage
from seldon_core.user_model import SeldonComponent
from seldon_core.utils import json_to_seldon_message, seldon_message_to_json
from werkzeug.exceptions import HTTPException  # type: ignore[import-not-found]

from sluice.errors import DataError, RefusedError, ServiceError, SluiceError
from sluice.scoring.recent_requests import MOST_ROWS, RECENT_PATH, RECENT_VARIABLE, RecentRequests
from sluice.scoring.scorer import DIGEST_VARIABLE, FOLDER_VARIABLE, Scorer, load_scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OUTPUT = "probability"
BAD_DATA = "MICROSERVICE_BAD_DATA"
BAD_OUTPUT = "MICROSERVICE_BAD_OUTPUT"
WORKER_CANNOT_BOOT = 3
"""The status upon which gunicorn gives up; after any other it starts the worker again, for ever."""

SWITCH_SECONDS = 0.0005
"""How long the model may keep the interpreter from a thread that has an answer to write: a tenth of what Python allows it."""

logger = logging.getLogger("sluice.serving")


class ModelServer(SeldonComponent):  # type: ignore[misc]
    """Serves one release.

    Attributes:
        model_error_handler: Seldon's hook for errors of Flask, which it answers with 500 otherwise.
    """

    model_error_handler = flask.Blueprint("sluice", __name__)

    def __init__(self) -> None:
        """Nothing is loaded yet: Seldon makes the object before it forks, and calls `load` in the worker."""
        super().__init__()
        logger.setLevel(logging.INFO)
        self._scorer: Scorer | None = None

    def load(self) -> None:
        """Verify, compare, load and try the release, or end the process.

        Raises:
            SystemExit: The release must not be served here. Seldon would take some exceptions for a class without `load`, and
                serve on.
        """
        started = time.perf_counter()
        try:
            folder, digest = _read_variable(FOLDER_VARIABLE), _read_variable(DIGEST_VARIABLE)
            self._scorer = load_scorer(Path(folder), digest)
        except SluiceError as error:
            logger.critical("refused: %s. %s", error.message, error.hint)
            raise SystemExit(WORKER_CANNOT_BOOT) from None
        recent.begin(int(os.environ.get(RECENT_VARIABLE) or 0))
        _favour_short_waits()
        seconds = time.perf_counter() - started
        compared = "equal to the last bit" if self._scorer.exact else "equal within 1e-12, on another class of processor"
        rows = len(self._scorer.golden.rows)
        asked = "in one call" if self._scorer.joins else "one by one, since the model answers a row otherwise amid others"
        logger.info("release %s is ready in %.2f s: %d golden rows %s", digest, seconds, rows, compared)
        logger.info("requests that wait at the same time are asked %s", asked)

    def predict_raw(self, msg: Any) -> Any:  # noqa: ANN401 - parsed JSON or a protobuf message, and the same back
        """Answer a request with the values as they were sent: for `predict`, Seldon would make texts of mixed rows.

        Args:
            msg: A request in JSON, or a SeldonMessage that came over gRPC.

        Raises:
            SeldonMicroserviceException: 400 or 500, with the reason.
        """
        if isinstance(msg, SeldonMessage):
            return json_to_seldon_message(self._answer(seldon_message_to_json(msg)))
        return self._answer(msg)

    def class_names(self) -> list[str]:
        """Name of the one output."""
        return [OUTPUT]

    def tags(self) -> dict[str, str]:
        """Which release answered."""
        return {"release": self._loaded.digest}

    def health_status(self) -> list[str]:
        """Ready: the worker answers only after `load`."""
        return ["ready"] if self._loaded else []

    @property
    def _loaded(self) -> Scorer:
        if self._scorer is None:
            raise SeldonMicroserviceException(
                "no release is loaded", status_code=HTTPStatus.SERVICE_UNAVAILABLE, reason=BAD_OUTPUT
            )
        return self._scorer

    def _answer(self, message: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
        names, rows, is_tensor = _read_request(message)
        found = self._score(names, rows)
        if self._loaded.joins or len(rows) <= MOST_ROWS:  # else the beginning of a long request has other answers by itself
            recent.add(names, rows, found)
        values = (
            {"tensor": {"shape": [len(found), 1], "values": found}} if is_tensor else {"ndarray": [[value] for value in found]}
        )
        return {"data": {"names": self.class_names(), **values}, "meta": _plan_meta(message, self.tags())}

    def _score(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[float]:
        try:
            return self._loaded.score(names, rows)
        except DataError as error:
            raise _bad_data(f"{error.message}. {error.hint}") from error
        except ServiceError as error:
            raise SeldonMicroserviceException(
                error.message, status_code=HTTPStatus.INTERNAL_SERVER_ERROR, reason=BAD_OUTPUT
            ) from error


recent = RecentRequests()
"""Of this process."""


def answer_recent() -> flask.Response:
    """The requests that were answered last; 404 where none are kept, and 403 for a browser's page.

    Seldon lets any page read any answer. A page of another site names its origin; one whose name was bound to this address names
    itself as the host, where who rolls out names an address.
    """
    if not recent.keeps:
        flask.abort(HTTPStatus.NOT_FOUND)
    if "Origin" in flask.request.headers or not _is_address(flask.request.host):
        flask.abort(HTTPStatus.FORBIDDEN)
    return flask.jsonify(recent.to_dict())


def _is_address(host: str) -> bool:
    """Whether a Host header has an IP address, with or without a port."""
    try:
        ipaddress.ip_address(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
    return True


def answer_http_error(error: HTTPException) -> tuple[flask.Response, int]:
    """An error of Flask's own, such as an unknown path, with its code and as JSON."""
    return _plan_error(str(error.description), "MICROSERVICE_HTTP_ERROR"), error.code or HTTPStatus.INTERNAL_SERVER_ERROR


def answer_undecodable(error: ValueError) -> tuple[flask.Response, int]:
    """A body that Seldon cannot decode: text that is no JSON in a form field, or bytes that are no text."""
    if not isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return _plan_error(str(error), "MICROSERVICE_INTERNAL_ERROR"), HTTPStatus.INTERNAL_SERVER_ERROR
    return _plan_error(f"the request is no JSON: {error}", BAD_DATA), HTTPStatus.BAD_REQUEST


ModelServer.model_error_handler.route(RECENT_PATH)(answer_recent)
ModelServer.model_error_handler.app_errorhandler(HTTPException)(answer_http_error)
ModelServer.model_error_handler.app_errorhandler(ValueError)(answer_undecodable)


def _favour_short_waits() -> None:
    """Settings of the interpreter for many short requests, once everything is loaded."""
    gc.freeze()  # else a full collection now and then goes through all libraries, and every request waits 0.15 s
    sys.setswitchinterval(SWITCH_SECONDS)


def _report_some(report: Callable[[SeldonMetrics, list[Any], str], None]) -> Callable[[SeldonMetrics, list[Any], str], None]:
    """Seldon's report of an answer's own metrics, left out where there are none: it costs six messages between processes."""

    def update(self: SeldonMetrics, custom_metrics: list[Any], method: str) -> None:
        if custom_metrics:
            report(self, custom_metrics, method)

    return update


SeldonMetrics.update = _report_some(SeldonMetrics.update)


def _read_variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise RefusedError(f"${name} is not set", hint="Deploy a release: `sluice serve` or `sluice rollout` set it.")
    return value


def _read_request(message: Any) -> tuple[list[str], list[Any], bool]:  # noqa: ANN401 - any JSON
    """Column names, rows, and whether they came as a tensor."""
    data = message.get("data") if isinstance(message, dict) else None
    if not isinstance(data, dict):
        raise _bad_data('the request has no table "data": send {"data": {"names": […], "ndarray": [[…], …]}}')
    names = data.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _bad_data("data.names is no list of column names")
    if "tensor" in data:
        return names, _read_tensor(data["tensor"]), True
    rows = data.get("ndarray")
    if not isinstance(rows, list):
        raise _bad_data("data.ndarray is no list of rows")
    return names, rows, False


def _read_tensor(tensor: Any) -> list[Any]:  # noqa: ANN401 - parsed JSON
    """Rows of a tensor: numbers with a shape of two."""
    try:
        rows = np.array(tensor["values"], dtype=np.float64).reshape(tensor["shape"])
    except (LookupError, TypeError, ValueError) as error:
        raise _bad_data(f"data.tensor cannot be read: {error}") from error
    if rows.ndim != 2:  # noqa: PLR2004 - rows and columns
        raise _bad_data(f"data.tensor has the shape {tensor['shape']}, not rows and columns")
    return [[None if np.isnan(value) else value for value in row] for row in rows.tolist()]


def _plan_meta(message: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    meta = message.get("meta")
    sent = meta if isinstance(meta, dict) else {}
    outer = sent.get("tags")
    kept = {"puid": sent["puid"]} if isinstance(sent.get("puid"), str) else {}
    return kept | {"tags": (outer if isinstance(outer, dict) else {}) | tags}


def _plan_error(info: str, reason: str) -> flask.Response:
    return flask.jsonify({"status": {"status": 1, "info": info, "code": -1, "reason": reason}})


def _bad_data(info: str) -> SeldonMicroserviceException:
    return SeldonMicroserviceException(info, status_code=HTTPStatus.BAD_REQUEST, reason=BAD_DATA)
