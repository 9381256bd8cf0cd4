"""What others than the controller may write into a SeldonDeployment: one request and one command, each in an annotation. Pure.

The journal says which were taken up: a request by its id, a command by its time. So a wish that was fulfilled may stay where it
is, and the next one takes its place.
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

CLOCKS_DIFFER_SECONDS = 300.0
"""How much later than the controller's a requester's clock may be."""

MOST_NUMBER = 99_999
"""Of a release: it is part of its predictor's name, which has its limit."""

MOST_TEXT = 1000
"""Characters of a name: it is kept with each transition, and a journal has its limit."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_COMMAND: TypeAdapter[Command] = TypeAdapter(Command)


def add_pending_requests(journal: Journal, annotations: Mapping[str, str], *, now: float) -> Journal:
    """The journal with the wishes that nobody has acted on yet; what is no wish is left aside.

    Args:
        journal: Where everything stands.
        annotations: Of the SeldonDeployment; a requester may have written anything there.
        now: Seconds since the epoch.
    """
    with contextlib.suppress(ValidationError, KeyError):
        request = _REQUEST.validate_json(annotations[REQUEST_ANNOTATION])
        sound = is_acceptable_request(request, now)
        if sound and journal.request is None and request.id != journal.last_request_id and request.release != journal.champion:
            journal = begin(journal, request)
    with contextlib.suppress(ValidationError, KeyError):
        command = _COMMAND.validate_json(annotations[COMMAND_ANNOTATION])
        if is_acceptable_command(command, now) and command.at != journal.last_command_at:
            journal = dataclasses.replace(journal, command=command)
    return journal


def is_acceptable_request(request: Request, now: float) -> bool:
    """Whether a request is one that `request_rollout` could have written, whoever wrote it."""
    rises = are_canary_steps(request.steps)
    named = all(pattern.fullmatch(text) for pattern, text in ((_DIGEST, request.release), (_IMAGE, request.image)))
    short = max(map(len, (request.by, request.id, request.image))) <= MOST_TEXT
    # One of tomorrow would have its deadline when it likes.
    return rises and named and short and 0 <= request.number <= MOST_NUMBER and 0 <= request.at <= now + CLOCKS_DIFFER_SECONDS


def is_acceptable_command(command: Command, now: float) -> bool:
    """The same of a command."""
    told = not command.target or _DIGEST.fullmatch(command.target) is not None
    return told and len(command.by) <= MOST_TEXT and 0 <= command.at <= now + CLOCKS_DIFFER_SECONDS


def plan_request_annotations(changed: Journal, journal: Journal) -> dict[str, str]:
    """The annotations that say how a journal is to change.

    Raises:
        ValueError: It changes in what only the controller may.
    """
    wishes = {}
    if changed.request is not None and changed.request != journal.request:
        wishes[REQUEST_ANNOTATION] = _REQUEST.dump_json(changed.request).decode()
    if changed.command is not None and changed.command != journal.command:
        wishes[COMMAND_ANNOTATION] = _COMMAND.dump_json(changed.command).decode()
    if not wishes:
        raise ValueError("only the controller changes anything but request and command")
    return wishes
