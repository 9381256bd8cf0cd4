"""All servers of stable hang while a healthy canary has some traffic. The traffic goes where it is answered, and comes back."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from deployments_under_test import wait_for
from load import Load
from test_takeovers import events_of

from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments_under_test import DeploymentUnderTest

RATE = 40.0
REPLICAS = 2
START_SECONDS = 25.0
"""Kubernetes restarts what hangs. A server that is back within seconds needs no diversion."""

MAX_HANGING_SECONDS = 60.0
"""Guards against hanging. The figures are printed: the status must show it within 10 s on a machine that is not busy."""


def test_traffic_leaves_a_stable_whose_servers_all_hang(make_deployment: Callable[..., DeploymentUnderTest]) -> None:
    deployment = make_deployment("hanging", steps=(5, 50, 100), deadline=600.0)
    deployment.ensure_ready()
    champion = deployment.wait_serving(deployment.start_rollout())
    deployment.cluster.merge(MODEL_ROLLOUT, deployment.name, {"spec": {"replicas": REPLICAS}}, manager="platform team")
    wait_for(lambda: sum(pod.ready for pod in deployment.pods(champion)) == REPLICAS, what="two servers of the champion")
    with Load(deployment.url, RATE, threads=16) as load:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        hung = time.time()
        deployment.set_fault(champion, hang=True, start_seconds=START_SECONDS)
        state = deployment.wait_state("step-1-diverted", seconds=MAX_HANGING_SECONDS)
        diverted = time.time()
        assert deployment.route_weights() == {canary: 100}
        assert deployment.read_journal().champion == champion, "nothing is promoted by this"
        wait_for(lambda: load.count_answers(canary, since=diverted) > RATE, what="traffic at the canary")
        answered = min(one.sent for one in load.answers if one.sent > diverted and not one.failed)
        wait_for(lambda: "Diverted" in " ".join(events_of(deployment)), what="an event about it")
        wait_for(lambda: deployment.read_journal().state.name != state, 120, "the end of the diversion")
        returned = time.time()
        end = deployment.wait_end(canary, 300)
    deployment.check_converged()
    lost = load.lost(canary)
    sys.stderr.write(
        f"all servers of stable hang: diverted after {diverted - hung:.1f} s, answered after {answered - hung:.1f} s, "
        f"back after {returned - hung:.1f} s, {end}; {len(lost)} of {len(load.answers)} requests lost\n"
    )
    assert not [one for one in lost if one.sent > answered + 2.0 or one.done < hung], lost[:5]
