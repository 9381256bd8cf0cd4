"""Test compiled pipelines on a real Argo: `make test-cluster`, with $KUBECONFIG.

Without a cluster with Argo, the tests are skipped, and a message says what is missing. They read these environment variables:

KUBECONFIG                   The cluster. The account must be able to create a namespace (unless SLUICE_TEST_NAMESPACE names one),
                             Secrets, a ServiceAccount, a Role, PersistentVolumes, and Argo's objects.
SLUICE_TEST_NAMESPACE        An existing namespace. By default the tests create one and delete it at the end. If the namespace has
                             Secrets `test-secret-1` to `-3`, the tests do not change them. They must hold the values that the
                             pipelines assert.
SLUICE_TEST_SERVICE_ACCOUNT  An existing account for the steps. By default the tests create one with a Role for Argo's task
                             results and for PersistentVolumeClaims.
SLUICE_TEST_ARGO_NAMESPACE   The namespace with the ConfigMap of Argo's controller, which names the artifact repository; default
                             `argo`.
SLUICE_TEST_ARTIFACT_SECRET  `namespace/name` of the Secret with the artifact repository's credentials. The tests copy it to the
                             namespace of the runs. By default they search all namespaces for the name that the ConfigMap gives.
SLUICE_TEST_VOLUMES          `0`: create no PersistentVolumes. By default the tests create ten hostPath volumes of the storage
                             class `standard` if the cluster does not have this class.
SLUICE_TEST_IMAGE            Image of the Python steps; it must contain kfp. By default python:3.11, and each step installs kfp.
SLUICE_TEST_SHELL_IMAGE      Image with sh, which needs no Python; default `alpine`.
SLUICE_TEST_WIDTH            Number of runs at the same time; default 4.
SLUICE_TEST_TIMEOUT          Time limit of a run in seconds; default 900.
SLUICE_CONFORMANCE           Folder that contains `kfp/` with KFP's own compiled pipelines; default `../shared/conformance` beside
                             the repository.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "cases")]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from argo_cluster import Cluster
    from argo_runs import Case, Run

TIMEOUT = float(os.environ.get("SLUICE_TEST_TIMEOUT", "900"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Prepare the cluster for this session, and clean it up at the end."""
    from argo_cluster import Cluster, connect

    missing = connect()
    if missing:
        pytest.skip(f"tests on a cluster: {missing}")
    found = Cluster()
    try:
        found.set_up()
        yield found
    finally:
        found.tear_down()


class RunPool:
    """Run cases in parallel, a limited number at a time."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.threads = ThreadPoolExecutor(int(os.environ.get("SLUICE_TEST_WIDTH", "4")), thread_name_prefix="run")
        self.started: dict[Any, Future[Run]] = {}

    def start(self, case: Case) -> None:
        """Start a case, unless it was started before."""
        if id(case) not in self.started:
            self.started[id(case)] = self.threads.submit(self._run, case)

    def result(self, case: Case) -> Run:
        """Wait until a case's run has ended, and return the run."""
        self.start(case)
        return self.started[id(case)].result()

    def _run(self, case: Case) -> Run:
        from argo_runs import compile_pipeline
        from pipelines_of_cases import read_pipeline

        document = compile_pipeline(read_pipeline(case), self.cluster, **case.options)
        arguments = {name: value(self.cluster) if callable(value) else value for name, value in case.arguments.items()}
        return self.run(document, arguments)

    def run(self, document: dict[str, Any], arguments: dict[str, str] | None = None) -> Run:
        """Submit a Workflow, wait until the run has ended, and return the run."""
        from argo_runs import submit, wait

        return wait(self.cluster, submit(self.cluster, document, arguments), timeout=TIMEOUT)


@pytest.fixture(scope="session")
def pool(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[RunPool]:
    """Return the pool of this session. It starts the runs of all selected tests now, in the order of the tests."""
    found = RunPool(cluster)
    for item in request.session.items:
        case = getattr(item, "callspec", None) and item.callspec.params.get("case")  # type: ignore[attr-defined]
        if case is not None:
            found.start(case)
    yield found
    found.threads.shutdown(wait=False, cancel_futures=True)


@pytest.fixture
def run_case(pool: RunPool) -> Callable[[Case], Run]:
    """Return a function that runs a case, and that skips the test if the case's image cannot be pulled."""

    def run(case: Case) -> Run:
        found = pool.result(case)
        if found.missing_image and case.image:
            pytest.skip(f"the image {case.image} cannot be pulled here")
        return found

    return run
