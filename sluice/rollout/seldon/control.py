"""One round of the controller: hold the lease, look, decide, write, move both objects, see that they agree."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from sluice.errors import DataError, ServiceError
from sluice.rollout.clocks import REAL_CLOCK, Clock
from sluice.rollout.evidence import Checkpoint
from sluice.rollout.gathering import Gathering
from sluice.rollout.journal import CHECKPOINT, ConflictError
from sluice.rollout.plan import Health, plan_next
from sluice.rollout.seldon.api import SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from sluice.rollout.seldon.executors import Executors
from sluice.rollout.seldon.journal import EPOCH_ANNOTATION, ROLLOUT_MANAGER, read_epoch
from sluice.rollout.seldon.leases import EVIDENCE_ANNOTATION, STATUS_ANNOTATION
from sluice.rollout.seldon.pods import Settling, judge_health
from sluice.rollout.seldon.predictors import HTTP_PORT, list_packaged, plan_deployment, plan_predictors
from sluice.rollout.seldon.routes import hosts_in, plan_routes
from sluice.rollout.seldon.worlds import read_world
from sluice.rollout.shadows import Shadow, take_in_shadow
from sluice.rollout.states import ALL_TRAFFIC, CommandKind
from sluice.rollout.transitions import advance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sluice.project import Settings
    from sluice.rollout.evidence import Counts
    from sluice.rollout.plan import Plan
    from sluice.rollout.seldon.api import Cluster
    from sluice.rollout.seldon.journal import SeldonJournal
    from sluice.rollout.seldon.leases import LeaseLock
    from sluice.rollout.seldon.pods import ServingPod
    from sluice.rollout.seldon.worlds import World
    from sluice.rollout.shadows import Comparer
    from sluice.rollout.states import Journal, Transition

NO_ROUTES = (
    "its Pods are ready, and there is no VirtualService: Seldon's operator writes one only with ISTIO_ENABLED=true. "
    "Ambassador is not supported: it serves a split of 100:0 as 50:50"
)

AGREE_SECONDS = 2.0
"""How long one round waits for both objects to show what was written; the next one goes on."""

_AGREE_POLL_SECONDS = 0.05


class Counters(Protocol):
    """Who counts the requests."""

    def read(self, pods: Sequence[ServingPod], now: float) -> dict[str, Counts]:
        """Counts by release since it was made; they never fall.

        Raises:
            ServiceError: They cannot all be read.
        """

    def close(self) -> None:
        """End the connections."""


class SupersededError(ServiceError):
    """A controller with a later epoch has written: this one must not."""


@dataclass(slots=True)
class SeldonControl:
    """The state of a controller between rounds; all that must survive it is in the journal and the lease.

    Attributes:
        settings: The project's.
        cluster: The namespace.
        journal: Of the project.
        lock: Its lease.
        say: Told what happens, one line at a time.
        record: Told each transition that was written, and each that was seen to hold.
        mark: Told the images of champion and N-1 whenever they change; empty where there is none.
        executors: What counts the requests.
        shadow: What asks the canary before it takes traffic.
        clock: Time.
        gathering: The evidence.
        status: What the last round saw, for the lease.
    """

    settings: Settings
    cluster: Cluster
    journal: SeldonJournal
    lock: LeaseLock
    say: Callable[[str], object]
    record: Callable[[Transition], object] = lambda _transition: None
    executors: Counters = field(default_factory=Executors)
    mark: Callable[[str, str], object] = lambda _champion, _previous: None
    clock: Clock = REAL_CLOCK
    shadow: Comparer = field(init=False)
    gathering: Gathering = field(init=False)
    status: dict[str, Any] = field(default_factory=dict)
    _epoch: int = 0
    _marked: tuple[str, str] = ("", "")
    _settling: Settling = field(default_factory=Settling)
    _last_traffic: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gathering = Gathering(self.settings.rollout)
        self.shadow = Shadow(self.settings.rollout.request_timeout_seconds)

    def tick(self) -> bool:
        """One round; whether this controller is the one that acts.

        Raises:
            SluiceError: Something did not answer, cannot be read, or was changed by others meanwhile; the next round tries again.
        """
        if not self._hold():
            return False
        world = read_world(self.cluster, self.journal.name)
        if world is None:
            self.status = {"reason": "nothing was ever rolled out", "trouble": "", "account": self.journal.account}
            return True
        self._refuse_superseded(world)
        journal, unread = self._read_journal(world)
        # An executor that hangs takes seconds; a person who wants to go down has them not.
        trouble = "" if _is_way_down(journal) else self._look(journal, world) or self._compare(journal, world) or unread
        health = self._health(journal, world)
        judgement = self.gathering.judge(journal).beside(trouble)
        plan = plan_next(journal, judgement, health, now=self.clock.now(), settings=self.settings.rollout)
        if plan.changes:
            journal, world = self._write(journal, plan, world)
        try:
            self._follow(journal, world, health)
        finally:
            if plan.changes:  # nobody's traffic waits until it has been told
                self.record(journal.transitions[-1])
        self._mark(journal)
        self._tell(journal, plan, world, health, trouble)
        return True

    def _hold(self) -> bool:
        """Take or renew the lease; a controller that has just taken it goes on from what the last one knew."""
        if self.lock.due and not self.lock.hold(self._annotations()):
            self._epoch = 0
            return False
        if not self.lock.held:
            return False
        if self._epoch != self.lock.epoch:
            self.say(f"holding the lease {self.lock.name}, epoch {self.lock.epoch}")
            self.gathering.distrust()
            self.gathering.resume(self._read_checkpoint())
            self._fence()
            self._epoch = self.lock.epoch
        return True

    def _annotations(self) -> dict[str, str]:
        checkpoint = self.gathering.checkpoint(self.gathering.counts)
        return {
            STATUS_ANNOTATION: json.dumps(self.status, allow_nan=False),
            EVIDENCE_ANNOTATION: CHECKPOINT.dump_json(checkpoint).decode(),
        }

    def _read_checkpoint(self) -> Checkpoint:
        try:
            return CHECKPOINT.validate_json(self.lock.annotations.get(EVIDENCE_ANNOTATION, ""))
        except ValidationError:
            return Checkpoint()  # evidence can be gathered anew

    def _fence(self) -> None:
        """Write the epoch into both objects: what an earlier holder has read of them, it can no longer write over."""
        objects = {}
        for kind in (SELDON_DEPLOYMENT, VIRTUAL_SERVICE):
            objects[kind] = self.cluster.get(kind, self.journal.name)
        if (highest := max(map(read_epoch, objects.values()))) >= self.lock.epoch:
            self.lock.raise_epoch(highest + 1)
        for kind in (SELDON_DEPLOYMENT, VIRTUAL_SERVICE):
            if (found := objects[kind]) is not None:
                metadata = self._metadata(found)
                self.cluster.merge(kind, self.journal.name, {"metadata": metadata}, manager=ROLLOUT_MANAGER)

    def _refuse_superseded(self, world: World) -> None:
        later = max(read_epoch(world.deployment), read_epoch(world.service))
        if later > self.lock.epoch:
            self.lock.epoch = self._epoch = 0
            raise SupersededError(f"a controller of epoch {later} has taken over", hint="This one waits for its turn.")

    def _metadata(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """What every write carries: the version that was read, and the epoch."""
        return {
            "resourceVersion": found["metadata"]["resourceVersion"],
            "annotations": {EPOCH_ANNOTATION: str(self.lock.epoch)},
        }

    def _read_journal(self, world: World) -> tuple[Journal, str]:
        """The journal, and what keeps its approvals from being read: nothing goes up without them, but things go down."""
        try:
            return self.journal.parse(world.deployment), ""
        except DataError:
            raise
        except ServiceError as error:
            journal = self.journal.parse_document(world.deployment)
            # A promotion needs an approval: it waits in its annotation, where a refusal would be the end of it.
            rises = journal.command is not None and journal.command.kind is CommandKind.PROMOTE
            return dataclasses.replace(journal, command=None) if rises else journal, str(error)

    def _look(self, journal: Journal, world: World) -> str:
        """Let what the executors counted be evidence; gives what kept it from that."""
        if world.seen is None:
            self.gathering.distrust()
            return "the VirtualService's routes do not agree in their weights"
        if world.service is None and any(pod.ready for pod in world.pods):
            return NO_ROUTES
        now = self.clock.steady()
        for release in world.seen:
            self._last_traffic[release] = now
        try:
            counts = self.executors.read(
                [pod for pod in world.pods if pod.ip and (pod.ready or not pod.leaving)], self.clock.now()
            )
        except ServiceError as error:
            if world.seen != self.gathering.seen:
                self.gathering.distrust()
            return str(error)
        self.gathering.look(journal, world.seen, counts, stable_ready=bool(world.ready_pods(journal.champion)))
        return ""

    def _compare(self, journal: Journal, world: World) -> str:
        """Let what the canary answered in the shadow be evidence; gives what keeps it from that."""
        # The servers themselves: the executors pass on predictions alone, and count those that are users'.
        champions = [pod.url(HTTP_PORT) for pod in world.ready_pods(journal.champion)]
        canaries = [pod.url(HTTP_PORT) for pod in world.ready_pods(journal.target)]
        return take_in_shadow(self.gathering, journal, self.shadow, champions, canaries)

    def _health(self, journal: Journal, world: World) -> dict[str, Health]:
        """Ready is who answers, and whom every route knows."""
        now, found = self.clock.now(), {}
        routed = hosts_in(world.service or {})
        for digest, release in list_packaged(journal).items():
            exposed = digest == journal.target and journal.state.phase.exposed
            health = judge_health(
                world.pods,
                release,
                exposed=exposed,
                routed=world.hosts.get(digest) in routed,
                now=now,
                start_timeout_seconds=self.settings.serving.start_timeout_seconds,
            )
            if self._is_parked(journal) and digest == journal.target:
                health = Health(parked=True)
            ready = health.ready
            if digest == journal.target and not exposed:
                ready = self._settling.observe(digest, ready=ready, now=self.clock.steady())
            found[digest] = dataclasses.replace(health, ready=ready)
        return found

    def _is_parked(self, journal: Journal) -> bool:
        """Whether the first release still waits for its approval."""
        request = journal.request
        if request is None or journal.champion is not None:
            return False
        return journal.find_approval(request.release, request.steps, self.clock.now(), image=request.image) is None

    def _write(self, journal: Journal, plan: Plan, world: World) -> tuple[Journal, World]:
        """Write a decision, before anything is done about it; gives what stands then, which needs no other look.

        Going down does not wait for that: where nothing can be written to the SeldonDeployment (its operator's webhook is away),
        the routes go there first, and the decision stands again in the next round, until it could be written.
        """
        advanced = advance(journal, plan, evidence=self.gathering.describe(journal), now=self.clock.now())
        try:
            written, deployment = self.journal.write(advanced, world.deployment, epoch=self.lock.epoch)
        except ConflictError:
            raise
        except ServiceError:
            if journal.state.phase.exposed and advanced.shares.get(journal.champion or "") == ALL_TRAFFIC:
                self._move_routes(advanced, world)
            raise
        self.say(f"{journal.state.name} → {plan.state.name}: {plan.reason}")
        return written, dataclasses.replace(world, deployment=deployment)

    def _follow(self, journal: Journal, world: World, health: Mapping[str, Health]) -> None:
        """Bring both objects to the journal's weights, see them say so, and write down when they did."""
        deadline = self.clock.steady() + AGREE_SECONDS
        while not self._move(journal, world, health):
            if self.clock.steady() > deadline:
                what = "the SeldonDeployment changes" if world.seen == journal.shares else f"the routes say {world.seen}"
                raise ServiceError(
                    f"{what}, where {journal.shares} is wished", hint="The next round goes on bringing both there."
                )
            self.clock.sleep(_AGREE_POLL_SECONDS)
            world = read_world(self.cluster, self.journal.name) or world
        self._mark_applied(journal)

    def _move(self, journal: Journal, world: World, health: Mapping[str, Health]) -> bool:
        """One try; whether there was nothing left to do.

        The SeldonDeployment first: the operator undoes what only the routes say. They are set as well, since it writes none while
        any Deployment is not ready; and they are set where the SeldonDeployment cannot be written.
        """
        try:
            moved = self._move_predictors(journal, world, health)
        except ConflictError:
            return False
        except ServiceError:
            with contextlib.suppress(ConflictError):
                self._move_routes(journal, world)
            raise
        try:
            moved = self._move_routes(journal, world) or moved
        except ConflictError:
            return False
        return not moved

    def _move_predictors(self, journal: Journal, world: World, health: Mapping[str, Health]) -> bool:
        """Let the SeldonDeployment have the journal's predictors and weights; whether anything was to be done."""
        parked = health.get(journal.target or "", Health()).parked
        wished = plan_predictors(world.predictors, journal, self.settings, draining=self._draining(journal, world), parked=parked)
        if wished == world.predictors:
            return False
        planned = plan_deployment(self.settings, wished)
        planned["metadata"] |= self._metadata(world.deployment)
        self.cluster.apply(SELDON_DEPLOYMENT, self.journal.name, planned, manager=ROLLOUT_MANAGER)
        return True

    def _move_routes(self, journal: Journal, world: World) -> bool:
        """Set the VirtualService's weights; whether anything was to be done."""
        if world.service is None or not journal.shares or world.seen == journal.shares:
            return False
        if not journal.shares.keys() <= world.hosts.keys():
            return True  # somebody's predictor is not there: half of the weights would give the other one all of the traffic
        weights = {world.hosts[release]: share for release, share in journal.shares.items()}
        self.gathering.distrust()
        try:
            routes = plan_routes(world.service, weights)
        except ValueError:
            return True  # the operator adds it as soon as all are ready
        patch = {"metadata": self._metadata(world.service), "spec": {"http": routes}}
        self.cluster.merge(VIRTUAL_SERVICE, self.journal.name, patch, manager=ROLLOUT_MANAGER)
        return True

    def _draining(self, journal: Journal, world: World) -> list[str]:
        """Releases that got traffic not long ago."""
        if not journal.shares:
            return []
        now, drain = self.clock.steady(), self.settings.seldon.drain_seconds
        return [release for release in world.hosts if now - self._last_traffic.setdefault(release, now) < drain]

    def _mark_applied(self, journal: Journal) -> None:
        """Write down when the weights of the last transition were seen."""
        last = journal.transitions[-1] if journal.transitions else None
        if last is None or last.applied_at is not None:
            return
        applied = dataclasses.replace(last, applied_at=self.clock.now())

        def mark(found: Journal) -> Journal:
            if not found.transitions or found.transitions[-1] != last:
                return found
            return dataclasses.replace(found, transitions=(*found.transitions[:-1], applied))

        self.journal.update(mark, epoch=self.lock.epoch)
        self.record(applied)

    def _mark(self, journal: Journal) -> None:
        """Let the registry's tags follow the journal; the journal is the truth, so that they may come late but not be wrong."""
        images = [reign.image for reign in reversed(journal.history[-2:])]
        wished = (images[0] if images else "", images[1] if len(images) > 1 else "")
        if wished != self._marked:
            self.mark(*wished)
            self._marked = wished

    def _tell(self, journal: Journal, plan: Plan, world: World, health: Mapping[str, Health], trouble: str) -> None:
        """Keep for the lease what others read: who serves, and what is being waited for."""
        self.status = {
            "state": journal.state.name,
            "account": self.journal.account,
            "url": self.settings.seldon.url,
            "seen_weights": dict(world.seen or {}),
            "reason": plan.reason,
            "trouble": trouble,
            "evidence": self.gathering.describe(journal) or None,
            "servers": [
                {"release": digest, "ready": found.ready, "failure": found.failure, "pods": len(world.ready_pods(digest))}
                for digest, found in health.items()
            ],
        }


def _is_way_down(journal: Journal) -> bool:
    """Whether a person has asked to go down, for which no evidence is needed."""
    return journal.command is not None and journal.command.kind is not CommandKind.PROMOTE
