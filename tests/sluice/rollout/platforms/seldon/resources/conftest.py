"""A simulated cluster in which a release is champion, for requests, approvals and commands of a project."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from simulated_cluster import SimulatedCluster, make_settings

from sluice.project.projects import Project
from sluice.rollout.platforms.seldon.api import LEASE
from sluice.rollout.platforms.seldon.resources import rollout_journals
from sluice.rollout.requests import approvals, published_releases, starts

if TYPE_CHECKING:
    from pathlib import Path


A, B = (f"sha256:{letter * 64}" for letter in "ab")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> SimulatedCluster:
    """A cluster in which A is champion, and the lease counts as held by the real clock."""
    cluster = SimulatedCluster(make_settings(margin=0.05, first_look=60, bake_seconds=1.0), now=time.time() - 100)
    cluster.make_champion(A, 1)
    lease = cluster.api.objects[LEASE.plural, "churn-rollout"]
    lease["spec"]["renewTime"] = "2100-01-01T00:00:00.000000Z"
    monkeypatch.setattr(rollout_journals, "connect", lambda _namespace: cluster.api)
    monkeypatch.setattr(rollout_journals.SeldonJournal, "poll_seconds", 0.01)
    for module in (published_releases, starts):
        monkeypatch.setattr(module, "publish_release", lambda _project, digest: (2, f"churn@{digest}"))
    for module in (approvals, starts):
        monkeypatch.setattr(module, "check_gate", lambda _project, _digest: None)
    return cluster


@pytest.fixture
def project(tmp_path: Path, cluster: SimulatedCluster) -> Project:
    return Project(tmp_path, cluster.settings)
