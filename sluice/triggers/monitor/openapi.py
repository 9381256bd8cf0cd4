"""The OpenAPI document of the monitor."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from sluice import __version__
from sluice.triggers.answers import ERROR_SCHEMA, describe_answers
from sluice.triggers.monitor.events import BATCH_TYPE, STRUCTURED_TYPE

_STATE = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}, "additionalProperties": False}
_ACCEPTED = {
    "type": "object",
    "required": ["accepted", "ignored"],
    "properties": {"accepted": {"type": "integer", "minimum": 0}, "ignored": {"type": "integer", "minimum": 0}},
    "additionalProperties": False,
}
_EVENT = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1, "maxLength": 500},
        "source": {"type": "string", "minLength": 1, "maxLength": 500},
        "type": {"type": "string", "minLength": 1},
        "data": {},
    },
}


def describe_monitor() -> dict[str, Any]:
    """Return the document."""
    text = {"schema": {"type": "string"}}
    needed = [{"name": name, "in": "header", **text} for name in ("ce-specversion", "ce-id", "ce-source", "ce-type")]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sluice drift monitor", "version": __version__},
        "components": {"schemas": {"Error": ERROR_SCHEMA}},
        "paths": {
            "/events": {
                "post": {
                    "summary": "Take CloudEvents of Seldon's request log.",
                    "description": "Binary events have their attributes in the headers ce-…, and others in the body.",
                    "parameters": needed,
                    "requestBody": {
                        "required": True,
                        "content": {
                            STRUCTURED_TYPE: {"schema": _EVENT},
                            BATCH_TYPE: {"schema": {"type": "array", "items": _EVENT}},
                            "application/json": {"schema": {}},
                        },
                    },
                    "responses": describe_answers(
                        {
                            HTTPStatus.ACCEPTED: ("The events will be counted.", _ACCEPTED),
                            HTTPStatus.BAD_REQUEST: ("This is no CloudEvent of version 1.0.", None),
                            HTTPStatus.REQUEST_TIMEOUT: ("The body did not arrive in time.", None),
                            HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("The body is too large.", None),
                            HTTPStatus.SERVICE_UNAVAILABLE: ("There is no reference yet, or too many events wait.", None),
                        }
                    ),
                }
            },
            "/healthz": {"get": {"summary": "Say whether the loop continues.", "responses": _describe_health()}},
            "/readyz": {"get": {"summary": "Say whether events can be counted.", "responses": _describe_health()}},
        },
    }


def _describe_health() -> dict[str, Any]:
    return describe_answers({HTTPStatus.OK: ("Yes.", _STATE), HTTPStatus.SERVICE_UNAVAILABLE: ("No.", _STATE)})
