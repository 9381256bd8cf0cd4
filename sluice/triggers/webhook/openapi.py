"""The OpenAPI document of the webhook."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from sluice import __version__
from sluice.triggers.answers import ERROR_SCHEMA, describe_answers
from sluice.triggers.webhook.bodies import BODIES, StartedBody
from sluice.triggers.webhook.signatures import CLIENT, IDEMPOTENCY_KEY, TIME

_STATE = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}, "additionalProperties": False}
_REASONS = {
    HTTPStatus.BAD_REQUEST: "`query`: the address has a query.",
    HTTPStatus.UNAUTHORIZED: "`headers`, `signature` or `clock`: the message is not signed as it must be.",
    HTTPStatus.REQUEST_TIMEOUT: "`too_slow`: the body did not arrive in time.",
    HTTPStatus.CONFLICT: "`replayed`: the same message was sent before.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "`too_large`: the body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "`media_type`: the body is not application/json.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "`body` or `key_reused`: a field is unknown or wrong, or the key had another body.",
    HTTPStatus.TOO_MANY_REQUESTS: "`rate` or `weekly_runs`: too many requests in a minute, or runs in a week. See Retry-After.",
    HTTPStatus.SERVICE_UNAVAILABLE: "`not_started`: the engine or the store failed. Send again with the same idempotency key.",
}


def describe_webhook() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sluice webhook", "version": __version__},
        "components": {"schemas": {"Error": ERROR_SCHEMA}},
        "paths": {
            **{f"/events/{kind}": {"post": _describe_event(kind)} for kind in BODIES},
            **{
                path: {"get": {"summary": what, "responses": _describe_health()}}
                for path, what in (
                    ("/healthz", "Say whether the service answers."),
                    ("/readyz", "Say whether it can start runs."),
                )
            },
        },
    }


def _describe_event(kind: str) -> dict[str, Any]:
    patterns = {
        "Sluice-Client": CLIENT.pattern,
        "Sluice-Timestamp": TIME.pattern,
        "Idempotency-Key": IDEMPOTENCY_KEY.pattern,
        "Sluice-Signature": "v1=[0-9a-f]{64}",
    }
    answers: dict[HTTPStatus, tuple[str, Any]] = {
        HTTPStatus.ACCEPTED: (
            "A run was started, now or with an earlier message of the same key.",
            StartedBody.model_json_schema(),
        )
    }
    return {
        "summary": f"Start a retraining because of {kind}.",
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string", "pattern": f"^{pattern}$"}}
            for name, pattern in patterns.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": BODIES[kind].model_json_schema()}}},
        "responses": describe_answers(answers | {status: (text, None) for status, text in _REASONS.items()}),
    }


def _describe_health() -> dict[str, Any]:
    return describe_answers({HTTPStatus.OK: ("Yes.", _STATE), HTTPStatus.SERVICE_UNAVAILABLE: ("No.", _STATE)})
