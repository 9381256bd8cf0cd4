"""CloudEvents 1.0 over HTTP, as Seldon's request log sends them: binary (attributes in headers), structured, or a batch.

Seldon Core 1.17.1 sends binary events (executor/logger/worker.go). Their type says whether the data is a request, an answer or
feedback. The attributes of CloudEvents are at https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_TYPE = "io.seldon.serving.inference.request"
"""The type of an event whose data is a request to the model. All others are accepted and not counted."""

STRUCTURED_TYPE, BATCH_TYPE = "application/cloudevents+json", "application/cloudevents-batch+json"
MOST_EVENTS = 10_000
"""The most events of one batch."""

_LONGEST_ATTRIBUTE = 1024


class BadEventError(Exception):
    """What was sent is no CloudEvent. The text has no values of the event."""


@dataclass(frozen=True, slots=True)
class Event:
    """One request in the log.

    Attributes:
        identity: Hash of the source and the id, which together identify an event.
        data: The body of the request: as bytes that are not parsed yet, or parsed.
    """

    identity: int
    data: bytes | Any


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one HTTP request brought.

    Attributes:
        events: The requests of the log.
        ignored: Number of events that are no requests.
    """

    events: tuple[Event, ...]
    ignored: int


def read_arrival(headers: Mapping[bytes, bytes], body: bytes) -> Arrival:
    """Read the events of one HTTP request. The data of binary events is not parsed.

    Args:
        headers: The HTTP headers, with lower-case names.
        body: The HTTP body.

    Raises:
        BadEventError: It is no CloudEvent of version 1.0, or a batch has too many.
    """
    content = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    if content == BATCH_TYPE:
        found = _parse(body)
        if not isinstance(found, list):
            raise BadEventError("a batch must be a list of events")
        if len(found) > MOST_EVENTS:
            raise BadEventError(f"the batch has {len(found)} events, and {MOST_EVENTS} are allowed")
        events = [_read_structured(one) for one in found]
    elif content == STRUCTURED_TYPE:
        events = [_read_structured(_parse(body))]
    else:
        events = [_read_binary(headers, body)]
    kept = tuple(event for event in events if event is not None)
    return Arrival(kept, len(events) - len(kept))


def _read_binary(headers: Mapping[bytes, bytes], body: bytes) -> Event | None:
    if headers.get(b"ce-specversion") != b"1.0":
        raise BadEventError("the header ce-specversion must be 1.0")
    name, source, kind = headers.get(b"ce-id", b""), headers.get(b"ce-source", b""), headers.get(b"ce-type", b"")
    if not name or not source or not kind or len(name) + len(source) > _LONGEST_ATTRIBUTE:
        raise BadEventError("the headers ce-id, ce-source and ce-type must be set, and not be long")
    return Event(hash((source, name)), body) if kind == REQUEST_TYPE.encode() else None


def _read_structured(found: Any) -> Event | None:  # noqa: ANN401 - any JSON
    if not isinstance(found, dict) or found.get("specversion") != "1.0":
        raise BadEventError("an event must be an object with specversion 1.0")
    name, source, kind = (found.get(key) for key in ("id", "source", "type"))
    if not (isinstance(name, str) and isinstance(source, str) and isinstance(kind, str) and name and source and kind):
        raise BadEventError("an event must have an id, a source and a type")
    if len(name) + len(source) > _LONGEST_ATTRIBUTE:
        raise BadEventError("the id and the source of an event must not be long")
    if kind != REQUEST_TYPE:
        return None
    identity = hash((source.encode("utf-8", "replace"), name.encode("utf-8", "replace")))
    if "data_base64" in found:
        try:
            return Event(identity, base64.b64decode(found["data_base64"], validate=True))
        except (binascii.Error, TypeError, ValueError):
            raise BadEventError("data_base64 must be text in base64") from None
    data = found.get("data")
    return Event(identity, data.encode("utf-8", "replace") if isinstance(data, str) else data)


def _parse(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadEventError("the body is not JSON") from None
