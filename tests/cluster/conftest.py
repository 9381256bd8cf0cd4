"""Tests that need a Kubernetes cluster: `make test-cluster`, with $KUBECONFIG.

Each folder skips its tests if the cluster lacks something that they need, and a message says what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark every test of this folder, because each of them needs a cluster."""
    item.add_marker("cluster")
