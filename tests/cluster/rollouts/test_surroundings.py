"""What befalls everything around a rollout: metrics, traffic, counters, stable's replicas, images, the operator."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from lanes import wait_for
from load import Load
from stand_in_images import delete_image
from test_controller_faults import RATE, check_promoted, run

from sluice.rollout.requests import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from lanes import Lane
    from places import Place

QUICK = 10.0
"""Seconds that a rollback takes at most where three of them go at once beside three proxies; `test_cluster_drills` measures."""


def hold(lane: Lane, seconds: float) -> None:
    """It stays where it is for that long."""
    state, start = lane.read().state, time.time()

    def check() -> bool:
        assert lane.read().state == state
        return time.time() > start + seconds

    wait_for(check, seconds + 5)


def test_without_metrics_it_holds(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    """At each state, the canary's or stable's executor does not answer what it counted."""

    def lose(state: str, whose: str) -> Callable[[Lane, Load], str]:
        def act(lane: Lane, load: Load) -> str:
            champion = lane.read().champion or ""
            canary = lane.begin()
            lane.wait_state(state)
            silent = canary if whose == "canary" else champion
            lane.fault(silent, port=8000, metrics=False)
            state_now = lane.read().state.name
            if state_now == state:
                hold(lane, 8.0)
            lane.fault(silent, port=8000, metrics=True)
            return check_promoted(lane, canary)

        return act

    together(run, lanes, [lose("step-1", "canary"), lose("step-2", "stable"), lose("baking", "canary")])


def test_what_was_seen_before_the_metrics_went_away_does_not_promote(
    lanes: list[Lane], together: Callable[..., list[object]]
) -> None:
    """The bake looks at all of its time: a look that passed in its first second does not end it blind."""

    def act(lane: Lane, load: Load) -> str:
        canary = lane.begin()
        lane.wait_state("baking")
        wait_for(lambda: "baking for" in (said := lane.journal.read_status()["reason"]) and "at most" in said, 20, "a look")
        assert lane.read().target == canary, "the bake was too short for this test"
        lane.fault(canary, port=8000, metrics=False)
        hold(lane, 8.0)
        lane.fault(canary, port=8000, metrics=True)
        return check_promoted(lane, canary)

    together(run, lanes, [act] * len(lanes))


def test_a_person_does_not_wait_for_an_executor_that_hangs(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    def act(lane: Lane, state: str) -> None:
        def roll_back(lane: Lane, load: Load) -> str:
            canary = lane.begin()
            lane.wait_state("step-1")
            if state != "step-1":
                commands.promote(lane.project, canary, by="eve")
                lane.wait_state(state)
            lane.fault(canary, port=8000, delay=30.0)
            if state == "step-1":  # a bake on a person's word ends without metrics
                hold(lane, 3.0)
            done = commands.rollback(lane.project, by="kim")
            assert (done["left"], done["seconds"] < QUICK) == (canary, True), done
            assert lane.wait_end(canary) == "rolled_back"
            return canary

        run(lane, roll_back)

    together(act, lanes, ["step-1", "step-1", "baking"])


def test_without_traffic_it_holds(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    """Until there is some, or a person takes it on their word."""

    def act(lane: Lane, word: bool) -> None:
        canary = lane.begin()
        lane.wait_state("step-1")
        hold(lane, 8.0)
        if word:
            commands.promote(lane.project, canary, by="eve")
            assert lane.wait_end(canary) == "promoted"
            assert lane.transitions(canary)[-1].reason.endswith("promoted by eve")
            return
        run(lane, lambda lane, _load: check_promoted(lane, canary))

    together(act, lanes, [True, False, False])


def test_counters_that_are_reset_condemn_nobody(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    def reset(state: str) -> Callable[[Lane, Load], str]:
        def act(lane: Lane, load: Load) -> str:
            champion = lane.read().champion or ""
            canary = lane.begin()
            lane.wait_state(state)
            for release in (canary, champion):
                lane.fault(release, port=8000, reset=True)
            check_promoted(lane, canary)
            assert all(one.evidence.get("canary_errors", 0) == 0 for one in lane.transitions(canary))
            return canary

        return act

    together(run, lanes, [reset(state) for state in ("step-1", "step-2", "baking")])


def test_stable_is_scaled_in_the_middle(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    """The operator writes no routes until the new Pods are ready; going down does not wait for them."""

    def scale(lane: Lane, replicas: int) -> None:
        champion = lane.read().champion
        found = lane.deployment()
        number = next(
            index for index, one in enumerate(found["spec"]["predictors"]) if one["annotations"]["sluice.dev/release"] == champion
        )
        path = f"/spec/predictors/{number}/replicas"
        lane.place.kube.ask(
            "PATCH",
            f"/apis/machinelearning.seldon.io/v1/namespaces/{lane.place.namespace}/seldondeployments/{lane.name}",
            [{"op": "replace", "path": path, "value": replicas}],
            kind="application/json-patch+json",
        )

    def climb(lane: Lane, load: Load) -> str:
        canary = lane.begin()
        lane.wait_state("step-1")
        scale(lane, 2)
        check_promoted(lane, canary)
        return canary

    def turn_bad(lane: Lane, load: Load) -> str:
        canary = lane.begin()
        lane.wait_state("step-2")
        scale(lane, 2)
        lane.fault(canary, status=500)
        assert lane.wait_end(canary) == "rolled_back"
        return canary

    def by_hand(lane: Lane, load: Load) -> str:
        canary = lane.begin()
        lane.wait_state("step-1")
        scale(lane, 2)
        done = commands.rollback(lane.project, by="kim")
        assert done["seconds"] < QUICK
        assert lane.wait_end(canary) == "rolled_back"
        return canary

    together(run, lanes, [climb, turn_bad, by_hand])


def test_the_image_is_deleted_from_the_registry(lanes: list[Lane], together: Callable[..., list[object]], place: Place) -> None:
    """Rolling back to a release needs nothing of the registry, and pulls nothing."""

    def act(lane: Lane, state: str) -> None:
        stable, broken = (place.push(mark=uuid.uuid4().hex) for _ in range(2))

        def roll_back(lane: Lane, load: Load) -> str:
            champion = lane.begin(stable)
            lane.wait_state("step-1")
            commands.promote(lane.project, champion, by="eve")
            assert lane.wait_end(champion) == "promoted"
            pods = {pod.uid for pod in lane.pods(champion)}
            canary = lane.begin(broken)
            lane.wait_state("step-1")
            for image in (stable, broken):
                delete_image(image)
            if state != "step-1":
                commands.promote(lane.project, canary, by="eve")
                lane.wait_state(state)
            if state == "promoted":
                wait_for(lambda: lane.read().target is None)
            done = commands.rollback(lane.project, by="kim")
            assert (done["to"], done["left"]) == (champion, canary)
            assert done["seconds"] < QUICK
            assert {pod.uid for pod in lane.pods(champion)} == pods, "the same Pods"
            return canary

        run(lane, roll_back)

    together(act, lanes, ["step-1", "baking", "promoted"])


def test_the_operator_is_away(lanes: list[Lane], together: Callable[..., list[object]], place: Place) -> None:
    """Down goes all the same, at once; when it is back, it finds everything as it would have made it."""

    def turn_bad(lane: Lane, load: Load) -> str:
        canary = lane.begin()
        lane.wait_state("step-1")
        return canary

    canaries = together(lambda lane: turn_bad(lane, None), lanes)  # type: ignore[arg-type]
    place.stop_operator()

    def act(lane: Lane, canary: str) -> None:
        with Load(lane.url, RATE) as load:
            done = commands.rollback(lane.project, by="kim")
            assert done["seconds"] < QUICK
            lane.check_converged()
        assert not load.lost(canary)

    try:
        together(act, lanes, canaries)
    finally:
        place.start_operator()
    together(lambda lane: lane.check_converged(), lanes)
    for lane, canary in zip(lanes, canaries, strict=True):
        wait_for(lambda lane=lane, canary=canary: not lane.pods(canary), what="the end of the canary's Pods")
