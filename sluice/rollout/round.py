"""One control round, the same on every platform: observe, decide, journal, apply, confirm.

The journal is written before anything is applied, so that a process that is killed at any point resumes from it. There is one
exception: a rollback that cannot be journaled moves the traffic first, and the decision is made and written again by the next
round.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.errors import ServiceError, SluiceError
from sluice.rollout.clocks import REAL_CLOCK, Clock
from sluice.rollout.decisions.blame import BlameCollector
from sluice.rollout.decisions.evidence_collector import EvidenceCollector
from sluice.rollout.decisions.plan import plan_next
from sluice.rollout.decisions.states import ALL_TRAFFIC, Phase
from sluice.rollout.decisions.transitions import add_failure, advance, mark_applied
from sluice.rollout.failures import FailureSummary, select_log_lines
from sluice.rollout.faults import HttpFaultFinder
from sluice.rollout.journals import ConflictError
from sluice.rollout.observations import RoundReport, ServerRecord
from sluice.rollout.server_events import ServerEvents
from sluice.rollout.shadows import HttpShadowComparer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.states import Journal, Transition
    from sluice.rollout.decisions.transitions import Plan
    from sluice.rollout.faults import FaultFinder
    from sluice.rollout.observations import Confirmation, Observation, Platform
    from sluice.rollout.shadows import ShadowComparer


EXPLANATION_SECONDS = 3.0
"""A rollback is published after this time even if the canary's servers have not said what failed."""


@dataclass(frozen=True, slots=True)
class _Unexplained:
    """A transition that took a canary back and is published as soon as it is known what failed."""

    transition: Transition
    condemns: bool
    deadline: float


@dataclass(slots=True)
class ControlLoop:
    """The control rounds of one process, and what it remembers between two rounds.

    Everything that must survive the process is in the journal and in the checkpoint.

    Attributes:
        platform: Where releases are served.
        settings: ``[rollout]``.
        notify: Called with each decision, one line of text.
        clock: Time.
        shadow: Compares the canary's answers with stable's before the canary takes traffic.
        faults: Finds out about the requests that the canary rejected, and about what failed.
        collector: Collects the evidence.
        blame: Collects the rejections that the canary is blamed for.
        server_events: What happened to servers and is not in the journal yet.
    """

    platform: Platform
    settings: RolloutTable
    notify: Callable[[str], object]
    clock: Clock = REAL_CLOCK
    shadow: ShadowComparer = field(init=False)
    faults: FaultFinder = field(init=False)
    collector: EvidenceCollector = field(init=False)
    blame: BlameCollector = field(default_factory=BlameCollector)
    server_events: ServerEvents = field(default_factory=ServerEvents)
    _unexplained: _Unexplained | None = None
    _unwritten_failure: tuple[str, FailureSummary] | None = None
    _tagged: tuple[str | None, str | None] | None = None

    def __post_init__(self) -> None:
        self.collector = EvidenceCollector(self.settings)
        self.shadow = HttpShadowComparer(self.settings.request_timeout_seconds)
        self.faults = HttpFaultFinder(show_values=self.settings.show_values)

    def use_settings(self, settings: RolloutTable) -> None:
        """Use other settings from the next round on, except the time limit of a request, which the proxy has too.

        No rollout may be running, because its evidence was collected by the old settings.
        """
        self._finish_explanation(now=True)  # of the last rollout, by the old settings
        self.settings = self.collector.settings = settings
        self.faults = HttpFaultFinder(show_values=settings.show_values)

    def run_round(self) -> bool:
        """Run one control round, and return whether this process is the one that acts.

        Raises:
            ConflictError: Another process wrote the journal meanwhile. The next round reads it again.
            SluiceError: Something does not answer or cannot be read. The next round tries again.
        """
        observation = self.platform.observe()
        if observation is None:
            return False
        problem = self._collect_evidence(observation)
        journal = observation.journal
        judgement = self.collector.judge(journal).blocked_by(problem)
        plan = plan_next(journal, judgement, observation.health, now=self.clock.now(), settings=self.settings)
        self.server_events.add(observation.events, self.clock.steady())
        if plan.changes:
            journal, written = self._write(journal, plan), True
        else:
            journal, written = self._write_server_events(journal, plan)
        applied = None
        try:
            if observation.can_apply:
                applied = self._follow(journal)
        finally:
            if written:  # publishing comes last, so that the traffic does not wait for it
                self._publish(journal, plan, observation.canary_urls)
            self._finish_explanation()
        if applied is not None:
            self.platform.record_transition(applied)
        evidence = self.collector.describe(journal)
        self.platform.report(RoundReport(journal=journal, plan=plan, problem=problem, evidence=evidence))
        self._tag_champion(journal)
        return True

    def _publish(self, journal: Journal, plan: Plan, canaries: Sequence[str]) -> None:
        """Publish the last transition. If it took a canary back, find out first what failed, without waiting for it."""
        transition = journal.transitions[-1]
        if plan.ends and plan.state.phase in {Phase.ROLLED_BACK, Phase.REJECTED}:
            self._finish_explanation(now=True)  # of an earlier rollout, if it is not finished
            self.faults.refresh(transition.rollout, canaries)
            self._unexplained = _Unexplained(transition, plan.condemns, self.clock.steady() + EXPLANATION_SECONDS)
        else:
            self.platform.record_transition(transition)

    def _finish_explanation(self, *, now: bool = False) -> None:
        """Publish and store what failed as soon as it is known, or now. What cannot be stored is stored by the next round."""
        waiting = self._unexplained
        if waiting is not None and (now or self.faults.is_refreshed() or self.clock.steady() >= waiting.deadline):
            self._unexplained = None
            failure, transition = self._explain(waiting.transition), waiting.transition
            if waiting.condemns or failure.errors or failure.statuses or failure.log:
                self._unwritten_failure = (transition.rollout, failure)
            if waiting.condemns and failure.brief:
                self.notify(f"what failed: {failure.brief}")
                transition = dataclasses.replace(transition, reason=f"{transition.reason}; what failed: {failure.brief}")
            self.platform.record_transition(transition)
        if self._unwritten_failure is not None:
            rollout, explained = self._unwritten_failure
            with contextlib.suppress(SluiceError, OSError):
                self.platform.update_journal(lambda found: add_failure(found, rollout, explained))
                self._unwritten_failure = None

    def _explain(self, transition: Transition) -> FailureSummary:
        """Return what failed at the canary, as far as it is known."""
        record = ServerRecord()
        with contextlib.suppress(SluiceError, OSError):
            record = self.platform.read_server_record(transition.release)
        return FailureSummary(
            errors=self.faults.list_errors(transition.rollout),
            statuses=dict(record.statuses),
            log=select_log_lines(record.log, show_values=self.settings.show_values),
        )

    def _write_server_events(self, journal: Journal, plan: Plan) -> tuple[Journal, bool]:
        """Write what happened to servers into the journal, and return it and whether something was written.

        If it cannot be written, the round goes on without it, and the next round tries again.
        """
        if not (text := self.server_events.describe(journal)):
            return journal, False
        event = dataclasses.replace(plan, changes=True, reason=text, decided_at=self.clock.now())
        try:
            written = self._write(journal, event)
        except ConflictError:
            raise
        except (ServiceError, OSError):
            return journal, False
        self.server_events.clear()
        return written, True

    def _collect_evidence(self, observation: Observation) -> str:
        """Add the observation to the evidence and store it; return what keeps the evidence from being complete, if anything does.

        The evidence is stored before anything is decided, so that a round that fails later loses none of it.
        """
        self._collect_rejections(observation)
        changed = self._collect_counts(dataclasses.replace(observation, counts=self.blame.add_to_counts(observation.counts)))
        shadow_problem = self._collect_shadow_answers(observation)
        self.platform.store_evidence(self.collector.checkpoint(), changed=changed)
        return observation.problem or shadow_problem or self._describe_undecided_rejections(observation.journal)

    def _collect_rejections(self, observation: Observation) -> None:
        """While a rollout is running, add what stable said about the requests that the canary rejected."""
        request = observation.journal.request
        if request is not None and observation.canary_urls:
            found = self.faults.find_rejections(request.id, observation.champion_urls, observation.canary_urls)
            self.blame.add(request.id, request.release, found)

    def _describe_undecided_rejections(self, journal: Journal) -> str:
        evidence = self.collector.evidence
        if evidence is None or not journal.state.phase.exposed:
            return ""
        return self.blame.describe_problem(evidence.canary, evidence.stable)

    def _collect_counts(self, observation: Observation) -> bool:
        """Add the observed counts to the evidence; return whether there is something new to store."""
        if observation.checkpoint is not None:
            self.collector.resume(observation.checkpoint)
        weights, counts = observation.weights, observation.counts
        if weights is None:
            self.collector.discard_window()
            return False
        if counts is None:
            if weights != self.collector.applied_weights:
                self.collector.discard_window()
            return False
        now = self.clock.steady()
        return self.collector.add_observation(
            observation.journal, weights, counts, now=now, stable_ready=observation.stable_ready
        )

    def _collect_shadow_answers(self, observation: Observation) -> str:
        """In the shadow, add what was found since the last round; return what keeps the shadow from continuing."""
        journal, request = observation.journal, observation.journal.request
        champions, canaries = observation.champion_urls, observation.canary_urls
        if request is None or journal.state.phase is not Phase.SHADOW or not (champions and canaries):
            return ""
        try:
            found = self.shadow.poll(request.id, champions, canaries[0])
        except ServiceError as error:
            return str(error)
        self.collector.add_shadow_answers(journal, request, found)
        return ""

    def _write(self, journal: Journal, plan: Plan) -> Journal:
        """Write a decision before it is applied. A canary that must lose traffic loses it even if that cannot be written."""
        advanced = advance(journal, plan, evidence=self.collector.describe(journal), now=self.clock.now())
        try:
            written = self.platform.write_journal(advanced)
        except ConflictError:
            raise
        except (ServiceError, OSError):
            if (weights := _list_urgent_weights(journal, plan)) is not None:
                self.collector.discard_window()
                self.platform.apply(dataclasses.replace(advanced, weights=weights), journaled=False)
            raise
        moved = f"{journal.state.name} → {plan.state.name}: " if plan.state != journal.state else ""
        self.notify(f"{moved}{plan.reason}")
        return written

    def _follow(self, journal: Journal) -> Transition | None:
        """Bring the platform to the desired weights and wait until it shows them.

        Returns:
            The last transition with the time at which it was applied, if this round applied it; otherwise None.
        """
        deadline = self.clock.steady() + self.platform.confirm_seconds
        if self._apply(journal):
            while not (confirmation := self._confirm(journal)).applied:
                if self.clock.steady() > deadline:
                    raise ServiceError(confirmation.difference, hint="The next round tries again.")
                self.clock.sleep(self.platform.confirm_poll_seconds)
        return self._mark_applied(journal)

    def _apply(self, journal: Journal) -> bool:
        try:
            changed = self.platform.apply(journal)
        except BaseException:
            self.collector.discard_window()
            raise
        if changed:
            self.collector.discard_window()
        return changed

    def _confirm(self, journal: Journal) -> Confirmation:
        """Confirm once. Counts that were read after the change start the next window."""
        confirmation = self.platform.confirm(journal)
        counts = self.blame.add_to_counts(confirmation.counts)
        if confirmation.weights is not None and counts is not None:
            self.collector.start_window(confirmation.weights, counts, now=self.clock.steady())
        return confirmation

    def _mark_applied(self, journal: Journal) -> Transition | None:
        """Write down when the weights of the last transition were confirmed, if that is not written yet."""
        last = journal.transitions[-1] if journal.transitions else None
        if last is None or last.applied_at is not None:
            return None
        applied_at = self.clock.now()
        self.platform.update_journal(lambda found: mark_applied(found, last, applied_at))
        return mark_applied(journal, last, applied_at).transitions[-1]

    def _tag_champion(self, journal: Journal) -> None:
        """Let the tags follow the journal whenever champion or N-1 changed."""
        desired = (journal.champion, journal.previous)
        if desired != self._tagged:
            champion = journal.history[-1] if journal.history else None
            previous = journal.history[-2] if len(journal.history) > 1 else None
            self.platform.tag_champion(champion, previous)
            self._tagged = desired


def _list_urgent_weights(journal: Journal, plan: Plan) -> dict[str, int] | None:
    """Return the weights that must apply even if the decision cannot be written; None if it can wait until it is written.

    A canary that loses traffic loses all of it, even if it should only move back, because nothing is evidence without a journal.
    A person's rollback of the champion to N-1 is urgent, too. A part of a person's command moves no more than that part.
    """
    if plan.partial:
        return dict(plan.weights)
    champion, canary = journal.champion, journal.target or ""
    if journal.state.phase.exposed and champion and plan.weights.get(canary, 0) < journal.weights.get(canary, 0):
        return {champion: ALL_TRAFFIC, canary: 0}
    rolls_back = journal.request is None and plan.ends and bool(plan.commanded_by)
    return dict(plan.weights) if rolls_back else None
