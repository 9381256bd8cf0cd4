"""What a control round needs of a platform: the protocol, and what passes between the two.

A platform observes the servers and the proxy, stores the journal, applies the desired weights, and confirms that the proxy
applies them. It decides nothing. ``sluice.rollout.round`` drives every platform through this protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sluice.rollout.decisions.evidence import Checkpoint, Counts
    from sluice.rollout.decisions.health import Health
    from sluice.rollout.decisions.states import ChampionTerm, Journal, Transition
    from sluice.rollout.decisions.transitions import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """Something that happened to a release's server and that people should know, for example that it hung.

    Attributes:
        release: The release.
        text: What happened, as the end of a sentence that begins with the server.
    """

    release: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one control round sees.

    Attributes:
        journal: The journal, with the requests, approvals and commands that wait.
        health: The health of the servers, by release.
        weights: Per cents above 0 that the proxy applies; None if that is not known. Then nothing counted is evidence.
        counts: Cumulative counts by release; None if they were not read. They never fall while a release has traffic.
        stable_ready: Whether the champion can serve.
        champion_urls: The champion's ready servers, for the shadow.
        canary_urls: The canary's ready servers, for the shadow.
        problem: What keeps the platform from observing everything; empty if nothing does. No canary advances meanwhile.
        can_apply: Whether there is a proxy, or an object for it, that weights can be applied to.
        checkpoint: The evidence of an earlier process, when this process begins to act; otherwise None.
        events: What happened to the servers since the last observation.
    """

    journal: Journal
    health: Mapping[str, Health]
    weights: Mapping[str, int] | None
    counts: Mapping[str, Counts] | None
    stable_ready: bool = False
    champion_urls: Sequence[str] = ()
    canary_urls: Sequence[str] = ()
    problem: str = ""
    can_apply: bool = True
    checkpoint: Checkpoint | None = None
    events: Sequence[ServerEvent] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the proxy applies after a change.

    Attributes:
        applied: Whether the platform shows the desired weights everywhere.
        weights: Per cents above 0 that the proxy applies; None if that is not known.
        counts: Cumulative counts that were read after the change; None if they were not read.
        difference: How the platform differs from the desired weights, in one clause; empty if it does not.
    """

    applied: bool
    weights: Mapping[str, int] | None = None
    counts: Mapping[str, Counts] | None = None
    difference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """The result of one control round, for the status that people read.

    Attributes:
        journal: The journal after the round.
        plan: What was decided.
        problem: What kept the round from observing everything; empty if nothing did.
        evidence: The numbers of the running rollout; empty if none is running.
    """

    journal: Journal
    plan: Plan
    problem: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """What a platform knows about the server of a release that has failed.

    Attributes:
        statuses: Its answers with a 5xx, by status; empty if the platform does not count them.
        log: The last lines of its log, oldest first; empty if the platform cannot read it.
    """

    statuses: Mapping[str, int] = field(default_factory=dict)
    log: Sequence[str] = ()


class Platform(Protocol):
    """Where releases are served and traffic is split.

    Attributes:
        confirm_seconds: How long a round waits until the platform shows the desired weights. The next round continues.
        confirm_poll_seconds: The pause between two confirmations.
    """

    confirm_seconds: float
    confirm_poll_seconds: float

    def observe(self) -> Observation | None:
        """Observe servers, proxy and journal; return None if another process acts.

        Raises:
            SluiceError: Something does not answer or cannot be read. The next round tries again.
        """

    def store_evidence(self, checkpoint: Checkpoint, *, changed: bool) -> None:
        """Store the evidence, so that a restarted process continues with it. An error here must not stop the round.

        Args:
            checkpoint: The evidence.
            changed: Whether something was counted since the last round.
        """

    def write_journal(self, journal: Journal) -> Journal:
        """Write a decision that was derived from the observed journal, and return the journal as written.

        Raises:
            ConflictError: Another process wrote the journal since it was observed.
            ServiceError: The journal cannot be written.
        """

    def update_journal(self, change: Callable[[Journal], Journal]) -> None:
        """Read, change and write the journal as one step.

        Raises:
            ServiceError: The journal cannot be written.
        """

    def apply(self, journal: Journal, *, journaled: bool = True) -> bool:
        """Bring the traffic towards the journal's desired weights; return whether anything was changed or still has to change.

        Args:
            journal: The journal to follow.
            journaled: False if the journal could not be written. Then only the traffic itself is moved.

        Raises:
            ServiceError: The proxy or the cluster refuses.
        """

    def confirm(self, journal: Journal) -> Confirmation:
        """Look again, finish what `apply` could not do yet, and return whether the platform shows the desired weights.

        Raises:
            ServiceError: The proxy or the cluster does not answer.
        """

    def read_server_record(self, release: str) -> ServerRecord:
        """Return what is known about the server of a canary that has failed, after its traffic has moved.

        Raises:
            ServiceError: Something does not answer. The rest of the explanation does not need it.
        """

    def record_transition(self, transition: Transition) -> None:
        """Publish a transition that was written, or that was confirmed as applied (events, metrics)."""

    def tag_champion(self, champion: ChampionTerm | None, previous: ChampionTerm | None) -> None:
        """Let the tags ``champion`` and ``previous`` follow the journal. The journal is the truth, so the tags may be late."""

    def report(self, report: RoundReport) -> None:
        """Store what people read: the status and the samples."""
