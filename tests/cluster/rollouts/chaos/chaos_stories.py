"""The rollouts of a chaos run, one after the other. Each one says how it may end, whatever faults happen meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from deployments_under_test import IMAGES, wait_for

from sluice.errors import RefusedError, SluiceError
from sluice.rollout.requests import approvals, commands, starts

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from deployments_under_test import DeploymentUnderTest
    from load import Load
    from signed_releases import SignedReleases

    from sluice.rollout.decisions.states import Journal, Transition

END_SECONDS = 240.0
"""How long a rollout may take. Faults interrupt it again and again."""

ENDS = {"promoted", "rolled_back", "aborted", "rejected"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happens to a release, and how its rollout may end.

    Attributes:
        name: Its name.
        ends: The outcomes that are allowed.
        forged: What is wrong with the signatures; empty if nothing is.
        approved: Whether somebody other than the requester approves it.
        fault: The fault of the canary's server; empty if it has none.
        order: What a person orders: ``abort``, ``rollback`` or ``promote``, or ``previous`` (roll the new champion back to N-1).
    """

    name: str
    ends: frozenset[str]
    forged: str = ""
    approved: bool = True
    fault: dict[str, object] = field(default_factory=dict)
    order: str = ""

    @property
    def may_take_traffic(self) -> bool:
        """Whether the release may get a request at all."""
        return self.approved and not self.forged


def _fail(name: str, fault: dict[str, object]) -> Story:
    return Story(name=name, fault=fault, ends=frozenset({"rolled_back"}))


GOOD = Story(name="healthy", ends=frozenset({"promoted"}))
STORIES = (
    GOOD,
    _fail("500s", {"status": 500}),
    _fail("a third 500s", {"status": 500, "share": 0.33}),
    _fail("crash loop", {"crash": True}),
    _fail("hangs", {"delay": 20.0, "ready": False}),
    Story(name="no approval", approved=False, ends=frozenset({"aborted"})),
    Story(name="approved by the requester", approved=False, ends=frozenset({"aborted"})),
    Story(name="no gate", forged="no gate", ends=frozenset({"rejected"})),
    Story(name="kept by the gate", forged="kept", ends=frozenset({"rejected"})),
    Story(name="gate of another model", forged="other model", ends=frozenset({"rejected"})),
    Story(name="no provenance", forged="no provenance", ends=frozenset({"rejected"})),
    # The evidence may promote the canary first if the order has to wait for an API server that is away.
    Story(name="aborted", order="abort", ends=frozenset({"aborted", "promoted"})),
    Story(name="rolled back by a person", order="rollback", ends=frozenset({"rolled_back", "promoted"})),
    Story(name="promoted by a person", order="promote", ends=frozenset({"promoted"})),
    Story(name="back to N-1", order="previous", ends=frozenset({"promoted"})),
)


@dataclass(slots=True)
class ToldStory:
    """What was seen of a story: the release, how its rollout ended, and all transitions of the release."""

    story: Story
    release: str
    outcome: str = ""
    transitions: tuple[Transition, ...] = ()


@dataclass
class Storyteller:
    """Runs the stories of one deployment.

    Attributes:
        deployment: The deployment.
        releases: Makes its releases.
        generator: Chooses the stories.
        told: What was seen of each story.
    """

    deployment: DeploymentUnderTest
    releases: SignedReleases
    generator: random.Random
    told: list[ToldStory] = field(default_factory=list)
    _left: list[Story] = field(default_factory=list)
    _numbers: int = 0

    def tell_next(self, load: Load) -> None:
        """Run the next story to its end: each as often as the others, in a new order each time."""
        if not self._left:
            self._left = self.generator.sample(STORIES, len(STORIES))
        self.tell(self._left.pop(), load)

    def tell(self, story: Story, load: Load) -> ToldStory:
        """Run a story to its end."""
        deployment = self.deployment
        release, image = self.releases.make(forged=story.forged)
        self._numbers += 1
        IMAGES[release] = (self._numbers, image)
        told = ToldStory(story, release)
        self.told.append(told)
        by = "ann" if story.name == "approved by the requester" else "bob"
        insist(lambda: starts.request_rollout(deployment.project, release, by=by), lambda: self._is_asked(release))
        if story.approved:
            insist(lambda: approvals.approve(deployment.project, release, by="ann"), lambda: self._is_approved(release))
        elif by == "ann":
            with pytest.raises(RefusedError):
                insist(lambda: approvals.approve(deployment.project, release, by="ann"), lambda: False)
        self._act(story, release, load)
        wait_for(lambda: self._has_ended(release), END_SECONDS, f"the end of the rollout {story.name!r} of {release[:19]}")
        journal = read(deployment)
        told.outcome = next(one.outcome.value for one in reversed(journal.rollouts) if one.release == release)
        if story.order == "previous" and told.outcome == "promoted":
            self._leave_champion(release)
            journal = read(deployment)
        told.transitions = tuple(one for one in journal.transitions if one.release == release)
        return told

    def _act(self, story: Story, release: str, load: Load) -> None:
        """Let the canary fail, or let a person order something, at some moment of the rollout."""
        deployment = self.deployment
        if not story.approved:
            self._wait_state(release, "awaiting_approval")
            waited = time.monotonic() + 5.0
            wait_for(lambda: time.monotonic() > waited)
            insist(lambda: commands.abort(deployment.project, by="kim"), lambda: self._has_ended(release))
        elif story.fault:
            self._wait_state(release, "step-1")
            wait_for(lambda: self._has_ended(release) or self._break(release, story.fault), 60, "the canary's Pods")
        elif story.order in {"abort", "rollback"}:
            self._wait_state(release, self.generator.choice(["step-1", "step-2"]))
            order = commands.abort if story.order == "abort" else commands.rollback
            insist(lambda: order(deployment.project, by="kim"), lambda: self._has_ended(release))
        elif story.order == "promote":
            self._wait_state(release, "step-1")
            insist(
                lambda: commands.promote(deployment.project, release, by="eve", why="a test"),
                lambda: self._has_ended(release) or bool(read(deployment).state.promoted_by),
            )

    def _break(self, release: str, fault: dict[str, object]) -> bool:
        """Set the fault of all Pods of a release; return whether there was one."""
        pods = self.deployment.pods(release)
        self.deployment.set_fault(release, **fault)
        return bool(pods)

    def _leave_champion(self, release: str) -> None:
        """Roll the new champion back to N-1, which stayed warm."""
        deployment = self.deployment
        insist(
            lambda: commands.rollback(deployment.project, by="kim"),
            lambda: read(deployment).champion != release,
        )
        wait_for(lambda: read(deployment).champion != release, END_SECONDS, "the rollback to N-1")

    def _wait_state(self, release: str, state: str) -> None:
        def is_reached() -> bool:
            journal = read(self.deployment)
            names = [one.to_state for one in journal.transitions if one.release == release]
            return state in names or self._has_ended(release)

        wait_for(is_reached, END_SECONDS, f"{release[:19]} in the state {state}")

    def _has_ended(self, release: str) -> bool:
        journal = read(self.deployment)
        return journal.target is None and any(one.release == release for one in journal.rollouts)

    def _is_asked(self, release: str) -> bool:
        journal = read(self.deployment)
        return journal.target == release or any(one.release == release for one in journal.rollouts)

    def _is_approved(self, release: str) -> bool:
        return self._has_ended(release) or any(one.release == release for one in read(self.deployment).approvals)


def read(deployment: DeploymentUnderTest) -> Journal:
    """Read the journal. The tests reach the API server without the proxy, so that it always answers them."""
    return deployment.read_journal()


def insist(order: Callable[[], object], is_done: Callable[[], bool], seconds: float = END_SECONDS) -> None:
    """Give an order until it is done. It fails while no controller acts, and a person would try again."""
    deadline = time.monotonic() + seconds
    while not is_done():
        try:
            order()
        except RefusedError:
            raise
        except SluiceError:
            if is_done():
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return
