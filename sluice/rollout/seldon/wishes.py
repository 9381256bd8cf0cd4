"""What others than the controller may write into a SeldonDeployment: one request and one command, each in an annotation. Pure.

The journal says which were taken up: a request by its id, a command by its time. So a wish that was fulfilled may stay where it
is, and the next one takes its place.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from sluice.rollout.plan import begin
from sluice.rollout.states import Command, Journal, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

JOURNAL_ANNOTATION = "sluice.dev/journal"
REQUEST_ANNOTATION, COMMAND_ANNOTATION = "sluice.dev/request", "sluice.dev/command"

_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_COMMAND: TypeAdapter[Command] = TypeAdapter(Command)


def fold_wishes(journal: Journal, annotations: Mapping[str, str]) -> Journal:
    """The journal with the wishes that nobody has acted on yet; what is no wish is left aside."""
    with contextlib.suppress(ValidationError, KeyError):
        request = _REQUEST.validate_json(annotations[REQUEST_ANNOTATION])
        if journal.request is None and request.id != journal.requested and request.release != journal.champion:
            journal = begin(journal, request)
    with contextlib.suppress(ValidationError, KeyError):
        command = _COMMAND.validate_json(annotations[COMMAND_ANNOTATION])
        if command.at != journal.obeyed:
            journal = dataclasses.replace(journal, command=command)
    return journal


def plan_wishes(changed: Journal, journal: Journal) -> dict[str, str]:
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
