"""Tests of compiled pipelines on a real Argo: `make test-cluster`, with $KUBECONFIG.

They are skipped, with one line that says what is missing, where there is no cluster or no Argo in it. What they read:

KUBECONFIG                   The cluster. The account needs to make a namespace (or see SLUICE_TEST_NAMESPACE), Secrets, a
                             ServiceAccount and Role, PersistentVolumes, and Argo's objects.
SLUICE_TEST_NAMESPACE        A namespace to use; by default the tests make one of their own and delete it. Secrets `test-secret-1`
                             to `-3` that are there already stay as they are, and must hold what the pipelines assert.
SLUICE_TEST_SERVICE_ACCOUNT  An account for the steps that is there already; by default one is made with a Role for Argo's
                             task results and for PersistentVolumeClaims.
SLUICE_TEST_ARGO_NAMESPACE   Where Argo's controller has its ConfigMap, which names the artifact repository; default `argo`.
SLUICE_TEST_ARTIFACT_SECRET  `namespace/name` of the Secret with the artifact repository's credentials, which is copied beside
                             the runs; by default one of the name that the ConfigMap gives, wherever the cluster has it.
SLUICE_TEST_VOLUMES          `0`: make no PersistentVolumes. By default ten hostPath volumes of storage class `standard` are made
                             where the cluster has no such class.
SLUICE_TEST_IMAGE            Image of Python steps, with kfp in it. By default python:3.11, and kfp is installed in each step.
SLUICE_TEST_SHELL_IMAGE      Image without Python, with sh; default `alpine`.
SLUICE_TEST_WIDTH            How many runs at once; default 4.
SLUICE_TEST_TIMEOUT          Seconds that a run may take; default 900.
SLUICE_CONFORMANCE           Folder that holds `kfp/`, KFP's own compiled pipelines; default `../shared/conformance` beside the
                             repository.
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
    """The cluster, with a place for this session in it."""
    from argo_cluster import Cluster, connect

    missing = connect()
    if missing:
        pytest.skip(f"tests on a cluster: {missing}")
    place = Cluster()
    try:
        place.set_up()
        yield place
    finally:
        place.tear_down()


class Pool:
    """Runs in parallel, a few at a time."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.threads = ThreadPoolExecutor(int(os.environ.get("SLUICE_TEST_WIDTH", "4")), thread_name_prefix="run")
        self.started: dict[Any, Future[Run]] = {}

    def start(self, case: Case) -> None:
        """Start a case, if it is not started yet."""
        if id(case) not in self.started:
            self.started[id(case)] = self.threads.submit(self._run, case)

    def result(self, case: Case) -> Run:
        """A case's run, when it ended."""
        self.start(case)
        return self.started[id(case)].result()

    def _run(self, case: Case) -> Run:
        from argo_runs import compile_pipeline
        from pipelines_of_cases import pipeline_of

        document = compile_pipeline(pipeline_of(case), self.cluster, **case.options)
        given = {name: value(self.cluster) if callable(value) else value for name, value in case.arguments.items()}
        return self.run(document, given)

    def run(self, document: dict[str, Any], arguments: dict[str, str] | None = None) -> Run:
        """Submit an object and wait for its end."""
        from argo_runs import submit, wait

        return wait(self.cluster, submit(self.cluster, document, arguments), timeout=TIMEOUT)


@pytest.fixture(scope="session")
def pool(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Pool]:
    """The runs of this session; those of every chosen test start at once, in the order of the tests."""
    found = Pool(cluster)
    for item in request.session.items:
        case = getattr(item, "callspec", None) and item.callspec.params.get("case")  # type: ignore[attr-defined]
        if case is not None:
            found.start(case)
    yield found
    found.threads.shutdown(wait=False, cancel_futures=True)


@pytest.fixture
def run_case(pool: Pool) -> Callable[[Case], Run]:
    """Runs a case, and skips the test where its image cannot be pulled."""

    def run(case: Case) -> Run:
        found = pool.result(case)
        if found.missing_image and case.image:
            pytest.skip(f"the image {case.image} cannot be pulled here")
        return found

    return run
