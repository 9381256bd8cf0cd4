"""The JSON answers that both services have in common. An error is ``{"error": {"code": …, "message": …, "hint": …}}``."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from sluice.triggers.service_logs import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "string", "description": "A word for programs. It does not change."},
                "message": {"type": "string", "description": "What happened."},
                "hint": {"type": "string", "description": "What to do next; empty if there is no advice."},
            },
        }
    },
}
"""JSON Schema of an error."""

_CODES = {HTTPStatus.NOT_FOUND: ("not_found", "there is nothing at this path"), HTTPStatus.METHOD_NOT_ALLOWED: ("method", "")}


class AnswerError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: Status of HTTP.
        code: A word for programs.
        message: What happened, without values of the request.
        hint: What to do next.
        headers: Further headers.
    """

    def __init__(
        self, status: HTTPStatus, code: str, message: str, *, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Keep the parts of the answer."""
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.headers = dict(headers or {})

    def to_response(self) -> JSONResponse:
        """Return the answer."""
        error = {"code": self.code, "message": self.message, "hint": self.hint}
        return JSONResponse({"error": error}, self.status, headers=self.headers)


def answer_error(_: Request, error: Exception) -> JSONResponse:
    """Return the answer to an `AnswerError`, or to a request for a wrong path or method."""
    if isinstance(error, AnswerError):
        return error.to_response()
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        code, message = _CODES.get(status, (status.phrase.lower().replace(" ", "_"), ""))
        shown = AnswerError(
            status,
            code,
            message or status.description.lower(),
            hint="/openapi.json lists paths and methods.",
            headers=error.headers,
        )
        return shown.to_response()
    return answer_failure(_, error)


def answer_failure(_: Request, error: Exception) -> JSONResponse:
    """Return the answer after an unexpected error. The log has its type and its traceback's last line, without values."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else ""
    logger.error("unexpected error", extra={"fields": {"error": type(error).__name__, "place": where}})
    shown = AnswerError(
        HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected", "an unexpected error occurred", hint="The log of the service names it."
    )
    return shown.to_response()


def describe_answers(answers: Mapping[HTTPStatus, tuple[str, Any]]) -> dict[str, Any]:
    """Return the ``responses`` of an operation for an OpenAPI document.

    Args:
        answers: Status → when it is given, and the JSON Schema of the answer; None for the schema of an error.
    """
    return {
        str(status.value): {
            "description": text,
            "content": {"application/json": {"schema": schema or {"$ref": "#/components/schemas/Error"}}},
        }
        for status, (text, schema) in answers.items()
    }
