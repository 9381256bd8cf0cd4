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
from sluice.rollout.platforms.seldon.objects.predictors import DEPLOYMENT_LABEL, PREDICTOR_LABEL, name_predictor
from sluice.rollout.platforms.seldon.resources.rollout_specs import read_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.rollout.decisions.states import ChampionTerm, EndedRollout, Request
    from sluice.rollout.platforms.seldon.objects.renderings import Renderings

MAX_JOURNAL_BYTES = 400_000
"""Size limit of the journal, because an object may have 1.5 MB in etcd. The oldest transitions go first."""

MAX_EPOCH = 2**31 - 2
"""The highest epoch: a lease counts its holders in 32 bits."""

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
        "message": report.message,
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
        "rendered": renderings.dump() if renderings else (rollout.get("status") or {}).get("rendered"),
        "journal": dump_journal(journal),
    }
    return {name: value for name, value in status.items() if value not in (None, "")}


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
    """Return for each condition whether it holds, a reason in camel case, and a message."""
    servers = {str(one.get("release")): one for one in report.servers}
    champion = servers.get(journal.champion or "", {})
    ready = bool(champion.get("ready"))
    running = journal.request is not None
    waits = journal.state.phase is Phase.AWAITING_APPROVAL
    last = journal.rollouts[-1] if journal.rollouts and not running else None
    requested = read_request(rollout.get("spec") or {}, now=now)
    promoted = requested is not None and not running and requested.release == journal.champion
    failed = last is not None and not promoted and last.outcome in _FAILED
    phase = "".join(part.capitalize() for part in journal.state.phase.value.split("_"))
    absent = "there is no champion yet" if journal.champion is None else "the champion's server is not ready"
    return {
        "Ready": (ready, "ChampionAnswers" if ready else "ChampionNotReady", "" if ready else report.problem or absent),
        "Progressing": (running, phase, report.message if running else ""),
        "AwaitingApproval": (waits, phase, report.message if waits else ""),
        "Promoted": (promoted, phase, ""),
        "Failed": (failed, phase, last.reason if failed and last else ""),
    }


def format_time(seconds: float) -> str:
    """Return a time as Kubernetes writes it: RFC 3339 in UTC, with whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
