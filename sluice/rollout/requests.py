"""What steps and the command line ask for: each writes the journal, the supervisor makes it come true."""

from __future__ import annotations

import dataclasses
import time
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

from sluice.errors import NotServingError, ServiceError, StateError
from sluice.release.store import ReleaseStore
from sluice.rollout.admission import (
    check_free,
    check_gate,
    check_promotable,
    check_replaces,
    check_rollback_target,
    check_running,
    check_supervised,
    find_rollback_target,
)
from sluice.rollout.journal import open_journal
from sluice.rollout.records import describe_rollout, describe_span
from sluice.rollout.states import Approval, Command, CommandKind, Journal, Phase, Request
from sluice.rollout.statuses import RolloutStatus, read_status
from sluice.rollout.transitions import begin

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project import Project
    from sluice.release.publishing import Destination
    from sluice.rollout.states import EndedRollout

__all__ = [
    "RolloutStatus",
    "abort",
    "approve",
    "check_abort",
    "check_promote",
    "check_request",
    "check_rollback",
    "find_approval",
    "plan_approval",
    "promote",
    "read_rollout",
    "read_span",
    "read_status",
    "read_transitions",
    "request_rollout",
    "rollback",
    "wait_for_outcome",
    "wait_until_serving",
]

POLL_SECONDS = 0.05
SETTLE_SECONDS = 15.0
"""How much longer than a rollout's deadline one waits for it: the supervisor ends it at the deadline, not before."""

APPLY_SECONDS = 5.0
"""How long one waits, once a rollout has ended, until the proxy is seen to have followed."""


def check_request(project: Project, digest: str) -> None:
    """Whether `request_rollout` would be accepted.

    Raises:
        RefusedError: The gate did not promote that release, or was never asked.
        StateError: Another rollout is running.
        NotServingError: No supervisor is running.
    """
    file = open_journal(project)
    check_supervised(file)
    check_gate(project, digest)
    check_free(file.read(), digest)


def request_rollout(project: Project, digest: str, by: str) -> None:
    """Ask for a release to become champion; a request that is running, or was fulfilled, is not made again.

    Raises:
        RefusedError: The gate did not promote that release, or was never asked.
        StateError: Another rollout is running.
        NotServingError: No supervisor is running.
    """
    file = open_journal(project)
    check_supervised(file)
    check_gate(project, digest)
    now = time.time()
    steps = tuple(project.settings.rollout.steps)
    number, image = _package(project, digest)
    request = Request(id=uuid.uuid4().hex, release=digest, by=by, at=now, steps=steps, number=number, image=image)

    def ask(journal: Journal) -> Journal:
        check_free(journal, digest)
        if digest in {journal.target, journal.champion}:
            return journal
        return begin(journal, request)

    file.update(ask)


def _package(project: Project, digest: str) -> tuple[int, str]:
    """Number and image of a release: in its registry, where a cluster is to run it."""
    if not project.settings.rollout.in_cluster:
        return 0, ""
    from sluice.release.publishing import find_destination  # noqa: PLC0415 - only for a cluster

    return _publish_once(project.state / "releases", digest, find_destination(project))


@cache
def _publish_once(folder: Path, digest: str, destination: Destination) -> tuple[int, str]:
    from sluice.release.publishing import publish  # noqa: PLC0415 - only for a cluster

    store = ReleaseStore(folder)
    release = store.get(digest)
    return release.number, publish(store, release, destination).image


def approve(project: Project, digest: str, by: str, note: str = "") -> Approval:
    """Approve one release for ``rollout.approval_seconds``, over the steps of its running request or else of sluice.toml.

    It may come before the request. An approval serves one rollout: it is used up when that ends.

    Raises:
        RefusedError: The gate did not promote that release, or was never asked.
        StateError: Nobody is named, or it is the champion.
    """
    approval = plan_approval(project, digest, by, note, push=True)

    def add(journal: Journal) -> Journal:
        holding = [one for one in journal.approvals if one.until > approval.at]
        return dataclasses.replace(journal, approvals=(*holding, approval))

    open_journal(project).update(add)
    return approval


def plan_approval(project: Project, digest: str, by: str, note: str = "", *, push: bool = False) -> Approval:
    """What `approve` would write down now; without a running request the image is named only where it may be pushed for that.

    Raises:
        RefusedError: The gate did not promote that release, or was never asked.
        StateError: Nobody is named, or it is the champion.
    """
    if not by.strip():
        raise StateError("an approval needs a name", hint="Say who approves with --by.")
    journal = open_journal(project).read()
    if digest == journal.champion and digest != journal.target:
        raise StateError(
            f"{digest[:19]} is the champion: there is nothing to approve",
            hint="`sluice release list` shows the releases; approve the one that is to replace it.",
        )
    check_gate(project, digest)
    now = time.time()
    return Approval(
        release=digest,
        steps=_steps_of(project, journal, digest),
        by=by,
        at=now,
        until=now + project.settings.rollout.approval_seconds,
        note=note,
        image=_image_of(project, journal, digest) if push or journal.target == digest else "",
    )


def find_approval(project: Project, digest: str) -> Approval | None:
    """The approval that holds now for a release, over the steps of its running request or of sluice.toml."""
    journal = open_journal(project).read()
    return _find_approval(project, journal, digest)


def check_promote(project: Project, digest: str) -> None:
    """Whether `promote` would be accepted.

    Raises:
        StateError: That release is not at a step, or has no approval.
        NotServingError: No supervisor is running.
    """
    file = open_journal(project)
    check_supervised(file)
    _check_promote(project, file.read(), digest)


def promote(project: Project, digest: str, by: str) -> None:
    """Take the running canary to 100 % on a person's word; bake time, approval and the way down still hold.

    Raises:
        StateError: That release is not at a step, or has no approval.
        NotServingError: No supervisor is running.
    """
    check_promote(project, digest)

    def ask(journal: Journal) -> Journal:
        _check_promote(project, journal, digest)
        check_replaces(journal, CommandKind.PROMOTE)
        return dataclasses.replace(journal, command=Command(kind=CommandKind.PROMOTE, by=by, at=time.time()))

    open_journal(project).update(ask)


def check_abort(project: Project) -> str:
    """The release whose rollout `abort` would end.

    Raises:
        StateError: None is running.
        NotServingError: No supervisor is running.
    """
    file = open_journal(project)
    check_supervised(file)
    return check_running(file.read())


def abort(project: Project, by: str) -> str:
    """End the running rollout, all traffic back to stable.

    Returns:
        The release whose rollout it is.

    Raises:
        StateError: None is running.
        NotServingError: No supervisor is running.
    """
    release = check_abort(project)

    def ask(journal: Journal) -> Journal:
        check_running(journal)
        check_replaces(journal, CommandKind.ABORT)
        return dataclasses.replace(journal, command=Command(kind=CommandKind.ABORT, by=by, at=time.time()))

    open_journal(project).update(ask)
    return release


def check_rollback(project: Project) -> str:
    """The release that a rollback would send all traffic to: stable while a canary takes traffic, else N-1.

    Raises:
        StateError: There is none.
        NotServingError: No supervisor is running.
    """
    file = open_journal(project)
    check_supervised(file)
    return find_rollback_target(file.read())


def rollback(project: Project, by: str, *, to: str = "") -> dict[str, Any]:
    """Send all production traffic to stable, or to N-1 where no canary takes any, and wait until the proxy does it.

    Args:
        project: Whose.
        by: Who asks.
        to: What `check_rollback` gave, and the person was told; empty for whichever it is by now. Where it has all the traffic
            already, since its canary went down by itself meanwhile, nothing moves.

    Returns:
        ``to`` and ``left`` (digests), ``decided_at``, ``applied_at`` (when the proxy was seen to send nothing elsewhere) and
        ``seconds`` between them.

    Raises:
        StateError: There is nothing to go back to, it would be another release by now, or its server does not become ready.
        NotServingError: No supervisor is running.
        ServiceError: The proxy did not follow in time; the command stays.
    """
    file = open_journal(project)
    check_supervised(file)
    at, target = time.time(), ""

    def ask(journal: Journal) -> Journal:
        nonlocal at, target
        target = check_rollback_target(journal, target or to)
        waiting = journal.command
        if waiting is not None and waiting.kind is CommandKind.ROLLBACK and waiting.target == target:
            at = waiting.at  # somebody else asked for the same a moment ago
            return journal
        return dataclasses.replace(journal, command=Command(kind=CommandKind.ROLLBACK, by=by, at=at, target=target))

    file.update(ask)
    deadline = time.monotonic() + project.settings.serving.start_timeout_seconds
    while time.monotonic() < deadline:
        journal = file.read()
        obeyed = next((one for one in reversed(journal.transitions) if one.decided_at == at and journal.obeyed >= at), None)
        if obeyed is not None and obeyed.weights.get(target) != sum(obeyed.weights.values()):
            raise StateError(obeyed.reason, hint="`sluice rollout status` shows how N-1 is.")
        if obeyed is not None and obeyed.applied_at:
            return {
                "to": target,
                "left": obeyed.release if obeyed.release != target else "",
                "decided_at": obeyed.decided_at,
                "applied_at": obeyed.applied_at,
                "seconds": round(obeyed.applied_at - obeyed.decided_at, 3),
            }
        time.sleep(file.poll_seconds)
    raise ServiceError(
        f"the rollback to {target[:19]} was not applied yet: {read_status(project).reason}",
        hint="The supervisor goes on with it; `sluice rollout status` shows when it is done.",
    )


def wait_for_outcome(project: Project, digest: str, timeout: float) -> str:
    """Wait for the end of a release's rollout.

    Args:
        project: Whose.
        digest: The release.
        timeout: Seconds, to which a little is added: the supervisor ends a rollout at its deadline, not before.

    Returns:
        ``"promoted"``, ``"rolled_back"``, ``"aborted"`` or ``"rejected"`` (it never took traffic).

    Raises:
        StateError: Nobody asked for that rollout.
        NotServingError: No supervisor is running, and none came back.
        ServiceError: No outcome in time.
    """
    file = open_journal(project)
    deadline = time.monotonic() + timeout + SETTLE_SECONDS
    seen = decided = time.monotonic()
    while True:
        now = time.monotonic()
        try:
            journal, supervised = file.read(), file.is_supervised()
        except ServiceError:
            if now - seen > file.absence_seconds:
                raise
            time.sleep(file.poll_seconds)
            continue
        if journal.target != digest:
            # The proxy follows an instant after the decision: whoever reads the record next shall find when.
            last = journal.transitions[-1] if journal.transitions else None
            if last is None or last.applied_at is not None or now > decided + APPLY_SECONDS:
                return _outcome_of(journal, digest)
            time.sleep(file.poll_seconds)
            continue
        decided = now
        seen = now if supervised else seen
        if now - seen > file.absence_seconds:
            check_supervised(file)
        if now > deadline:
            raise ServiceError(
                f"no outcome of {digest[:19]} within {timeout:g} s: {journal.state.name}",
                hint="`sluice rollout status` says what it waits for.",
            )
        time.sleep(file.poll_seconds)


def wait_until_serving(project: Project, timeout: float) -> str:
    """Wait for a supervisor's proxy.

    Returns:
        Its URL.

    Raises:
        NotServingError: There is none in time.
    """
    deadline = time.monotonic() + timeout
    while not (url := read_status(project).url):
        if time.monotonic() > deadline:
            raise NotServingError(f"nobody serves within {timeout:g} s", hint="`sluice serve` starts the supervisor.")
        time.sleep(POLL_SECONDS)
    return url


def read_transitions(project: Project) -> list[dict[str, Any]]:
    """The last 200 transitions, oldest first."""
    return [transition.to_dict() for transition in open_journal(project).read().transitions]


def read_rollout(project: Project, digest: str) -> dict[str, Any]:
    """The latest rollout of a release for the record: outcome, reason, transitions, samples, numbers.

    Raises:
        StateError: There was none.
    """
    file = open_journal(project)
    journal = file.read()
    ended = _latest(journal, digest)
    if journal.target != digest and ended is None:
        raise StateError(f"{digest[:19]} was never rolled out", hint="`sluice rollout start` asks for it.")
    return describe_rollout(file, journal, ended if journal.target != digest else None, project.settings.rollout)


def read_span(project: Project, since: float, until: float) -> dict[str, Any]:
    """What happened to production traffic between two times, in the same form as `read_rollout`."""
    file = open_journal(project)
    return describe_span(file, file.read(), since, until, project.settings.rollout)


def _check_promote(project: Project, journal: Journal, digest: str) -> None:
    check_promotable(journal, digest, _find_approval(project, journal, digest))


def _find_approval(project: Project, journal: Journal, digest: str) -> Approval | None:
    image = _image_of(project, journal, digest)
    return journal.find_approval(digest, _steps_of(project, journal, digest), time.time(), image=image)


def _image_of(project: Project, journal: Journal, digest: str) -> str:
    """The image that a release is served as: its running request's, else what its registry has."""
    if journal.request is not None and journal.request.release == digest:
        return journal.request.image
    return _package(project, digest)[1]


def _steps_of(project: Project, journal: Journal, digest: str) -> tuple[int, ...]:
    """The steps that a release goes over: its running request's, else those of sluice.toml."""
    if journal.request is not None and journal.request.release == digest:
        return journal.request.steps
    return tuple(project.settings.rollout.steps)


def _latest(journal: Journal, digest: str) -> EndedRollout | None:
    return next((ended for ended in reversed(journal.rollouts) if ended.release == digest), None)


def _outcome_of(journal: Journal, digest: str) -> str:
    if digest == journal.champion:
        return Phase.PROMOTED.value
    ended = _latest(journal, digest)
    if ended is None:
        raise StateError(f"nobody asked for a rollout of {digest[:19]}", hint="`sluice rollout start` asks for it.")
    return ended.outcome.value
