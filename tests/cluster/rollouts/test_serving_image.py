"""Rollouts of real releases: the serving image with its model layer, asked with the example's live rows."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deployments_under_test import wait_for
from load import Load, short

from sluice.release.registry.image_references import read_image_reference
from sluice.release.registry.registry_client import RegistryClient
from sluice.rollout.requests import approvals, commands, starts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployments_under_test import DeploymentUnderTest

RELEASES = [name for name in os.environ.get("SLUICE_TEST_RELEASES", "").split(",") if name]
pytestmark = pytest.mark.skipif(len(RELEASES) < 2, reason="rollouts on a cluster: SLUICE_TEST_RELEASES names no two releases")


def read_release(name: str) -> tuple[str, str]:
    """Digest of a release (of its model layer, which is the last one), and its image by digest."""
    reference = read_image_reference(name)
    with (
        RegistryClient(reference.host, reference.repository, plain_http=True) as registry,
        tempfile.TemporaryDirectory() as folder,
    ):
        manifest = json.loads(registry.read_manifest(reference.target)[0])
        registry.read_blob(manifest["config"], Path(folder) / "config")
        config = json.loads((Path(folder) / "config").read_text())
        image = registry.find_manifest(reference.target)
    return config["rootfs"]["diff_ids"][-1], f"{reference.host}/{reference.repository}@{image}"


def rows() -> Iterator[bytes]:
    """The example's live rows as requests."""
    from churn.story import live_rows

    for row in itertools.islice(live_rows(7), 500):
        yield json.dumps({"data": {"names": list(row), "ndarray": [list(row.values())]}}).encode()


def roll_out(deployment: DeploymentUnderTest, digest: str) -> str:
    starts.request_rollout(deployment.project, digest, by="bob")
    approvals.approve(deployment.project, digest, by="ann")
    return deployment.wait_end(digest, 240)


def test_releases_of_the_serving_image(make_deployment: Callable[..., DeploymentUnderTest]) -> None:
    """One is promoted over the other without a lost request, rolled back by hand, and one that fails on live rows goes."""
    deployment = make_deployment("churn", start_timeout=180.0, request_timeout=5.0, deadline=400.0)
    deployment.ensure_ready()
    found = [read_release(name) for name in RELEASES]
    first, second, *bad = [deployment.name_release(image, digest) for digest, image in found]
    payloads = list(rows())
    assert roll_out(deployment, first) == "promoted"
    wait_for(lambda: deployment.route_weights() == {first: 100}, 120, "the first release")
    with Load(deployment.url, 30.0, payloads) as load:
        wait_for(lambda: load.count_answers(first) > 30)
        answered = time.time()
        assert roll_out(deployment, second) == "promoted"
        deployment.check_converged()
        deployment.check_evidence(second)
        pods = {pod.uid for pod in deployment.pods(first)}
        done = commands.rollback(deployment.project, by="kim")
        wait_for(lambda: load.count_answers(first, since=done["applied_at"] + 0.7) > 10)
        deployment.check_converged()
        assert {pod.uid for pod in deployment.pods(first)} == pods, "nothing was started anew"
        assert max(0.0, load.last_answer_of(second) - done["decided_at"]) < 2.0
        assert not load.failed(since=answered), [one for one in load.answers if one.failed][:5]
        for canary in bad:
            assert roll_out(deployment, canary) == "rolled_back"
            deployment.check_converged()
            assert not load.lost(canary, since=answered)
            assert load.failed(since=answered)[short(canary)] > 0
