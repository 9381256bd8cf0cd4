"""The status of a ModelRollout: the journal, and what a platform team reads of it. Pure."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluice.errors import DataError
from sluice.rollout.decisions.states import Journal, Phase
from sluice.rollout.journals import JOURNAL, build_document
from sluice.rollout.platforms.seldon.objects.epochs import MAX_EPOCH
from sluice.rollout.platforms.seldon.objects.predictors import DEPLOYMENT_LABEL, PREDICTOR_LABEL, name_predictor
from sluice.rollout.platforms.seldon.resources.rollout_specs import find_namesake, read_command, read_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.rollout.decisions.states import ChampionTerm, EndedRollout, Request
    from sluice.rollout.platforms.seldon.objects.renderings import Renderings

MAX_JOURNAL_BYTES = 400_000
"""Size limit of the journal, because an object may have 1.5 MB in etcd. The oldest transitions go first."""

_FAILED = {Phase.ROLLED_BACK, Phase.ABORTED, Phase.REJECTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the last control round saw.

    Attributes:
        message: What the rollout waits for, or why the last one ended.
        problem: What kept the round from observing everything; empty if nothing did.
        applied_weights: The per cents above 0 that the routes apply, by release.
        evidence: The numbers of the running rollout.
        servers: Each release with ``release``, ``ready``, ``pods``, ``failure`` and ``waiting``.
    """

    message: str = ""
    problem: str = ""
    applied_weights: Mapping[str, int] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    servers: tuple[Mapping[str, Any], ...] = ()


def read_journal(rollout: Mapping[str, Any] | None) -> Journal | None:
    """Return the journal in the status of a ModelRollout, without approvals; None if it has none.

    Raises:
        DataError: The status has something else there.
    """
    text = ((rollout or {}).get("status") or {}).get("journal")
    if text is None:
        return None
    try:
        return _parse_journal(text)
    except ValidationError as error:
        name = (rollout or {}).get("metadata", {}).get("name", "")
        raise DataError(
            f"status.journal of ModelRollout {name} is not a rollout journal: {error}",
            hint="Restore it from a backup. Without it, Sluice does not know which release is the champion.",
        ) from error


@functools.lru_cache(maxsize=2)  # a round reads the same text several times
def _parse_journal(text: str) -> Journal:
    return JOURNAL.validate_json(text)


def read_epoch(rollout: Mapping[str, Any] | None) -> int:
    """Return the epoch of the controller that wrote the status last; 0 if there is none, or none that a lease can count."""
    epoch = ((rollout or {}).get("status") or {}).get("epoch", 0)
    return epoch if isinstance(epoch, int) and 0 <= epoch < MAX_EPOCH else 0


def build_status(
    journal: Journal,
    rollout: Mapping[str, Any],
    report: Report,
    *,
    epoch: int,
    now: float,
    renderings: Renderings | None = None,
) -> dict[str, Any]:
    """Return the status of a ModelRollout.

    Args:
        journal: The journal.
        rollout: The ModelRollout as it was read.
        report: What the last control round saw.
        epoch: The epoch of the controller.
        now: Seconds since the epoch.
        renderings: What the controller rendered; None keeps what the status says about that.
    """
    generation = int(rollout["metadata"].get("generation") or 0)
    request = journal.request
    status = {
        "observedGeneration": generation,
        "phase": journal.state.name,
        "message": report.message if request or journal.command else explain_idle(journal, rollout.get("spec") or {}, now=now),
        "champion": _build_term(journal.history[-1]) if journal.history else None,
        "previous": _build_term(journal.history[-2]) if len(journal.history) > 1 else None,
        "canary": _build_canary(request) if request else None,
        **_describe_scale(journal, rollout, report),
        "traffic": _describe_traffic(journal),
        "weights": dict(journal.weights),
        "appliedWeights": dict(report.applied_weights),
        "evidence": dict(report.evidence) or None,
        "servers": [dict(one) for one in report.servers],
        "history": [_build_ended(one) for one in journal.rollouts],
        "conditions": _build_conditions(journal, rollout, report, now),
        "epoch": epoch,
        "lastCommandID": _find_last_command(journal, rollout),
        "rendered": renderings.dump() if renderings else (rollout.get("status") or {}).get("rendered"),
        "journal": dump_journal(journal),
    }
    return {name: value for name, value in status.items() if value not in (None, "")}


def _find_last_command(journal: Journal, rollout: Mapping[str, Any]) -> str:
    """Return the id of the last command of the spec that the journal has.

    A policy lets nobody but an approver replace a rollback in the spec before its id is here.
    """
    command = read_command(rollout.get("spec") or {}, now=0.0)
    waiting = journal.command.id if journal.command else ""
    if command is not None and command.id in {waiting, journal.last_command_id}:
        return command.id
    return str((rollout.get("status") or {}).get("lastCommandID") or "")


def dump_journal(journal: Journal) -> str:
    """Return the journal as compact JSON of at most `MAX_JOURNAL_BYTES`. The approvals are objects of their own."""
    journal = dataclasses.replace(journal, approvals=())
    while True:
        text = json.dumps(build_document(journal), separators=(",", ":"), allow_nan=False)
        if len(text) <= MAX_JOURNAL_BYTES or not journal.transitions:
            return text
        journal = dataclasses.replace(journal, transitions=journal.transitions[len(journal.transitions) // 4 + 1 :])


def _build_term(term: ChampionTerm) -> dict[str, Any]:
    return _name_release(term.release, term.number, term.image) | {"requestedBy": term.by, "since": format_time(term.at)}


def _build_canary(request: Request) -> dict[str, Any]:
    named = _name_release(request.release, request.number, request.image)
    return named | {"requestedBy": request.by, "since": format_time(request.at)}


def _name_release(digest: str, number: int, image: str) -> dict[str, Any]:
    return {"name": name_predictor(digest, number), "digest": digest, "number": number, "image": image}


def _build_ended(one: EndedRollout) -> dict[str, Any]:
    return {
        "id": one.id,
        "release": one.release,
        "number": one.number,
        "outcome": one.outcome.value,
        "reason": one.reason,
        "requestedBy": one.by,
        "started": format_time(one.started),
        "ended": format_time(one.ended),
    }


def _describe_scale(journal: Journal, rollout: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Return what the subresource ``scale`` shows: the Pods of the release that gets the most traffic, in doubt the champion's.

    An autoscaler measures these Pods. During the bake they are the canary's, because the champion's have little to do then.
    """
    numbers = _list_numbers(journal)
    busiest = max(numbers, key=lambda one: (journal.weights.get(one, 0), one == journal.champion), default=None)
    if busiest is None or not journal.history:
        return {"replicas": 0}
    pods = next((int(one.get("pods", 0)) for one in report.servers if one.get("release") == busiest), 0)
    predictor = name_predictor(busiest, numbers[busiest])
    name = rollout["metadata"]["name"]
    return {"replicas": pods, "selector": f"{DEPLOYMENT_LABEL}={name},{PREDICTOR_LABEL}={predictor}"}


def _list_numbers(journal: Journal) -> dict[str, int]:
    """Return the number of each release that the journal names, by release."""
    numbers = {term.release: term.number for term in journal.history}
    if journal.request is not None:
        numbers[journal.request.release] = journal.request.number
    return numbers


def _describe_traffic(journal: Journal) -> str:
    numbers = _list_numbers(journal)
    return ", ".join(f"r{numbers.get(release, 0)} {share} %" for release, share in journal.desired_weights.items())


def _build_conditions(journal: Journal, rollout: Mapping[str, Any], report: Report, now: float) -> list[dict[str, Any]]:
    """Return the conditions. One that did not change keeps the time of its last change."""
    before = {one.get("type"): one for one in ((rollout.get("status") or {}).get("conditions") or [])}
    generation = int(rollout["metadata"].get("generation") or 0)
    conditions = []
    for kind, (holds, reason, message) in _judge_conditions(journal, rollout, report, now).items():
        status = "True" if holds else "False"
        former = before.get(kind, {})
        changed_at = former.get("lastTransitionTime") if former.get("status") == status else None
        conditions.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": changed_at or format_time(now),
                "observedGeneration": generation,
            }
        )
    return conditions


def _judge_conditions(
    journal: Journal, rollout: Mapping[str, Any], report: Report, now: float
) -> dict[str, tuple[bool, str, str]]:
    """Return for each condition whether it holds, a reason in camel case, and a message, which is never empty."""
    spec, running = rollout.get("spec") or {}, journal.request is not None
    requested = read_request(spec, now=now)
    promoted = requested is not None and not running and requested.release == journal.champion
    failed = not running and not promoted and _is_refused(journal, requested)
    phase = "".join(part.capitalize() for part in journal.state.phase.value.split("_"))
    running_text = report.message or f"the rollout is in state {journal.state.name}"
    progress = running_text if running else explain_idle(journal, spec, now=now)
    ready, why_ready = _judge_champion(journal, report)
    waits = journal.state.phase is Phase.AWAITING_APPROVAL
    return {
        "Ready": (ready, "ChampionAnswers" if ready else "ChampionNotReady", why_ready),
        "Progressing": (running, phase, progress if running else f"no rollout is running: {progress}"),
        "AwaitingApproval": (waits, phase, progress if waits else "no release waits for an approval"),
        "Promoted": (promoted, phase, progress),
        "Failed": (failed, phase, progress if failed else "the requested release has not failed"),
    }


def _judge_champion(journal: Journal, report: Report) -> tuple[bool, str]:
    """Return whether the champion answers, and the message that says it."""
    if journal.champion is None:
        return False, report.problem or "there is no champion yet, so nothing answers"
    term = journal.history[-1]
    name = name_predictor(term.release, term.number)
    server = next((one for one in report.servers if one.get("release") == term.release), {})
    if server.get("ready"):
        return True, f"the champion {name} answers"
    details = [str(server[key]) for key in ("failure", "waiting") if server.get(key)]
    return False, report.problem or "; ".join([f"the server of the champion {name} is not ready", *details])


def _is_refused(journal: Journal, requested: Request | None) -> bool:
    """Whether the requested release is condemned, or its rollout failed and was the last one. No rollout is running."""
    if requested is not None and not requested.again and journal.find_condemnation(requested.release) is not None:
        return True
    last = journal.rollouts[-1] if journal.rollouts else None
    return last is not None and last.outcome in _FAILED and (requested is None or requested.release == last.release)


def explain_idle(journal: Journal, spec: Mapping[str, Any], *, now: float) -> str:
    """Say why no rollout is running: how the last one ended, or why the request of the spec starts none. It is never empty.

    Args:
        journal: The journal, without a running rollout.
        spec: The spec of the ModelRollout.
        now: Seconds since the epoch.
    """
    requested = read_request(spec, now=now)
    if requested is None:
        last = f"; release {_describe_ended(journal.rollouts[-1])}" if journal.rollouts else ""
        return ("the request in the spec cannot be understood" if spec.get("release") else "no release is requested") + last
    name = name_predictor(requested.release, requested.number)
    if requested.release == journal.champion:
        return f"release {name} is the champion"
    if namesake := find_namesake(journal, requested):
        return f"release {requested.release[:19]} is refused: its server would be called {name}, as that of {namesake[:19]}"
    ended = next((one for one in reversed(journal.rollouts) if one.release == requested.release), None)
    found = journal.find_condemnation(requested.release)
    if found is not None and not requested.again:
        what = _describe_ended(ended) if ended is not None else f"{name} has failed as a canary: {found.reason}"
        return f"release {what}; it is condemned, so it starts again only with a reason in spec.again"
    if ended is not None:
        return f"release {_describe_ended(ended)}"
    return f"the request of release {name} waits for the controller"


def _describe_ended(one: EndedRollout) -> str:
    return f"{name_predictor(one.release, one.number)} was {one.outcome.value.replace('_', ' ')}: {one.reason}"


def format_time(seconds: float) -> str:
    """Return a time as Kubernetes writes it: RFC 3339 in UTC, with whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
