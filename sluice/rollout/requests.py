"""What steps and the command line ask for: each writes the journal, the supervisor makes it come true."""

from __future__ import annotations

import dataclasses
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.errors import NotServingError, ServiceError, StateError
from sluice.rollout.journal import JournalFile, open_journal
from sluice.rollout.plan import begin
from sluice.rollout.records import describe_rollout, describe_span
from sluice.rollout.states import Approval, Command, CommandKind, Journal, Phase, Request

if TYPE_CHECKING:
    from sluice.project import Project
    from sluice.rollout.states import EndedRollout

POLL_SECONDS = 0.05
SETTLE_SECONDS = 15.0
"""How much longer than a rollout's deadline one waits for it: the supervisor ends it at the deadline, not before."""

APPLY_SECONDS = 5.0
"""How long one waits, once a rollout has ended, until the proxy is seen to have followed."""

ABSENCE_SECONDS = 30.0
"""How long one waits for a supervisor that went away while somebody waited for an outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStatus:
    """Who serves production, and what a rollout is doing. Plain JSON types.

    Attributes:
        url: Of the proxy; empty where nobody serves.
        state: Phase, with the step's number.
        champion: Digest of the release that takes production traffic.
        previous: Digest of N-1.
        target: Digest of the canary.
        weights: Wished per cent by release.
        seen_weights: Per cent above 0 that the proxy applied lately.
        reason: What is being waited for, or why the last rollout ended.
        evidence: Counts and numbers of the running rollout.
        approvals: Unused approvals.
        servers: Each release's server: pid, port, ready, crashes.
        pid: Of the supervisor.
        admin_url: Of the proxy's admin interface.
    """

    url: str
    state: str
    champion: str | None
    previous: str | None
    target: str | None
    weights: dict[str, int]
    seen_weights: dict[str, int]
    reason: str
    evidence: dict[str, Any] | None
    approvals: list[dict[str, Any]]
    servers: list[dict[str, Any]] = field(default_factory=list)
    pid: int | None = None
    admin_url: str = ""


def read_status(project: Project) -> RolloutStatus:
    """The status now; works whether or not anybody serves.

    Raises:
        DataError: The journal cannot be read.
    """
    file = open_journal(project)
    journal = file.read()
    said = file.read_status() if file.is_supervised() else {}
    ended = journal.rollouts[-1].reason if journal.rollouts else "nothing was ever rolled out"
    return RolloutStatus(
        url=said.get("url", ""),
        state=journal.state.name,
        champion=journal.champion,
        previous=journal.previous,
        target=journal.target,
        weights=dict(journal.weights),
        seen_weights=said.get("seen_weights", {}),
        reason=said.get("reason", "") or "nobody is serving" if journal.request else ended,
        evidence=said.get("evidence"),
        approvals=[dataclasses.asdict(approval) | {"steps": list(approval.steps)} for approval in journal.approvals],
        servers=said.get("servers", []),
        pid=said.get("pid"),
        admin_url=said.get("admin_url", ""),
    )


def check_request(project: Project, digest: str) -> None:
    """Whether `request_rollout` would be accepted.

    Raises:
        StateError: Another rollout is running.
        NotServingError: No supervisor is running.
    """
    file = open_journal(project)
    _check_supervised(file)
    _check_free(file.read(), digest)


def request_rollout(project: Project, digest: str, by: str) -> None:
    """Ask for a release to become champion; a request that is running, or was fulfilled, is not made again.

    Raises:
        StateError: Another rollout is running.
        NotServingError: No supervisor is running.
    """
    file = open_journal(project)
    _check_supervised(file)
    now = time.time()
    steps = tuple(project.settings.rollout.steps)
    request = Request(id=uuid.uuid4().hex, release=digest, by=by, at=now, steps=steps)

    def ask(journal: Journal) -> Journal:
        _check_free(journal, digest)
        if digest in {journal.target, journal.champion}:
            return journal
        return begin(journal, request)

    file.update(ask)


def approve(project: Project, digest: str, by: str, note: str = "") -> Approval:
    """Approve one release for ``rollout.approval_seconds``, over the steps of its running request or else of sluice.toml.

    It may come before the request. An approval serves one rollout: it is used up when that ends.

    Raises:
        StateError: Nobody is named.
    """
    if not by.strip():
        raise StateError("an approval needs a name", hint="Say who approves with --by.")
    now = time.time()
    settings = project.settings.rollout
    file = open_journal(project)
    steps = _steps_of(project, file.read(), digest)
    approval = Approval(release=digest, steps=steps, by=by, at=now, until=now + settings.approval_seconds, note=note)

    def add(journal: Journal) -> Journal:
        holding = [one for one in journal.approvals if one.until > now]
        return dataclasses.replace(journal, approvals=(*holding, approval))

    file.update(add)
    return approval


def find_approval(project: Project, digest: str) -> Approval | None:
    """The approval that holds now for a release, over the steps of its running request or of sluice.toml."""
    journal = open_journal(project).read()
    return journal.find_approval(digest, _steps_of(project, journal, digest), time.time())


def promote(project: Project, digest: str, by: str) -> None:
    """Take the running canary to 100 % on a person's word; bake time, approval and the way down still hold.

    Raises:
        StateError: That release is not at a step, or has no approval.
        NotServingError: No supervisor is running.
    """
    file = open_journal(project)
    _check_supervised(file)

    def ask(journal: Journal) -> Journal:
        if journal.target != digest or not journal.state.phase.exposed:
            raise StateError(
                f"{digest[:19]} takes no canary traffic, so it cannot be promoted",
                hint="`sluice rollout status` says where it stands; an approval lets it begin.",
            )
        if find_approval(project, digest) is None:
            raise StateError(f"the approval of {digest[:19]} has expired", hint="Approve it again, then promote.")
        return dataclasses.replace(journal, command=Command(kind=CommandKind.PROMOTE, by=by, at=time.time()))

    file.update(ask)


def abort(project: Project, by: str) -> None:
    """End the running rollout, all traffic back to stable.

    Raises:
        StateError: None is running.
        NotServingError: No supervisor is running.
    """
    file = open_journal(project)
    _check_supervised(file)

    def ask(journal: Journal) -> Journal:
        if journal.request is None:
            raise StateError("no rollout is running", hint="To leave the champion use `sluice rollout rollback`.")
        return dataclasses.replace(journal, command=Command(kind=CommandKind.ABORT, by=by, at=time.time()))

    file.update(ask)


def check_rollback(project: Project) -> str:
    """The release that a rollback would send all traffic to: stable while a canary takes traffic, else N-1.

    Raises:
        StateError: There is none.
        NotServingError: No supervisor is running.
    """
    file = open_journal(project)
    _check_supervised(file)
    return _rollback_target(file.read())


def rollback(project: Project, by: str) -> dict[str, Any]:
    """Send all production traffic to stable, or to N-1 where no canary takes any, and wait until the proxy does it.

    Returns:
        ``to`` and ``left`` (digests), ``decided_at``, ``applied_at`` (when the proxy was seen to send nothing elsewhere) and
        ``seconds`` between them.

    Raises:
        StateError: There is nothing to go back to.
        NotServingError: No supervisor is running.
        ServiceError: The proxy did not follow in time; the command stays.
    """
    file = open_journal(project)
    _check_supervised(file)
    command = Command(kind=CommandKind.ROLLBACK, by=by, at=time.time())
    target = ""

    def ask(journal: Journal) -> Journal:
        nonlocal target
        target = _rollback_target(journal)
        return dataclasses.replace(journal, command=command)

    file.update(ask)
    deadline = time.monotonic() + project.settings.serving.start_timeout_seconds
    while time.monotonic() < deadline:
        journal = file.read()
        for transition in reversed(journal.transitions):
            if (
                transition.decided_at == command.at
                and transition.applied_at
                and transition.weights.get(target) == sum(transition.weights.values())
                and transition.to_state != Phase.ABORTED.value
            ):
                return {
                    "to": target,
                    "left": transition.release,
                    "decided_at": transition.decided_at,
                    "applied_at": transition.applied_at,
                    "seconds": round(transition.applied_at - transition.decided_at, 3),
                }
        time.sleep(POLL_SECONDS)
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
        journal = file.read()
        now = time.monotonic()
        if journal.target != digest:
            # The proxy follows an instant after the decision: whoever reads the record next shall find when.
            last = journal.transitions[-1] if journal.transitions else None
            if last is None or last.applied_at is not None or now > decided + APPLY_SECONDS:
                return _outcome_of(journal, digest)
            time.sleep(POLL_SECONDS)
            continue
        decided = now
        seen = now if file.is_supervised() else seen
        if now - seen > ABSENCE_SECONDS:
            _check_supervised(file)
        if now > deadline:
            raise ServiceError(
                f"no outcome of {digest[:19]} within {timeout:g} s: {journal.state.name}",
                hint="`sluice rollout status` says what it waits for.",
            )
        time.sleep(POLL_SECONDS)


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


def _check_supervised(file: JournalFile) -> None:
    if not file.is_supervised():
        raise NotServingError("no supervisor is running, so traffic cannot be moved", hint="Start `sluice serve` first.")


def _check_free(journal: Journal, digest: str) -> None:
    if journal.request is not None and journal.request.release != digest:
        raise StateError(
            f"a rollout of {journal.request.release[:19]} is running ({journal.state.name})",
            hint="Wait for its end, or end it with `sluice rollout abort`.",
        )


def _rollback_target(journal: Journal) -> str:
    if journal.state.phase.exposed and journal.champion:
        return journal.champion
    if journal.previous is None:
        what = "there is no champion" if journal.champion is None else "there is no N-1: the champion is the only release so far"
        raise StateError(f"nothing to roll back to: {what}", hint="`sluice release list` shows the releases.")
    return journal.previous


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
