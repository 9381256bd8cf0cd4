"""A canary that turns bad, at each state of its rollout: back to stable, and only the canary's own requests failed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from lanes import wait_for
from load import Load

from sluice.rollout.platforms.seldon.objects.serving_pods import MAX_CRASHES

if TYPE_CHECKING:
    from collections.abc import Callable

    from lanes import Lane
    from places import Place

RATE = 60.0
STATES = ("step-1", "step-2", "baking")
FAULTS: dict[str, dict[str, Any]] = {
    "500s": {"status": 500},
    "400s": {"status": 400},
    "a third 500s": {"status": 500, "share": 0.33},
    "slow": {"delay": 4.0},
    "late": {"delay": 1.0},
    "crash-loop": {"crash": True},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_canary_that_turns_bad_is_rolled_back(lanes: list[Lane], together: Callable[..., list[object]], fault: str) -> None:
    def act(lane: Lane, state: str) -> None:
        champion = lane.read().champion or ""
        with Load(lane.url, RATE) as load:
            canary = lane.begin()
            lane.wait_state(state)
            turned = time.time()
            lane.fault(canary, **FAULTS[fault])
            assert lane.wait_end(canary) == "rolled_back"
            lane.check_converged()
            zero = lane.wait_applied(canary)
            wait_for(lambda: load.of(champion, since=zero + 0.5) > 20, what="traffic at stable")
        assert lane.read().champion == champion
        lane.check_evidence(canary)
        assert not load.failed(until=turned - 0.1)
        assert not load.lost(canary), load.lost(canary)[:5]
        assert not load.of(canary, since=zero + 0.5), "nothing is sent to it once that was decided and seen"

    together(act, lanes, STATES)


def test_a_canary_that_never_starts_takes_no_traffic(
    lanes: list[Lane], together: Callable[..., list[object]], place: Place
) -> None:
    """One ends as it starts; one has no image; one starts, and begins to crash before it is approved."""

    def act(lane: Lane, image: str) -> None:
        champion = lane.read().champion or ""
        with Load(lane.url, 30.0) as load:
            canary = lane.begin(image, approved=bool(image))
            if not image:
                lane.wait_state("awaiting_approval")
                lane.fault(canary, crash=True)
            assert lane.wait_end(canary, 150) == "rejected"
            lane.check_converged()
        assert not load.failed()
        assert not load.of(canary)
        assert lane.read().champion == champion

    assert MAX_CRASHES <= 5, "the test would take minutes"
    absent = place.model.partition("@")[0] + "@sha256:" + "0" * 64
    together(act, lanes, [place.broken, absent, ""])
