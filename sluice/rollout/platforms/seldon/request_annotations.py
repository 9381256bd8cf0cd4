"""The annotations in which others than the controller write one request and one command. Pure.

The journal says which of them the controller has taken: a request by its id, a command by its time. Therefore an annotation may
stay after the controller has acted on it, until the next one replaces it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from sluice.project.tables.rollout import are_canary_steps
from sluice.rollout.decisions.states import Command, Journal, Request
from sluice.rollout.decisions.transitions import begin

if TYPE_CHECKING:
    from collections.abc import Mapping

JOURNAL_ANNOTATION = "sluice.dev/journal"
REQUEST_ANNOTATION, COMMAND_ANNOTATION = "sluice.dev/request", "sluice.dev/command"

MAX_CLOCK_SKEW_SECONDS = 300.0
"""A requester's clock may be this much ahead of the controller's."""

MAX_RELEASE_NUMBER = 99_999
"""The highest number of a release. The number is part of the predictor's name, whose length is limited."""

MAX_TEXT_LENGTH = 1000
"""The most characters in a name. Each transition contains the name, and the size of the journal is limited."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_COMMAND: TypeAdapter[Command] = TypeAdapter(Command)


def add_pending_requests(journal: Journal, annotations: Mapping[str, str], *, now: float) -> Journal:
    """Return the journal with the request and the command that the controller has not acted on yet.

    Args:
        journal: The journal as the controller wrote it.
        annotations: The annotations of the SeldonDeployment. They may contain anything; what is not acceptable is ignored.
        now: Seconds since the epoch.
    """
    with contextlib.suppress(ValidationError, KeyError):  # an annotation that cannot be read is ignored
        request = _REQUEST.validate_json(annotations[REQUEST_ANNOTATION])
        acceptable = is_acceptable_request(request, now)
        if (
            acceptable
            and journal.request is None
            and request.id != journal.last_request_id
            and request.release != journal.champion
            and (request.again or journal.find_condemnation(request.release) is None)
        ):
            journal = begin(journal, request)
    with contextlib.suppress(ValidationError, KeyError):
        command = _COMMAND.validate_json(annotations[COMMAND_ANNOTATION])
        if is_acceptable_command(command, now) and command.at != journal.last_command_at:
            journal = dataclasses.replace(journal, command=command)
    return journal


def is_acceptable_request(request: Request, now: float) -> bool:
    """Return whether `request_rollout` could have written this request."""
    rises = are_canary_steps(request.steps)
    linked = not request.ledger_head or _DIGEST.fullmatch(request.ledger_head) is not None
    named = all(pattern.fullmatch(text) for pattern, text in ((_DIGEST, request.release), (_IMAGE, request.image)))
    short = max(map(len, (request.by, request.id, request.image, request.again))) <= MAX_TEXT_LENGTH
    # The deadline counts from the time of the request, so a time in the future would postpone it.
    in_time = 0 <= request.at <= now + MAX_CLOCK_SKEW_SECONDS
    return rises and named and linked and short and in_time and 0 <= request.number <= MAX_RELEASE_NUMBER


def is_acceptable_command(command: Command, now: float) -> bool:
    """Return whether Sluice could have written this command."""
    named = not command.target or _DIGEST.fullmatch(command.target) is not None
    return named and len(command.by) <= MAX_TEXT_LENGTH and 0 <= command.at <= now + MAX_CLOCK_SKEW_SECONDS


def build_request_annotations(changed: Journal, journal: Journal) -> dict[str, str]:
    """Return the annotations that request a change of the journal.

    Args:
        changed: The journal with the new request or command.
        journal: The journal before.

    Raises:
        ValueError: The change is one that only the controller may make.
    """
    annotations = {}
    if changed.request is not None and changed.request != journal.request:
        annotations[REQUEST_ANNOTATION] = _REQUEST.dump_json(changed.request).decode()
    if changed.command is not None and changed.command != journal.command:
        annotations[COMMAND_ANNOTATION] = _COMMAND.dump_json(changed.command).decode()
    if not annotations:
        raise ValueError("a process that is not the controller may change nothing but the request and the command")
    return annotations
