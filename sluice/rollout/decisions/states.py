"""The values of a rollout: request, approval, command, state, transition, and the journal that contains them.

Times are seconds since the epoch. The digest of its model layer names a release. Weights are whole per cent. Where a field has an
alias, the alias is its key in stored journals, which must stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from sluice.rollout.failures import FailureSummary  # noqa: TC001 - pydantic reads the annotations

KEPT_RELEASES = 20
KEPT_TRANSITIONS = 200
KEPT_CONDEMNED = 50
KEPT_APPROVALS = 100
KEPT_FAILURES = 5
"""Rollouts that keep what failed in them. It is long, and the size of a journal in a cluster is limited."""

ALL_TRAFFIC = 100
DIVERTED = "-diverted"
"""End of the name of a state in which the canary has all the traffic, because stable answers nobody."""


class Phase(StrEnum):
    """The phase of a rollout. The last four are its possible ends; the journal keeps the end until the next request."""

    IDLE = "idle"
    AWAITING_READY = "awaiting_ready"
    AWAITING_APPROVAL = "awaiting_approval"
    SHADOW = "shadow"
    STEP = "step"
    BAKING = "baking"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    REJECTED = "rejected"

    @property
    def exposed(self) -> bool:
        """Whether the canary takes production traffic."""
        return self in {Phase.STEP, Phase.BAKING}

    @property
    def judged(self) -> bool:
        """Whether the evidence may fail the canary: it takes traffic, or answers copies of requests in the shadow."""
        return self.exposed or self is Phase.SHADOW


class CommandKind(StrEnum):
    """The commands that a person may give, in rising order of precedence."""

    PROMOTE = "promote"
    ABORT = "abort"
    ROLLBACK = "rollback"

    @property
    def precedence(self) -> int:
        """The position in this list. A command may replace a waiting command of lower or equal precedence."""
        return list(CommandKind).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The phase and the position of the present rollout.

    Attributes:
        phase: The phase.
        step: Index into the steps of the request, while the canary is exposed.
        since: When the rollout entered this state.
        promoted_by: The person whose command started the bake; empty if the evidence started it.
        returns_to: While all traffic is diverted to the canary, because stable answers nobody: the canary's per cent when stable
            answers again. Otherwise None.
    """

    phase: Phase = Phase.IDLE
    step: int | None = None
    since: float = 0.0
    promoted_by: Annotated[str, Field(alias="word_of")] = ""
    returns_to: int | None = None

    @property
    def name(self) -> str:
        """The name of the phase. A step has its number, counted from one: ``"step-2"``, or ``"step-2-diverted"``."""
        name = f"{self.phase.value}-{(self.step or 0) + 1}" if self.phase is Phase.STEP else self.phase.value
        return name if self.returns_to is None else f"{name}{DIVERTED}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that a release becomes champion over these steps.

    Attributes:
        id: Names the rollout.
        release: The release.
        by: The requester.
        at: When it was requested.
        steps: Shares of the traffic for the canary, in per cent; they rise and end at 100.
        number: Number of the release in its release store; 0 where only the digest matters.
        image: Image of the release, by digest; empty on a laptop.
        ledger_head: Link of the question in the gate's ledger that promoted the release; empty if the release names none.
        again: Why a condemned release is rolled out again, in the requester's own words; empty if it is not condemned.
    """

    id: str
    release: str
    by: str
    at: float
    steps: tuple[int, ...]
    number: int = 0
    image: str = ""
    ledger_head: str = ""
    again: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person's permission that one release takes production traffic over one set of steps, until a certain time.

    Attributes:
        release: The release.
        steps: The steps that are approved.
        by: The person who approved.
        at: When it was approved.
        until: When the approval expires.
        note: Why, in the person's own words.
        image: Image of the release, by digest, which is approved as well; empty on a laptop.
        id: Names the approval; empty on a laptop.
        account: The account that approved; empty on a laptop, where nobody checks an account.
        skip_evidence: Whether the canary goes to the bake at once, without waiting for more evidence.
    """

    release: str
    steps: tuple[int, ...]
    by: str
    at: float
    until: float
    note: str = ""
    image: str = ""
    id: str = ""
    account: str = ""
    skip_evidence: bool = False

    def covers(self, release: str, steps: tuple[int, ...], now: float, *, image: str = "") -> bool:
        """Whether the approval is valid for this release, as this image, over these steps, at this time."""
        return (self.release, self.steps, self.image) == (release, steps, image) and self.at <= now < self.until


def name_approver(account: str, reviewer: str) -> str:
    """Return who approved, as people read it: the account, and the person whose decision it recorded if that is another one."""
    return f"{account} for {reviewer}" if reviewer not in {"", account} else account


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that a person gave. The supervisor or controller reads it from the journal.

    Attributes:
        kind: What is ordered.
        by: The person.
        at: When it was given.
        target: For a rollback, the release that should get all traffic, as the person confirmed it; empty for the one that fits.
        id: Names the command.
        reason: For a promotion, why it does not wait for the evidence, in the person's own words.
    """

    kind: CommandKind
    by: str
    at: float
    target: str = ""
    id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One decision. It is written before it is applied, and once more when the proxy has been seen to apply it.

    Attributes:
        time: When it was written.
        from_state: Name of the state before.
        to_state: Name of the state after.
        reason: Why, in one sentence.
        rollout: Id of the request; for a rollback of the champion, an id made from the command.
        release: The release that the decision is about.
        weights: Per cent by release from then on. A release that lost its traffic is in it with 0.
        evidence: The counts and numbers that the decision rests on.
        decided_at: When it was decided; for a command, when the command was given.
        applied_at: When the proxy reported these weights; None until then.
        commanded_by: The person whose command it carries out; empty if the evidence or the plan itself decided.
        command_id: Id of that command; empty if there is none.
    """

    time: float
    from_state: str
    to_state: str
    reason: str
    rollout: str = ""
    release: str = ""
    weights: Mapping[str, int] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    decided_at: float
    applied_at: float | None = None
    commanded_by: Annotated[str, Field(alias="word_of")] = ""
    command_id: str = ""

    @property
    def is_event(self) -> bool:
        """Whether it only says what happened to a server. It moves nothing. A rollback of the champion is somebody's command."""
        return self.from_state == self.to_state and not self.commanded_by

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, with the keys ``from``, ``to`` and ``word_of`` that reports and the command line use."""
        return {
            "time": self.time,
            "from": self.from_state,
            "to": self.to_state,
            "reason": self.reason,
            "rollout": self.rollout,
            "release": self.release,
            "weights": dict(self.weights),
            "evidence": dict(self.evidence),
            "decided_at": self.decided_at,
            "applied_at": self.applied_at,
            "word_of": self.commanded_by,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRollout:
    """A rollout that has ended, or a rollback of the champion that a person ordered.

    Attributes:
        id: Id of the request; for a rollback of the champion, an id made from the command.
        release: The release.
        stable: The release that had all the traffic before.
        outcome: How it ended.
        reason: Why.
        by: The requester, or the person who ordered the rollback.
        started: When it was requested.
        ended: When it ended.
        number: Number of the release.
        failure: What failed, if the canary was condemned. It is added after the traffic has moved. Older rollouts lose it.
    """

    id: str
    release: str
    stable: str | None
    outcome: Phase
    reason: str
    by: str
    started: float
    ended: float
    number: int = 0
    failure: FailureSummary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condemnation:
    """A release whose canary failed. It is rolled out again only if a person says why.

    Attributes:
        release: The release.
        at: When it was condemned.
        reason: Why, in one sentence.
    """

    release: str
    at: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionTerm:
    """The time of one release as champion: who requested it, since when, and number, image and ledger head as in the request."""

    release: str
    by: str
    at: float
    number: int = 0
    image: str = ""
    ledger_head: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The one document that says where production traffic goes, and why.

    Attributes:
        version: Rises by one with every write; a writer names the version that it read.
        history: The terms of the champions, oldest first, so the present champion is last. A champion that was rolled back is
            removed.
        request: The request of the running rollout; None while none is running.
        approvals: Approvals that are not used up. The end of a rollout uses up those of its release.
        command: The command that waits to be carried out.
        state: Phase and position of the rollout.
        weights: Desired per cent by release; empty before the first release, otherwise they sum to 100.
        transitions: The last 200 decisions.
        rollouts: The last 20 rollouts that ended.
        last_command_at: When the last command that is done was given.
        last_command_id: Id of the last command that was taken from the spec of a ModelRollout, to be carried out or left aside.
            The spec keeps a command, so without this an old one would be carried out again.
        done_promotions: Ids of the promotions without evidence that were carried out or refused in this rollout.
        last_request_id: Id of the last request that was started.
        condemned: The last 50 releases whose canary failed. A release that becomes champion nevertheless is removed.
        used_approvals: Ids of the last 100 approvals that were used up.
    """

    version: int = 0
    history: tuple[ChampionTerm, ...] = ()
    request: Request | None = None
    approvals: tuple[Approval, ...] = ()
    command: Command | None = None
    state: State = State()
    weights: Mapping[str, int] = field(default_factory=dict)
    transitions: tuple[Transition, ...] = ()
    rollouts: tuple[EndedRollout, ...] = ()
    last_command_at: Annotated[float, Field(alias="obeyed")] = 0.0
    last_command_id: str = ""
    done_promotions: tuple[str, ...] = ()
    last_request_id: Annotated[str, Field(alias="requested")] = ""
    condemned: tuple[Condemnation, ...] = ()
    used_approvals: tuple[str, ...] = ()

    @property
    def champion(self) -> str | None:
        """The release that serves production."""
        return self.history[-1].release if self.history else None

    @property
    def previous(self) -> str | None:
        """N-1: the release that was champion before. Its server keeps running."""
        return self.history[-2].release if len(self.history) > 1 else None

    @property
    def target(self) -> str | None:
        """The canary: the release of the running rollout."""
        return self.request.release if self.request else None

    @property
    def desired_weights(self) -> dict[str, int]:
        """The weights above 0."""
        return {release: weight for release, weight in self.weights.items() if weight}

    def find_condemnation(self, release: str) -> Condemnation | None:
        """Return why a release is condemned; None if it is not."""
        return next((one for one in reversed(self.condemned) if one.release == release), None)

    def find_approval(self, release: str, steps: tuple[int, ...], now: float, *, image: str = "") -> Approval | None:
        """Return the latest approval that lets `release`, as this image, take traffic over `steps` now; None if there is none."""
        return next((one for one in reversed(self.approvals) if one.covers(release, steps, now, image=image)), None)
