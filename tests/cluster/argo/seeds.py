"""An object in the artifact repository that runs can be given the URI of."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from argo_cluster import GROUP, LABEL, VERSION

if TYPE_CHECKING:
    from argo_cluster import Cluster

_LOCK = threading.Lock()
_MADE: dict[str, str] = {}


def seed(cluster: Cluster) -> str:
    """The URI of an object with the text ``seeded`` in it, which a small workflow makes once."""
    from argo_runs import wait

    store = cluster.repository.get("s3")
    if not store:
        pytest.skip("the artifact repository is no S3 store")
    with _LOCK:
        if cluster.session not in _MADE:
            made = cluster.custom.create_namespaced_custom_object(
                GROUP, VERSION, cluster.namespace, "workflows", _workflow(cluster)
            )
            run = wait(cluster, made["metadata"]["name"], timeout=300)
            assert run.phase == "Succeeded", run.story()
            _MADE[cluster.session] = f"s3://{store['bucket']}/{_key(cluster)}"
    return _MADE[cluster.session]


def _key(cluster: Cluster) -> str:
    return f"sluice-test-{cluster.session}/seed.txt"


def _workflow(cluster: Cluster) -> dict[str, Any]:
    from value_samples import SHELL

    template = {
        "name": "seed",
        "container": {"image": SHELL, "command": ["sh", "-c", "printf seeded > /tmp/seed.txt"]},
        "outputs": {
            "artifacts": [
                {"name": "seed", "path": "/tmp/seed.txt", "archive": {"none": {}}, "s3": {"key": _key(cluster)}}  # noqa: S108
            ]
        },
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Workflow",
        "metadata": {"generateName": "seed-", "labels": {LABEL: cluster.session}},
        "spec": {"entrypoint": "seed", "serviceAccountName": cluster.account, "templates": [template]},
    }
