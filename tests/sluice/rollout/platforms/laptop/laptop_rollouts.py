"""Rollouts on a laptop that tests start: a new champion, and a canary. And questions to the admin interface of Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from guards import GUARD_SECONDS
from rollout_backends import wait_for

from sluice.rollout.requests import approvals, commands, outcomes, starts, statuses

if TYPE_CHECKING:
    from sluice.project.projects import Project


def make_champion(project: Project, digest: str) -> None:
    """Make a release champion: approve it, and promote it by command if there is a champion already."""
    approvals.approve(project, digest, by="eve")
    starts.request_rollout(project, digest, by="bob")
    if statuses.read_status(project).champion:
        wait_for(lambda: statuses.read_status(project).state.startswith(("step", "baking")))
        commands.promote(project, digest, by="eve", why="a test")
    assert outcomes.wait_for_outcome(project, digest, timeout=GUARD_SECONDS) == "promoted"


def start_canary(project: Project, digest: str) -> None:
    approvals.approve(project, digest, by="eve")
    starts.request_rollout(project, digest, by="bob")


def ask_admin(admin_socket: str, path: str, method: str = "GET") -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(uds=admin_socket), base_url="http://envoy") as client:
        return client.request(method, path).raise_for_status()
