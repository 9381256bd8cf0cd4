"""One round of the supervisor: look, decide, write, apply, see that it is so."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.errors import IntegrityError, ServiceError
from sluice.rollout.gathering import Gathering
from sluice.rollout.journal import ConflictError, JournalFile
from sluice.rollout.plan import Health, Plan, plan_next
from sluice.rollout.shadows import Shadow, take_in_shadow
from sluice.rollout.splitters.envoy_config import LOCALHOST, SLOTS
from sluice.rollout.transitions import advance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.project import Project
    from sluice.rollout.evidence import Counts
    from sluice.rollout.servers import Servers
    from sluice.rollout.splitters import Reading
    from sluice.rollout.splitters.envoy import EnvoySplitter
    from sluice.rollout.states import Journal

DENSE_SECONDS, SPARSE_SECONDS = 0.5, 5.0
"""Between two samples: while something happens, and while nothing does."""

AFTERMATH_SECONDS = 30.0
"""How long after a transition samples stay dense."""

_STATUS_SECONDS = 0.5
_DRAIN_MARGIN_SECONDS = 1.0
_LONGEST_PAUSE = 5.0
_STEADY_SECONDS = 60.0


@dataclass(slots=True)
class Control:
    """The state of a supervisor between rounds; all that must survive it is in the journal and its checkpoint.

    Attributes:
        project: Whose releases.
        file: The journal.
        servers: One for each release that has a place.
        splitter: The proxy.
        say: Told what happens, one line at a time.
        release_port: Called right before the proxy first listens.
    """

    project: Project
    file: JournalFile
    servers: Servers
    splitter: EnvoySplitter
    say: Callable[[str], object]
    release_port: Callable[[], object]
    started: bool = False
    _gathering: Gathering = field(init=False)
    _shadow: Shadow = field(init=False)
    _began: float = field(default_factory=time.time)
    _resumed: bool = False
    _readings: dict[str, Reading] = field(default_factory=dict)
    _placed: dict[str, int] = field(default_factory=dict)
    _last_traffic: dict[str, float] = field(default_factory=dict)
    _marked: tuple[str | None, str | None] | None = None
    _next_sample: float = 0.0
    _next_status: float = 0.0
    _next_restart: float = 0.0
    _pause: float = 0.0

    def __post_init__(self) -> None:
        self._gathering = Gathering(self.project.settings.rollout)
        self._shadow = Shadow(self.project.settings.rollout.request_timeout_seconds)

    def tick(self) -> None:
        """One round.

        Raises:
            SluiceError: Something did not answer or cannot be read; the next round tries again.
        """
        now = time.time()
        journal = self.file.read()
        self._resume()
        self._keep_servers(journal)
        if self._keep_proxy(journal):
            self._look(journal, now)
        health = self._health()
        trouble = self._compare(journal, health)
        judgement = self._gathering.judge(journal).beside(trouble)
        plan = plan_next(journal, judgement, health, now=now, settings=self.project.settings.rollout)
        if plan.changes:
            journal = self._write(journal, plan, now)
        if self.started:
            self._follow(journal)
            self._sample(journal, now)
        self._mark_champion(journal)
        self._tell(journal, plan)

    def tell_trouble(self, what: str) -> None:
        """Say for others to read what the last round could not do; the next good one takes it back."""
        self._next_status = 0.0
        self.file.write_status(self.file.read_status() | {"trouble": what})

    def _resume(self) -> None:
        """Take over what a predecessor had gathered."""
        if not self._resumed:
            self._gathering.resume(self.file.read_checkpoint())
            self._resumed = True

    def _keep_servers(self, journal: Journal) -> None:
        """A server for each that has a place; those who lost theirs first finish what they were sent."""
        steady = time.monotonic()
        for release in self._gathering.seen:
            self._last_traffic[release] = steady
        weighted = [release for release, weight in journal.weights.items() if weight]
        drain = self.project.settings.rollout.request_timeout_seconds + _DRAIN_MARGIN_SECONDS
        placed = self.splitter.releases()
        draining = [release for release in placed if steady - self._last_traffic.get(release, -drain) < drain]
        named = [release for release in (journal.champion, journal.previous, journal.target) if release]
        # Those that run come first: there are three places, and a newcomer waits until somebody has drained.
        candidates = dict.fromkeys([*weighted, *named[:1], *(name for name in named if name in placed), *draining, *named])
        wanted = list(candidates)[: len(SLOTS)]
        for release in placed:
            if release not in wanted:
                self.splitter.remove(release)
                self._placed.pop(release, None)
        self.servers.keep(wanted)
        self.servers.tend(steady)
        for release, port in self.servers.ports().items():
            self.splitter.place(release, port)

    def _keep_proxy(self, journal: Journal) -> bool:
        """Start the proxy as soon as those with traffic can serve, and again when it has died; whether it runs.

        Raises:
            IntegrityError: Nothing is served yet, and the champion's bytes are not those that were released.
        """
        if self.splitter.is_alive():
            if time.monotonic() - self._next_restart > _STEADY_SECONDS:
                self._pause = 0.0
            return True
        self._refuse_damaged(journal.champion)
        health = self.servers.health()
        waits = [
            release
            for release, weight in journal.weights.items()
            if weight and not (health[release].ready or health[release].failure)
        ]
        steady = time.monotonic()
        if (waits and not self.started) or steady < self._next_restart:
            return False
        if self.started:
            self.say("the proxy has ended: starting it again with the journal's weights")
        self.release_port()
        self._gathering.distrust()
        self._placed.clear()
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause + 0.1)
        self._next_restart = steady + self._pause
        self.splitter.start(journal.weights)
        if not self.started:
            self.say(f"serving on http://{LOCALHOST}:{self.splitter.port}")
        self.started = True
        return True

    def _refuse_damaged(self, champion: str | None) -> None:
        """An altered champion ends the start: waiting does not mend it, and a proxy without it only looks like serving."""
        damage = self.servers.damage(champion) if champion and not self.started else None
        if damage is not None:
            raise IntegrityError(
                f"the champion cannot be served: {damage.message}",
                hint="Restore `.sluice/releases` from a copy (`sluice release verify` names what differs), then serve again.",
            )

    def _health(self) -> dict[str, Health]:
        """Ready is who answers and whom the proxy itself knows at the right port."""
        health = {}
        ports = self.servers.ports()
        for release, found in self.servers.health().items():
            port = ports[release]
            placed = port is not None and self._placed.get(release) == port
            if self.started and port is not None and not placed and self.splitter.is_alive() and self.splitter.is_placed(release):
                self._placed[release] = port
                placed = True
            health[release] = dataclasses.replace(found, ready=found.ready and placed)
        return health

    def _look(self, journal: Journal, now: float) -> None:
        """Read weights and counters, and let what they grew by be evidence where all of it fell under the same weights."""
        seen, self._readings = self.splitter.read_weights(), self.splitter.read_counts()
        champion = journal.champion
        ready = champion is not None and self.servers.health()[champion].ready
        if self._gathering.look(journal, seen, self._counts(), stable_ready=ready) and (
            self._gathering.evidence or now >= self._next_sample
        ):
            self.file.write_checkpoint(self._gathering.checkpoint(self._readings))

    def _compare(self, journal: Journal, health: Mapping[str, Health]) -> str:
        """Let what the canary answered in the shadow be evidence; gives what keeps it from that."""
        urls = {release: f"http://{LOCALHOST}:{port}" for release, port in self.servers.ports().items() if health[release].ready}
        champions, canaries = ([urls[release]] if release in urls else [] for release in (journal.champion, journal.target))
        return take_in_shadow(self._gathering, journal, self._shadow, champions, canaries)

    def _counts(self) -> dict[str, Counts]:
        return {release: reading.counts for release, reading in self._readings.items()}

    def _write(self, journal: Journal, plan: Plan, now: float) -> Journal:
        """Write a decision, before anything is done about it."""
        try:
            written = self.file.replace(advance(journal, plan, evidence=self._gathering.describe(journal), now=now))
        except ConflictError:
            return journal  # somebody asked for something meanwhile: the next round decides anew
        self.say(f"{journal.state.name} → {plan.state.name}: {plan.reason}")
        self._next_sample = 0.0
        return written

    def _follow(self, journal: Journal) -> None:
        """Bring the proxy to the journal's weights, see it say so, and write down when it did."""
        wished = journal.shares
        if self._gathering.seen != wished:
            self.splitter.set_weights(wished)
            seen, self._readings = self.splitter.read_weights(), self.splitter.read_counts()
            self._gathering.moved(seen, self._counts())
            if seen != wished:
                raise ServiceError(f"the proxy applies {seen}, not {wished}", hint=f"Its log is {self.splitter.log}.")
        last = journal.transitions[-1] if journal.transitions else None
        if last is None or last.applied_at is not None:
            return
        applied = dataclasses.replace(last, applied_at=time.time())
        self.file.update(
            lambda found: (
                dataclasses.replace(found, transitions=(*found.transitions[:-1], applied))
                if found.transitions[-1] == last
                else found
            )
        )

    def _sample(self, journal: Journal, now: float) -> None:
        """Keep what the report draws."""
        if now < self._next_sample:
            return
        last = journal.transitions[-1].time if journal.transitions else 0.0
        busy = journal.request is not None or now - last < AFTERMATH_SECONDS
        self._next_sample = now + (DENSE_SECONDS if busy else SPARSE_SECONDS)
        evidence = self._gathering.evidence if journal.request else None
        arms = {
            release: {
                "requests": reading.counts.requests,
                "errors": reading.counts.errors,
                "p50_ms": reading.p50_ms,
                "p99_ms": reading.p99_ms,
            }
            for release, reading in self._readings.items()
        }
        sample = {
            "time": time.time(),
            "weights": dict.fromkeys(arms, 0) | self._gathering.seen,
            "arms": arms,
            "e_value": evidence.e_value if evidence else None,
            "upper_bound": evidence.upper_bound if evidence else None,
        }
        self.file.append_sample(sample)

    def _mark_champion(self, journal: Journal) -> None:
        """Let the store's tags follow the journal; the journal is the truth, so this may come late but not be wrong."""
        wished = (journal.champion, journal.previous)
        if wished != self._marked:
            self.servers.launcher.mark(*wished)
            self._marked = wished

    def _tell(self, journal: Journal, plan: Plan) -> None:
        """Say for others to read who serves and what is being waited for."""
        steady = time.monotonic()
        if steady < self._next_status and not plan.changes:
            return
        self._next_status = steady + _STATUS_SECONDS
        self.file.write_status(
            {
                "pid": os.getpid(),
                "started": self._began,
                "url": f"http://{LOCALHOST}:{self.splitter.port}" if self.started else "",
                "port": self.splitter.port,
                "admin_url": self.splitter.admin_url,
                "envoy_pid": self.splitter.pid,
                "servers": self.servers.describe(),
                "seen_weights": self._gathering.seen,
                "reason": plan.reason,
                "trouble": "",
                "evidence": self._gathering.describe(journal) or None,
            }
        )
