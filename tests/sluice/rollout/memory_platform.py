"""A platform in memory, with its servers, its traffic and its clock.

It implements the same protocol as the laptop and the cluster, and imports neither. Tests and simulations use it when they need
thousands of rollouts, or a fault at one certain call. Weights apply at once, servers become ready after a while, and each
simulated second brings requests that succeed or fail at random.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sluice.errors import ServiceError
from sluice.rollout.clocks import Clock
from sluice.rollout.decisions.blame import NO_REJECTIONS, Rejections
from sluice.rollout.decisions.evidence import NO_COUNTS, Counts
from sluice.rollout.decisions.health import Health
from sluice.rollout.decisions.shadow_comparisons import Comparison
from sluice.rollout.decisions.states import Approval, Command, CommandKind, Journal, Request
from sluice.rollout.decisions.transitions import begin
from sluice.rollout.journals import ConflictError
from sluice.rollout.observations import Confirmation, Observation, ServerRecord
from sluice.rollout.round import ControlLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.evidence import Checkpoint
    from sluice.rollout.decisions.states import ChampionTerm, Transition
    from sluice.rollout.failures import ErrorKind
    from sluice.rollout.observations import RoundReport, ServerEvent

START = 1_800_000_000.0
ROUND_SECONDS = 1.0
LARGEST_SAMPLE = 8


@dataclass
class SimulatedServer:
    """The behaviour of one release.

    Attributes:
        error_rate: Share of its requests that fail.
        slow_rate: Share of its requests that are slow.
        ready_after: Seconds from its start until it is ready.
        failure: Why it counts as failed; empty while it works.
        difference: Mean difference of its answers in the shadow from those of stable.
        burst: Mean number of errors that occur together.
        burst_seconds: A burst begins at a random moment, and its errors come within this time. With 0, they all come within the
            requests of one call of `serve`.
        bursts_last: Whether a burst that is longer than these requests continues with the next ones.
        stalled: Whether all its answers are slow now.
        late_answers: The next answers that are slow, as after a short stall.
        failing: Requests that still fail of the present burst.
        fails_in: In how many seconds the other errors of bursts that have begun will come.
        started: When it was started.
    """

    error_rate: float = 0.001
    slow_rate: float = 0.002
    ready_after: float = 25.0
    failure: str = ""
    difference: float = 0.02
    burst: float = 1.0
    burst_seconds: float = 0.0
    bursts_last: bool = False
    stalled: bool = False
    late_answers: int = 0
    failing: int = 0
    fails_in: list[float] = field(default_factory=list)
    started: float | None = None

    def serve(self, requests: int, error_rate: float, random: np.random.Generator, seconds: float = ROUND_SECONDS) -> Counts:
        """Return the counts of these requests, which come within some seconds."""
        if self.burst_seconds:
            errors = min(requests, self._burst(requests * error_rate, seconds, random))
        elif self.burst > 1:
            bursts = int(random.poisson(requests * error_rate / self.burst))
            self.failing += int(random.geometric(1 / self.burst, bursts).sum())
            errors = min(requests, self.failing)
            self.failing = self.failing - errors if self.bursts_last else 0
        else:
            errors = int(random.binomial(requests, error_rate))
        late = min(requests, self.late_answers)
        self.late_answers -= late
        slow = requests if self.stalled else late + int(random.binomial(requests - late, self.slow_rate))
        return Counts(requests, errors, requests, slow)

    def _burst(self, errors: float, seconds: float, random: np.random.Generator) -> int:
        """Begin bursts at random moments of these seconds; return how many errors of all bursts come within the seconds."""
        for _ in range(int(random.poisson(errors / self.burst))):
            begins, size = random.uniform(0, seconds), int(random.geometric(1 / self.burst))
            self.fails_in += (begins + random.uniform(0, self.burst_seconds, size)).tolist()
        come = sum(moment < seconds for moment in self.fails_in)
        self.fails_in = [moment - seconds for moment in self.fails_in if moment >= seconds]
        return come


@dataclass
class MemoryPlatform:
    """A platform whose journal, proxy and servers are plain values.

    Attributes:
        settings: ``[rollout]``.
        rate: Requests a second.
        seed: Of the random draws.
        servers: The releases' servers; a release that is missing gets a server with the defaults.
        shared_error_rate: If set, every release fails at this rate.
        malformed_rate: Malformed requests a second, which every release rejects. The split sends them to the releases at random.
        stored: The journal.
        weights: Per cents above 0 that the proxy applies.
        counts: Cumulative counts by release.
        lost: Requests that a release got although it was not ready.
        failing: Names of methods that raise `ServiceError`.
        calls: Names of the methods of the protocol, in the order in which they were called.
        lines: What the control loop reported.
        recorded: The transitions that were published.
        tags: The last champion and N-1 that were tagged.
        last_report: The last report of a round.
        stored_evidence: The evidence that a restarted process continues with.
        events: What each observation says about the servers.
    """

    settings: RolloutTable
    rate: float = 100.0
    seed: int = 0
    servers: dict[str, SimulatedServer] = field(default_factory=dict)
    shared_error_rate: float | None = None
    malformed_rate: float = 0.0
    now: float = START
    stored: Journal = field(default_factory=Journal)
    weights: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)
    lost: int = 0
    failing: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    recorded: list[Transition] = field(default_factory=list)
    tags: tuple[str | None, str | None] = (None, None)
    last_report: RoundReport | None = None
    confirm_seconds: float = 2.0
    confirm_poll_seconds: float = 0.05
    stored_evidence: Checkpoint | None = None
    events: list[ServerEvent] = field(default_factory=list)
    _to_resume: Checkpoint | None = None
    _carried: float = 0.0
    _explained: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._outsiders = np.random.default_rng((self.seed, 1))  # of its own, so that the other draws stay the same
        self.clock = Clock(now=lambda: self.now, steady=lambda: self.now, sleep=self.pass_time)

    # The protocol

    def observe(self) -> Observation:
        self._called("observe")
        journal = self.stored
        named = [release for release in (journal.champion, journal.previous, journal.target) if release]
        for release in named:
            server = self.servers.setdefault(release, SimulatedServer())
            server.started = self.now if server.started is None else server.started
        health = {release: self._read_health(release) for release in named}
        checkpoint, self._to_resume = self._to_resume, None
        return Observation(
            journal=journal,
            health=health,
            weights=dict(self.weights),
            counts=dict(self.counts),
            stable_ready=journal.champion is not None and health[journal.champion].ready,
            champion_urls=["champion"] if journal.champion else [],
            canary_urls=["canary"] if journal.target and health[journal.target].ready else [],
            checkpoint=checkpoint,
            events=list(self.events),
        )

    def store_evidence(self, checkpoint: Checkpoint, *, changed: bool) -> None:
        del changed
        self.stored_evidence = checkpoint

    def write_journal(self, journal: Journal) -> Journal:
        self._called("write_journal")
        if journal.version != self.stored.version:
            raise ConflictError(f"the journal is at version {self.stored.version}, not {journal.version}")
        self.stored = dataclasses.replace(journal, version=journal.version + 1)
        return self.stored

    def update_journal(self, change: Callable[[Journal], Journal]) -> None:
        self._called("update_journal")
        self.change(change)

    def apply(self, journal: Journal, *, journaled: bool = True) -> bool:
        self._called("apply" if journaled else "apply without journal")
        if self.weights == journal.desired_weights:
            return False
        self.weights = journal.desired_weights
        return True

    def confirm(self, journal: Journal) -> Confirmation:
        self._called("confirm")
        applied = self.weights == journal.desired_weights
        difference = "" if applied else f"the proxy applies {self.weights}, not {journal.desired_weights}"
        return Confirmation(applied=applied, weights=dict(self.weights), counts=dict(self.counts), difference=difference)

    def read_server_record(self, release: str) -> ServerRecord:
        self._called("read_server_record")
        return ServerRecord(statuses={"500": 3}, log=[f"the log of {release}"])

    def record_transition(self, transition: Transition) -> None:
        self.recorded.append(transition)

    def tag_champion(self, champion: ChampionTerm | None, previous: ChampionTerm | None) -> None:
        self.tags = (champion.release if champion else None, previous.release if previous else None)

    def report(self, report: RoundReport) -> None:
        self.last_report = report

    # What people do

    def change(self, change: Callable[[Journal], Journal]) -> None:
        """Change the journal as another process would, so that its version rises."""
        changed = change(self.stored)
        if changed is not self.stored:
            self.stored = dataclasses.replace(changed, version=self.stored.version + 1)

    def request(self, release: str) -> None:
        request = Request(id=f"{release}-{self.now}", release=release, by="ann", at=self.now, steps=tuple(self.settings.steps))
        self.change(lambda journal: begin(journal, request))

    def approve(self, release: str) -> None:
        steps, until = tuple(self.settings.steps), self.now + self.settings.approval_seconds
        approval = Approval(release=release, steps=steps, by="eve", at=self.now, until=until)
        self.change(lambda journal: dataclasses.replace(journal, approvals=(*journal.approvals, approval)))

    def command(self, kind: CommandKind, target: str = "") -> None:
        command = Command(kind=kind, by="kim", at=self.now, target=target)
        self.change(lambda journal: dataclasses.replace(journal, command=command))

    # The control loop

    def control(self) -> ControlLoop:
        """Return a new control loop, as a process that has just started."""
        loop = ControlLoop(self, self.settings, self.lines.append, clock=self.clock)
        loop.shadow = self
        loop.faults = self
        return loop

    def restart(self) -> ControlLoop:
        """Return a control loop that continues with the stored evidence, as after a kill."""
        self._to_resume = self.stored_evidence
        return self.control()

    def tick(self, loop: ControlLoop) -> None:
        """Run one round and let one second pass. An error of the round is a line, as in a supervisor."""
        try:
            loop.run_round()
        except ServiceError as error:
            self.lines.append(f"problem: {error}")
        self.pass_time(ROUND_SECONDS)

    def run(self, loop: ControlLoop, until: Callable[[Journal], bool], max_rounds: int = 5000) -> Journal:
        for _ in range(max_rounds):
            self.tick(loop)
            if until(self.stored):
                return self.stored
        raise AssertionError(f"not within {max_rounds} rounds: {self.stored.state}; {self.lines[-5:]}")

    def make_champion(self, release: str) -> None:
        """Let a release become champion as the first release does: after its approval, without canary traffic."""
        self.request(release)
        self.approve(release)
        self.run(self.control(), until=lambda journal: journal.champion == release)

    # The shadow

    def poll(self, rollout: str, champions: object, canary: str) -> Comparison:
        """Answer as the shadow does: 50 requests since the last round."""
        del rollout, champions, canary
        server = self.servers[self.stored.target or ""]
        failed = int(self._random.binomial(50, server.error_rate))
        return Comparison(requests=50, failed=failed, difference=failed + (50 - failed) * server.difference)

    def find_rejections(self, rollout: str, champions: object, canaries: object) -> Rejections:
        """Answer as the fault finder does: stable rejects what the canary has rejected since the last round, too."""
        del rollout, champions, canaries
        canary = self.stored.target or ""
        rejected = self.counts.get(canary, NO_COUNTS).rejected
        new, self._explained[canary] = rejected - self._explained.get(canary, 0), rejected
        return Rejections(rejected=new, asked=min(LARGEST_SAMPLE, new), accepted=0) if new else NO_REJECTIONS

    def refresh(self, rollout: str, canaries: object) -> None:
        pass

    def is_refreshed(self) -> bool:
        return True

    def list_errors(self, rollout: str) -> tuple[ErrorKind, ...]:
        del rollout
        return ()

    def close(self) -> None:
        """End the shadow."""

    # Time and traffic

    def pass_time(self, seconds: float) -> None:
        """Let requests come, and be answered by the weights that apply."""
        self.now += seconds
        self._carried += self.rate * seconds
        if self.malformed_rate and self.weights:
            malformed = int(self._outsiders.poisson(self.malformed_rate * seconds))
            for release, sent in self._split(malformed, self.weights, self._outsiders).items():
                self.counts[release] = self.counts.get(release, NO_COUNTS) + Counts(rejected=sent)
        requests = int(self._carried)
        self._carried -= requests
        if requests and self.weights:
            self._serve(requests, self.weights, seconds)

    def _split(self, requests: int, weights: Mapping[str, int], random: np.random.Generator) -> dict[str, int]:
        """Send each request to a release at random."""
        if len(weights) == 1:
            return dict.fromkeys(weights, requests)
        split = random.multinomial(requests, [share / sum(weights.values()) for share in weights.values()])
        return dict(zip(weights, split.tolist(), strict=True))

    def _serve(self, requests: int, weights: Mapping[str, int], seconds: float) -> None:
        for release, sent in self._split(requests, weights, self._random).items():
            server = self.servers[release]
            if not self._read_health(release).ready:
                self.lost += sent
                continue
            rate = server.error_rate if self.shared_error_rate is None else self.shared_error_rate
            self.counts[release] = self.counts.get(release, NO_COUNTS) + server.serve(sent, rate, self._random, seconds)

    def _read_health(self, release: str) -> Health:
        server = self.servers[release]
        ready = server.started is not None and self.now - server.started >= server.ready_after and not server.failure
        return Health(ready=ready, failure=server.failure)

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if method.split(maxsplit=1)[0] in self.failing:
            raise ServiceError(f"{method} fails")
