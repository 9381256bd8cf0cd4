"""The cluster in which the manifests are tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from approvals_by_kubectl import ALICE, EDITOR, approve
from manifests_cluster import Site, find_missing, kubectl, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    if missing := find_missing():
        pytest.skip(f"manifests on a cluster: {missing}")
    found = Site()
    try:
        found.set_up()
        bound = ["create", "rolebinding", "editor", "--clusterrole=edit", f"--user={EDITOR}", "-n", found.production]
        assert kubectl(*bound).done
        wait_for(lambda: "immutable" in approve(found, ALICE, immutable=False).error, "the policy on approvals holds")
        yield found
    finally:
        found.tear_down()
