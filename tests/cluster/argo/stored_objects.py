"""Store an object in the artifact repository, so that a run can have its URI as an argument."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from argo_cluster import GROUP, LABEL, VERSION

if TYPE_CHECKING:
    from argo_cluster import Cluster

_LOCK = threading.Lock()
_STORED: dict[str, str] = {}


def store_object(cluster: Cluster) -> str:
    """Return the URI of an object with the text ``seeded``. A small workflow stores it once in a session."""
    from argo_runs import wait

    store = cluster.repository.get("s3")
    if not store:
        pytest.skip("the artifact repository is not an S3 store")
    with _LOCK:
        if cluster.session not in _STORED:
            made = cluster.custom.create_namespaced_custom_object(
                GROUP, VERSION, cluster.namespace, "workflows", _workflow(cluster)
            )
            run = wait(cluster, made["metadata"]["name"], timeout=300)
            assert run.phase == "Succeeded", run.describe_problems()
            _STORED[cluster.session] = f"s3://{store['bucket']}/{_key(cluster)}"
    return _STORED[cluster.session]


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
