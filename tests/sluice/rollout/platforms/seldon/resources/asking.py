"""What people and pipelines do in these tests, each with an account of their own."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from simulated_cluster import APPROVER, REQUESTER, SimulatedCluster, SimulatedServer

from sluice.rollout.platforms.seldon.api import LEASE
from sluice.rollout.requests import approvals, starts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluice.project.projects import Project
    from sluice.rollout.decisions.states import Journal
    from sluice.rollout.round import ControlLoop

A, B = (f"sha256:{letter * 64}" for letter in "ab")


def request(project: Project, cluster: SimulatedCluster, release: str = B) -> None:
    cluster.api.user = REQUESTER
    starts.request_rollout(project, release, by="whoever")


def approve(project: Project, cluster: SimulatedCluster, note: str = "") -> None:
    cluster.api.user = APPROVER
    approvals.approve(project, B, by=APPROVER, note=note)


@contextmanager
def acting(cluster: SimulatedCluster, control: ControlLoop) -> Iterator[None]:
    """Run the controller's rounds in another thread."""
    stop = threading.Event()

    def act() -> None:
        while not stop.wait(0.01):
            cluster.tick(control)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def run_canary(
    cluster: SimulatedCluster, server: SimulatedServer | None = None, *, until: Callable[[Journal], bool]
) -> ControlLoop:
    """Roll B out, approved, with a new controller until a condition holds. Return the controller."""
    control = cluster.controller("two")
    cluster.api.objects[LEASE.plural, "churn-rollout"]["spec"]["holderIdentity"] = ""
    cluster.servers[B] = server or SimulatedServer()
    cluster.request(B, 2)
    cluster.approve(B)
    cluster.run(control, until=until)
    return control
