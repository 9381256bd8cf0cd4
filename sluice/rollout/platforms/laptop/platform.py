"""The laptop as a platform: a server process for each release, one Envoy in front of them, and the journal on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.errors import IntegrityError
from sluice.rollout.clocks import describe_difference
from sluice.rollout.decisions.health import VERIFIED, Health, Verification
from sluice.rollout.observations import Confirmation, Observation, ServerRecord
from sluice.rollout.platforms.laptop.disk_reserves import hold_reserve
from sluice.rollout.platforms.laptop.envoy_config import LOCALHOST, SLOTS
from sluice.rollout.settings_in_force import describe_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.project.projects import Project
    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.evidence import Checkpoint, Counts
    from sluice.rollout.decisions.states import ChampionTerm, Journal, Transition
    from sluice.rollout.observations import RoundReport
    from sluice.rollout.platforms.laptop.envoy import EnvoyProxy
    from sluice.rollout.platforms.laptop.envoy_counters import TrafficReading
    from sluice.rollout.platforms.laptop.journal_file import JournalFile
    from sluice.rollout.platforms.laptop.servers import Servers

DENSE_SECONDS, SPARSE_SECONDS = 0.5, 5.0
"""The time between two samples: during a rollout, and otherwise."""

DENSE_AFTER_TRANSITION_SECONDS = 30.0
"""For this long after a transition, samples are taken as often as during a rollout."""

_STATUS_SECONDS = 0.5
DRAIN_MARGIN_SECONDS = 1.0
_SILENT_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 5.0
_PAUSE_RESET_SECONDS = 60.0


@dataclass(slots=True)
class LaptopPlatform:
    """The platform behind `sluice serve`.

    Attributes:
        project: The project.
        file: Its journal.
        servers: One server for each release that is needed.
        proxy: The proxy.
        notify: Called with each event, one line of text.
        release_port: Called right before the proxy first listens, so that the port becomes free for it.
        verify: Says whether the release of the running rollout may take traffic.
        started: Whether the proxy has been started.
        in_force: The settings of ``[rollout]`` by which rollouts are judged now.
    """

    project: Project
    file: JournalFile
    servers: Servers
    proxy: EnvoyProxy
    notify: Callable[[str], object]
    release_port: Callable[[], object]
    verify: Callable[[Journal], Verification] = lambda _journal: VERIFIED
    started: bool = False
    in_force: RolloutTable = field(init=False)
    confirm_seconds: float = 0.0  # Envoy applies new weights at once, so one look is enough
    confirm_poll_seconds: float = 0.0
    _weights: dict[str, int] = field(default_factory=dict)
    _readings: dict[str, TrafficReading] = field(default_factory=dict)
    _endpoints: dict[str, int] = field(default_factory=dict)
    _last_traffic: dict[str, float] = field(default_factory=dict)
    _began: float = field(init=False)
    _resumed: bool = False
    _next_sample: float = 0.0
    _next_status: float = 0.0
    _next_restart: float = 0.0
    _pause: float = 0.0
    _verification: Verification = VERIFIED
    _clock_differs: bool = False

    def __post_init__(self) -> None:
        self._began = self.file.clock.now()
        self.in_force = self.project.settings.rollout

    def use_settings(self, settings: RolloutTable) -> None:
        """Report other settings as those in force."""
        self.in_force, self._next_status = settings, 0.0

    def observe(self) -> Observation:
        """Keep servers and proxy running, and read the journal, the proxy's weights and its counters.

        Raises:
            IntegrityError: No proxy runs yet, and the champion's bytes are not those that were released.
            SluiceError: Something does not answer or cannot be read.
        """
        journal = self.file.read()
        checkpoint = None if self._resumed else self.file.read_checkpoint()
        self._verification = self.verify(journal)
        self._keep_servers(journal)
        was_running = self._keep_proxy(journal)
        if was_running or self.proxy.is_alive():
            self._weights, self._readings = self.proxy.read_weights(), self.proxy.read_counts()
            self.servers.note_answers({name: _count_answers(found) for name, found in self._readings.items()}, time.monotonic())
        health = self._read_health(journal.target)
        champion = journal.champion
        self._resumed = True  # only now, because everything before may fail
        return Observation(
            journal=journal,
            health=health,
            # The counters of a proxy that was just started cannot be compared with the ones before.
            weights=self._weights if was_running else None,
            counts=self._read_counts() if was_running else None,
            stable_ready=champion is not None and self.servers.read_health()[champion].ready,
            champion_urls=self._list_urls(journal.champion, health),
            canary_urls=self._list_urls(journal.target, health),
            can_apply=self.started,
            checkpoint=checkpoint,
            events=self.servers.take_events(),
        )

    def store_evidence(self, checkpoint: Checkpoint, *, changed: bool) -> None:
        """Write the evidence to the disk: during a rollout after each round, otherwise as often as a sample."""
        if changed and (checkpoint.evidence is not None or self.file.clock.now() >= self._next_sample):
            with contextlib.suppress(OSError):  # a full disk must not stop a rollback
                self.file.write_checkpoint(checkpoint)

    def write_journal(self, journal: Journal) -> Journal:
        """Write a decision to the disk, unless another process wrote the journal since it was observed."""
        written = self.file.replace(journal)
        self._next_sample = 0.0
        return written

    def update_journal(self, change: Callable[[Journal], Journal]) -> None:
        """Read, change and write the journal under its lock."""
        self.file.update(change)

    def apply(self, journal: Journal, *, journaled: bool = True) -> bool:
        """Set the proxy's weights; return whether they had to change."""
        del journaled  # the journal and the proxy do not depend on each other here
        if self._weights == journal.desired_weights:
            return False
        self.proxy.set_weights(journal.desired_weights)
        return True

    def confirm(self, journal: Journal) -> Confirmation:
        """Read the proxy's weights and counters again."""
        self._weights, self._readings = self.proxy.read_weights(), self.proxy.read_counts()
        desired = journal.desired_weights
        difference = (
            "" if self._weights == desired else f"the proxy applies {self._weights}, not {desired} (log: {self.proxy.log})"
        )
        return Confirmation(applied=not difference, weights=self._weights, counts=self._read_counts(), difference=difference)

    def read_server_record(self, release: str) -> ServerRecord:
        """Read the proxy's counts of failed answers, and the end of the server's log."""
        return ServerRecord(statuses=self.proxy.read_failed_statuses(release), log=self.servers.read_log(release))

    def record_transition(self, transition: Transition) -> None:
        """Do nothing: on a laptop the journal and the supervisor's output show each transition."""

    def tag_champion(self, champion: ChampionTerm | None, previous: ChampionTerm | None) -> None:
        """Move the tags of the release store."""
        self.servers.launcher.move_tags(champion.release if champion else None, previous.release if previous else None)

    def report(self, report: RoundReport) -> None:
        """Store the samples that reports draw, and the status."""
        hold_reserve(self.file.folder)
        if self.started:
            self._append_sample(report, self.file.clock.now())
        self._write_status(report)

    def report_problem(self, problem: str) -> None:
        """Write what the last round could not do into the status. The next successful round removes it."""
        self._next_status = 0.0
        self.file.write_status(self.file.read_status() | {"trouble": problem})

    def _keep_servers(self, journal: Journal) -> None:
        """Run a server for each release that is needed. A release that lost its traffic first answers what it was sent.

        A canary that is not verified gets no server, unless it takes traffic already.
        """
        steady = time.monotonic()
        for release in self._weights:
            self._last_traffic[release] = steady
        weighted = list(journal.desired_weights)
        drain = self.project.settings.rollout.request_timeout_seconds + DRAIN_MARGIN_SECONDS
        present = self.proxy.releases()
        draining = [release for release in present if steady - self._last_traffic.get(release, -drain) < drain]
        canary = journal.target if self._verification.holds else None
        named = [release for release in (journal.champion, journal.previous, canary) if release]
        # The proxy has three slots. Releases that run already come first, so a new one waits until a slot is drained.
        candidates = dict.fromkeys([*weighted, *named[:1], *(name for name in named if name in present), *draining, *named])
        needed = list(candidates)[: len(SLOTS)]
        for release in present:
            if release not in needed:
                self.proxy.remove(release)
                self._endpoints.pop(release, None)
        self.servers.set_releases(needed)
        self.servers.update(steady)
        for release, port in self.servers.read_ports().items():
            self.proxy.set_endpoint(release, port)

    def _keep_proxy(self, journal: Journal) -> bool:
        """Start the proxy when the releases with traffic can serve, and restart it when it has died.

        Returns:
            Whether the proxy has been running since an earlier round, so that its counters continue.

        Raises:
            IntegrityError: No proxy runs yet, and the champion's bytes are not those that were released.
        """
        steady = time.monotonic()
        if self.proxy.is_alive() and self.proxy.silent_seconds >= _SILENT_SECONDS:
            self.notify(f"the proxy has not answered for {self.proxy.silent_seconds:.0f} s, so it is killed")
            self.proxy.stop()
        if self.proxy.is_alive() and self.proxy.is_drained:
            self.notify("the proxy has been told to stop listening, so it is replaced")
            self.proxy.stop()
        if self.proxy.is_alive():
            if steady - self._next_restart > _PAUSE_RESET_SECONDS:
                self._pause = 0.0
            return True
        self._refuse_altered(journal.champion)
        health = self.servers.read_health()
        waits = any(not (health[release].ready or health[release].failure) for release in journal.desired_weights)
        if (waits and not self.started) or steady < self._next_restart:
            return False
        if self.started:
            self.notify("the proxy has ended; it starts again with the weights of the journal")
        self.release_port()
        self._endpoints.clear()
        self._pause = min(_LONGEST_PAUSE_SECONDS, 2 * self._pause + 0.1)
        self._next_restart = steady + self._pause
        self.proxy.start(journal.weights)
        if not self.started:
            self.notify(f"serving on http://{LOCALHOST}:{self.proxy.port}")
        self.started = True
        return False

    def _refuse_altered(self, champion: str | None) -> None:
        """Refuse to start with an altered champion: waiting does not repair it, and a proxy without it only seems to serve."""
        error = self.servers.find_integrity_error(champion) if champion and not self.started else None
        if error is not None:
            raise IntegrityError(
                f"the champion cannot be served: {error.message}",
                hint="Restore `.sluice/releases` from a copy, then serve again. `sluice release verify` names what differs.",
            )

    def _read_health(self, canary: str | None) -> dict[str, Health]:
        """Return the health of each server. It is ready if it answers and the proxy knows it at its present port.

        A canary that hung has failed, although its server was replaced. A hung stable has not: nothing better could serve.
        """
        health = {}
        ports = self.servers.read_ports()
        for release, found in self.servers.read_health().items():
            port = ports[release]
            known = port is not None and self._endpoints.get(release) == port
            if self.started and port is not None and not known and self.proxy.is_alive() and self.proxy.has_endpoint(release):
                self._endpoints[release] = port
                known = True
            failure = found.failure or (self.servers.find_hang(release) if release == canary else "")
            health[release] = dataclasses.replace(found, ready=found.ready and known, failure=failure)
        if canary is not None:
            health[canary] = dataclasses.replace(health.get(canary, Health()), verification=self._verification)
        return health

    def _list_urls(self, release: str | None, health: Mapping[str, Health]) -> list[str]:
        """Return the address of a release's server, with the reader's token, if it is ready and verified; otherwise nothing."""
        url = self.servers.find_reader_url(release) if release else None
        usable = release and url and health[release].ready and health[release].verification.holds
        return [url] if usable and url else []

    def _read_counts(self) -> dict[str, Counts]:
        return {release: reading.counts for release, reading in self._readings.items()}

    def _append_sample(self, report: RoundReport, now: float) -> None:
        """Store what reports draw over time."""
        if now < self._next_sample:
            return
        journal = report.journal
        last = journal.transitions[-1].time if journal.transitions else 0.0
        busy = journal.request is not None or now - last < DENSE_AFTER_TRANSITION_SECONDS
        self._next_sample = now + (DENSE_SECONDS if busy else SPARSE_SECONDS)
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
            "time": now,
            "weights": dict.fromkeys(arms, 0) | self._weights,
            "arms": arms,
            "e_value": report.evidence.get("e_value"),
            "upper_bound": report.evidence.get("upper_bound"),
        }
        self.file.append_sample(sample)

    def _tell_time(self) -> None:
        """Share the time with the commands, and say it if somebody has set the system's clock."""
        self.file.keep_time()
        described = describe_difference(self.file.clock.now(), time.time())
        if bool(described) != self._clock_differs:
            self._clock_differs = bool(described)
            self.notify(described or "the system's clock agrees with the time that rollouts use again")

    def _write_status(self, report: RoundReport) -> None:
        """Write who serves and what the rollout waits for."""
        steady = time.monotonic()
        if steady < self._next_status and not report.plan.changes:
            return
        self._next_status = steady + _STATUS_SECONDS
        self._tell_time()
        self.file.write_status(
            {
                "pid": os.getpid(),
                "started": self._began,
                "url": f"http://{LOCALHOST}:{self.proxy.port}" if self.started else "",
                "port": self.proxy.port,
                "admin_socket": self.proxy.admin_socket,
                "envoy_pid": self.proxy.pid,
                "servers": self.servers.describe(),
                "seen_weights": self._weights,
                "reason": report.plan.reason,
                "trouble": report.problem,
                "evidence": dict(report.evidence) or None,
                "settings": describe_settings(self.in_force),
            }
        )


def _count_answers(reading: TrafficReading) -> int:
    """Return how many answers certainly came from the server itself. The proxy writes some of the 5xx."""
    return reading.counts.requests - reading.counts.errors + reading.counts.rejected
