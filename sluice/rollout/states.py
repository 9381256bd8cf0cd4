"""What a rollout is made of: requests, approvals, commands, states, transitions, and the journal that holds them. Values only.

Times are seconds since the epoch. Releases are named by the digest of their model layer. Weights are whole per cent.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

KEPT_RELEASES = 20
KEPT_TRANSITIONS = 200
ALL_TRAFFIC = 100


class Phase(StrEnum):
    """Where a rollout stands; the last four are its ends, and the journal stays there until the next request."""

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
        """Whether the evidence may condemn the canary: it takes traffic, or is asked what stable was asked."""
        return self.exposed or self is Phase.SHADOW


class CommandKind(StrEnum):
    """What a person may ask of a running supervisor; one that waits is not replaced by one that stands before it here."""

    PROMOTE = "promote"
    ABORT = "abort"
    ROLLBACK = "rollback"

    @property
    def rank(self) -> int:
        """How far down it leads."""
        return list(CommandKind).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Phase and place of the present rollout.

    Attributes:
        phase: Where it stands.
        step: Index into the request's steps while exposed.
        since: When it came there.
        word_of: Who took it to 100 % on their word; empty where evidence did.
    """

    phase: Phase = Phase.IDLE
    step: int | None = None
    since: float = 0.0
    word_of: str = ""

    @property
    def name(self) -> str:
        """The phase, with the number of the step counted from one: ``"step-2"``."""
        return f"{self.phase.value}-{(self.step or 0) + 1}" if self.phase is Phase.STEP else self.phase.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Somebody wants a release to become champion over these steps.

    Attributes:
        number: Of the release in its store; 0 where only the digest matters.
        image: Of the release, by digest; empty on a laptop.
    """

    id: str
    release: str
    by: str
    at: float
    steps: tuple[int, ...]
    number: int = 0
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One person's word that one release may take production traffic over one set of steps, until some time.

    Attributes:
        image: The release's image, by digest, which the word is about as well; empty on a laptop.
    """

    release: str
    steps: tuple[int, ...]
    by: str
    at: float
    until: float
    note: str = ""
    image: str = ""

    def covers(self, release: str, steps: tuple[int, ...], now: float, *, image: str = "") -> bool:
        """Whether it holds for this release, as this image, over these steps at this time."""
        return (self.release, self.steps, self.image) == (release, steps, image) and self.at <= now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a person asked for; the supervisor takes it from the journal.

    Attributes:
        target: Of a rollback: the release that is to have all the traffic, as the person was told; empty for whichever it is.
    """

    kind: CommandKind
    by: str
    at: float
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One decision. It is written before it is applied, and once more when the proxy was seen to have followed.

    Attributes:
        rollout: Id of the request; of the command where a person rolled back a release that was champion.
        release: The release that it is about.
        weights: Per cent by release from then on; releases that lost everything are in it with 0.
        evidence: The counts and numbers that the decision rests on.
        decided_at: When it was decided; for a person's command when it was given.
        applied_at: When the proxy's own answer showed these weights; None until then.
        word_of: Whose command it obeys; empty where the evidence, or the plan itself, decided.
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
    word_of: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with ``from`` and ``to``, as the report reads them."""
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
            "word_of": self.word_of,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRollout:
    """A rollout that has ended, or a rollback by hand of a champion."""

    id: str
    release: str
    stable: str | None
    outcome: Phase
    reason: str
    by: str
    started: float
    ended: float
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """A release that became champion; `number` and `image` as in its request."""

    release: str
    by: str
    at: float
    number: int = 0
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The one document that says where production traffic goes and why.

    Attributes:
        version: Rises by one with every write; a writer names the version that it read.
        history: Champions in order, oldest first, the present one last; one that was rolled back is no longer in it.
        request: The running rollout; None where none is running.
        approvals: Unused approvals; a rollout's end uses those of its release up.
        command: Not yet obeyed.
        obeyed: When the last command that was done with was given.
        requested: Id of the last request that was begun.
        weights: Wished per cent by release: empty before the first release, else summing to 100.
        transitions: The last 200.
        rollouts: The last 20 that ended.
    """

    version: int = 0
    history: tuple[Reign, ...] = ()
    request: Request | None = None
    approvals: tuple[Approval, ...] = ()
    command: Command | None = None
    state: State = State()
    weights: Mapping[str, int] = field(default_factory=dict)
    transitions: tuple[Transition, ...] = ()
    rollouts: tuple[EndedRollout, ...] = ()
    obeyed: float = 0.0
    requested: str = ""

    @property
    def champion(self) -> str | None:
        """The release that takes production traffic."""
        return self.history[-1].release if self.history else None

    @property
    def previous(self) -> str | None:
        """N-1: the release before the champion, kept warm."""
        return self.history[-2].release if len(self.history) > 1 else None

    @property
    def target(self) -> str | None:
        """The canary."""
        return self.request.release if self.request else None

    @property
    def shares(self) -> dict[str, int]:
        """The wished weights above 0."""
        return {release: weight for release, weight in self.weights.items() if weight}

    def find_approval(self, release: str, steps: tuple[int, ...], now: float, *, image: str = "") -> Approval | None:
        """The approval that lets `release`, as this image, take traffic over `steps` at this time; the latest of several."""
        return next((one for one in reversed(self.approvals) if one.covers(release, steps, now, image=image)), None)
