"""Rollouts of real releases: the serving image with its model layer answers the example's live rows."""

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
pytestmark = pytest.mark.skipif(
    len(RELEASES) < 2, reason="rollouts on a cluster: SLUICE_TEST_RELEASES does not name two releases"
)


def read_release(name: str) -> tuple[str, str]:
    """Return the digest of a release and its image by digest. The release's digest is that of the model layer, the last layer."""
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


def read_requests() -> Iterator[bytes]:
    """Yield the example's live rows as requests."""
    from churn.story import live_rows

    for row in itertools.islice(live_rows(7), 500):
        yield json.dumps({"data": {"names": list(row), "ndarray": [list(row.values())]}}).encode()


def roll_out(deployment: DeploymentUnderTest, digest: str) -> str:
    starts.request_rollout(deployment.project, digest, by="bob")
    approvals.approve(deployment.project, digest, by="ann")
    return deployment.wait_end(digest, 240)


def test_releases_of_the_serving_image_are_promoted_and_rolled_back(make_deployment: Callable[..., DeploymentUnderTest]) -> None:
    """The second release is promoted over the first without a lost request and rolled back by hand.

    Then the controller rolls back each further release, because its model fails on live rows.
    """
    deployment = make_deployment("churn", start_timeout=180.0, request_timeout=5.0, deadline=400.0)
    deployment.ensure_ready()
    found = [read_release(name) for name in RELEASES]
    first, second, *failing = [deployment.name_release(image, digest) for digest, image in found]
    payloads = list(read_requests())
    assert roll_out(deployment, first) == "promoted"
    wait_for(lambda: deployment.route_weights() == {first: 100}, 120, "the first release")
    with Load(deployment.url, 30.0, payloads) as load:
        wait_for(lambda: load.count_answers(first) > 30)
        loaded_since = time.time()
        assert roll_out(deployment, second) == "promoted"
        deployment.check_converged()
        deployment.check_evidence(second)
        pods = {pod.uid for pod in deployment.pods(first)}
        done = commands.rollback(deployment.project, by="kim")
        wait_for(lambda: load.count_answers(first, since=done["applied_at"] + 0.7) > 10)
        deployment.check_converged()
        assert {pod.uid for pod in deployment.pods(first)} == pods, "the first release must keep its Pods"
        assert max(0.0, load.last_answer_of(second) - done["decided_at"]) < 2.0
        assert not load.failed(since=loaded_since), [one for one in load.answers if one.failed][:5]
        for canary in failing:
            assert roll_out(deployment, canary) == "rolled_back"
            deployment.check_converged()
            assert not load.lost(canary, since=loaded_since)
            assert load.failed(since=loaded_since)[short(canary)] > 0
