"""Install the manifests in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from approvals_by_kubectl import ALICE, BOB, EDITOR, approve
from manifests_cluster import Installation, find_missing, kubectl, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """Install the manifests under names of this session, and delete them at its end."""
    if missing := find_missing():
        pytest.skip(f"manifests on a cluster: {missing}")
    found = Installation()
    try:
        found.set_up()
        bound = ["create", "rolebinding", "editor", "--clusterrole=edit", f"--user={EDITOR}", "-n", found.production]
        assert kubectl(*bound).succeeded
        wait_for(lambda: "spec.approvedBy must be" in approve(found, ALICE, BOB).error, "the policy on approvals to take effect")
        yield found
    finally:
        found.tear_down()
