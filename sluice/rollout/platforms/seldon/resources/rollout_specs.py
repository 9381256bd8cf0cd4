"""The spec of a ModelRollout: the request and the command that the controller has not accepted yet. Pure.

The API server checks a spec against the schema in ``manifests/crds``. What is read here may nevertheless contain anything,
because the schema may be an older one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from sluice.errors import DataError
from sluice.project.tables.rollout import are_canary_steps
from sluice.rollout.decisions.states import Command, CommandKind, Request
from sluice.rollout.decisions.transitions import begin
from sluice.rollout.failures import MAX_TEXT_LENGTH
from sluice.rollout.platforms.seldon.objects.predictors import name_predictor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.rollout.decisions.states import Journal

MAX_RELEASE_NUMBER = 99_999
"""The highest number of a release. The number is part of the predictor's name, whose length is limited."""

MAX_REPLICAS = 1000
_ID_DIGITS = 16

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Image = Annotated[str, Field(pattern=r"^[^\s@]+@sha256:[0-9a-f]{64}$", max_length=MAX_TEXT_LENGTH)]
Text = Annotated[str, Field(max_length=MAX_TEXT_LENGTH)]
Account = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_LENGTH)]


class SpecModel(BaseModel):
    """A part of a spec. Its fields are written in camel case."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class ReleaseSpec(SpecModel):
    """The release that is requested."""

    digest: Digest
    image: Image
    number: Annotated[int, Field(ge=0, le=MAX_RELEASE_NUMBER)]
    ledger_head: Digest | None = None


class CommandSpec(SpecModel):
    """The command."""

    id: Account
    kind: Literal["abort", "rollback"]
    by: Account
    target: Digest | None = None


class AutoscalingSpec(SpecModel):
    """The autoscaler that a platform team asks for."""

    min_replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)]
    max_replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)]
    target: Annotated[int, Field(ge=1, le=500, alias="targetCPUUtilizationPercentage")] = 80


class _RequestSpec(SpecModel):
    release: ReleaseSpec
    steps: tuple[int, ...]
    requested_by: Account
    request_id: Annotated[Text, Field(alias="requestID")] = ""
    again: Text = ""


def accept_spec(journal: Journal, spec: Mapping[str, Any], *, now: float) -> Journal:
    """Return the journal with the request and the command of a spec that were not accepted before.

    A release is not accepted if it is champion, if its predictor would have the name of another one, or if it is condemned and is
    requested without a reason. While a rollback waits, none is accepted, because a rollout that begins would cancel the rollback.
    A command is accepted once. It is left aside for good if one of higher precedence waits.

    Args:
        journal: The journal as the controller wrote it.
        spec: The spec of the ModelRollout.
        now: Seconds since the epoch. Request and command count from then, because the clocks of others may differ.
    """
    request, command = read_request(spec, now=now), read_command(spec, now=now)
    known = {journal.last_command_id, journal.command.id if journal.command else ""}
    command = None if command is None or command.id in known else command
    if (
        request is not None
        and not any(one is not None and one.kind is CommandKind.ROLLBACK for one in (journal.command, command))
        and journal.request is None
        and request.id != journal.last_request_id
        and request.release != journal.champion
        and find_namesake(journal, request) is None
        and (request.again or journal.find_condemnation(request.release) is None)
    ):
        journal = begin(journal, request)
    if command is None:
        return journal
    waiting, journal = journal.command, dataclasses.replace(journal, last_command_id=command.id)
    if waiting is not None and command.kind.precedence < waiting.kind.precedence:
        return journal
    return dataclasses.replace(journal, command=command)


def find_namesake(journal: Journal, request: Request) -> str | None:
    """Return the champion or N-1 whose predictor has the name that the requested release would give its own; None if neither has.

    A name has only the first digits of a digest, so somebody can choose a digest that fits.
    """
    name = name_predictor(request.release, request.number)
    others = [one for one in journal.history[-2:] if one.release != request.release]
    return next((one.release for one in others if name_predictor(one.release, one.number) == name), None)


def read_request(spec: Mapping[str, Any], *, now: float) -> Request | None:
    """Return the request of a spec; None if it has none, or one that is not acceptable."""
    try:
        found = _RequestSpec.model_validate(spec)
    except ValidationError:
        return None
    if not are_canary_steps(found.steps):
        return None
    release = found.release
    return Request(
        id=identify_request(found),
        release=release.digest,
        by=found.requested_by,
        at=now,
        steps=found.steps,
        number=release.number,
        image=release.image,
        ledger_head=release.ledger_head or "",
        again=found.again,
    )


def identify_request(found: _RequestSpec) -> str:
    """Return the id of a request, which follows from its content: applying the same spec again requests nothing new."""
    content = (found.release.digest, found.release.image, found.steps, found.request_id, found.again)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_ID_DIGITS]


def read_command(spec: Mapping[str, Any], *, now: float) -> Command | None:
    """Return the command of a spec; None if it has none, or one that is not acceptable."""
    try:
        found = CommandSpec.model_validate(spec.get("command"))
    except ValidationError:
        return None
    return Command(id=found.id, kind=CommandKind(found.kind), by=found.by, at=now, target=found.target or "")


def read_replicas(rollout: Mapping[str, Any]) -> int:
    """Return the replicas of each release that may take traffic; 0 if the spec does not say it."""
    replicas = (rollout.get("spec") or {}).get("replicas")
    return replicas if isinstance(replicas, int) and 0 < replicas <= MAX_REPLICAS else 0


def read_autoscaling(rollout: Mapping[str, Any]) -> AutoscalingSpec | None:
    """Return the autoscaler that a spec asks for; None if it asks for none.

    Raises:
        DataError: The spec asks for one that is not acceptable, which an API server with the present schema would refuse.
    """
    asked = (rollout.get("spec") or {}).get("autoscaling")
    if asked is None:
        return None
    try:
        found = AutoscalingSpec.model_validate(asked)
    except ValidationError as error:
        raise DataError(f"spec.autoscaling is not acceptable: {error}", hint="The autoscaler stays as it is.") from error
    if found.min_replicas > found.max_replicas:
        raise DataError("spec.autoscaling: minReplicas must be at most maxReplicas", hint="The autoscaler stays as it is.")
    return found


def build_spec_patch(changed: Journal, journal: Journal) -> dict[str, Any]:
    """Return the merge patch of a spec that requests a change of the journal.

    Args:
        changed: The journal with the new request or command.
        journal: The journal before.

    Raises:
        ValueError: The change is one that only the controller may make.
    """
    patch: dict[str, Any] = {}
    if changed.request is not None and changed.request != journal.request:
        patch |= _build_request(changed.request)
    if changed.command is not None and changed.command != journal.command:
        patch["command"] = _build_command(changed.command)
    if not patch:
        raise ValueError("a process that is not the controller may change nothing but the request and the command")
    return patch


def _build_request(request: Request) -> dict[str, Any]:
    release = {"digest": request.release, "image": request.image, "number": request.number}
    return {
        "release": release | {"ledgerHead": request.ledger_head or None},
        "steps": list(request.steps),
        "requestID": request.id,
        "requestedBy": request.by,
        "again": request.again or None,
    }


def _build_command(command: Command) -> dict[str, Any]:
    if command.kind is CommandKind.PROMOTE:
        raise ValueError("a promotion without evidence is a RolloutApproval, not a command")
    return {"id": command.id, "kind": command.kind.value, "by": command.by, "target": command.target or None}
