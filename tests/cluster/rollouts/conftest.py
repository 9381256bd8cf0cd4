"""Test the rollout controller in a real Kubernetes cluster: the Pods, Envoy and the killed processes are real.

A stand-in replaces Seldon's operator. If something that the tests need is missing, they are skipped, and a message names it. The
tests read these environment variables besides KUBECONFIG:

SLUICE_TEST_REPOSITORY     Repository in a registry that accepts images over plain HTTP and from which the cluster pulls, for
                           example `registry.local:5000/sluice-test`. The tests push the image of the stand-in model to it, and
                           they need no image builder.
SLUICE_TEST_PYTHON_IMAGE   An image with Python 3.9 or newer in the same registry. The stand-ins run in it.
SLUICE_TEST_PROXY          URL of a data plane that follows VirtualServices. By default the tests start an Envoy, which must be
                           able to reach the addresses of the cluster's Services.
SLUICE_TEST_PROXY_METRICS  URL of that data plane's metrics, as in `seldon.gateway_metrics`. It is needed with SLUICE_TEST_PROXY.
SLUICE_TEST_SELDON         `1`: Seldon's real operator acts in the tests' namespace. By default the stand-in acts there. An
                           operator that is installed in the cluster ignores namespaces with the label `seldon.io/controller-id`.
SLUICE_TEST_RELEASES       Images of releases of this repository's example, which `sluice release push` made, separated by commas:
                           two good releases, and optionally further releases whose models fail on live rows. Without this
                           variable the test of the real serving image is skipped.
SLUICE_TEST_CHAOS_SECONDS, SLUICE_TEST_CHAOS_SEED
                           How long the chaos run lasts (60 s by default), and the seed that repeats one.

The tests and the controllers run outside the cluster, so they must be able to reach the addresses of its Pods.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "stand_ins")]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployments_under_test import DeploymentUnderTest
    from rollout_namespaces import RolloutNamespace

DEPLOYMENTS = 3
"""How many SeldonDeployments the tests use at the same time."""


@pytest.fixture(scope="session", autouse=True)
def _approve_as_another_account() -> Iterator[None]:
    """Let the account `ann` approve, and let each request and command be by the person that a test names.

    The tests and the controllers have the same kubeconfig, so without this they would be the same account. Then nobody could
    approve. The controllers are not affected, because they are processes of their own.
    """
    from sluice.rollout.platforms.seldon.api import Cluster
    from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cluster, "whoami", lambda _self: "ann")
        patch.setattr(SeldonJournal, "identify", lambda _self, by: by)
        yield


@pytest.fixture(scope="session")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RolloutNamespace]:
    """Make a namespace with an operator for the session."""
    from rollout_namespaces import RolloutNamespace, find_missing

    if missing := find_missing():
        pytest.skip(f"rollouts on a cluster: {missing}")
    found = RolloutNamespace(tmp_path_factory.mktemp("rollouts"))
    try:
        found.set_up()
        if found.registered:
            sys.stderr.write(f"registered kinds that accept any content: {', '.join(found.registered)}\n")
        yield found
    finally:
        found.tear_down()


@pytest.fixture(scope="session")
def proxy_url(namespace: RolloutNamespace) -> Iterator[str]:
    """Return the URL of the data plane, and note the URL of its metrics. Start an Envoy if $SLUICE_TEST_PROXY names none."""
    if given := os.environ.get("SLUICE_TEST_PROXY"):
        namespace.gateway_metrics = os.environ["SLUICE_TEST_PROXY_METRICS"]
        yield given.rstrip("/")
        return
    from deployments_under_test import STAND_INS, wait_for

    from sluice.rollout.platforms.laptop.child_processes import end_child, start_child
    from sluice.rollout.platforms.laptop.ports import reserve_port

    folder = namespace.folder / "envoy"
    with reserve_port(0) as held, reserve_port(0) as held_too:
        port, metrics_port = held.getsockname()[1], held_too.getsockname()[1]
    namespace.gateway_metrics = f"http://127.0.0.1:{metrics_port}/stats/prometheus"
    command = [sys.executable, str(STAND_INS / "data_plane.py"), namespace.name, str(folder), str(port), str(metrics_port)]
    process = start_child(command, log=namespace.folder / "data_plane.log")
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: httpx.get(url, trust_env=False).status_code == 404, 30, "Envoy")
        yield url
    finally:
        end_child(process)


@pytest.fixture(scope="session")
def _unpublished_releases() -> Iterator[None]:
    """Replace the calls that would publish a release or check its gate, because the releases of these tests are only names."""
    from deployments_under_test import IMAGES

    from sluice.rollout.requests import approvals, published_releases, starts

    with pytest.MonkeyPatch.context() as patch:
        for module in (published_releases, starts):
            patch.setattr(module, "publish_release", lambda _project, digest: IMAGES[digest])
        for module in (approvals, starts):
            patch.setattr(module, "check_gate", lambda _project, _digest: None)
        yield


@pytest.fixture(scope="session")
def make_deployment(
    namespace: RolloutNamespace, proxy_url: str, _unpublished_releases: None
) -> Iterator[Callable[..., DeploymentUnderTest]]:
    """Return a function that makes a SeldonDeployment with its project. It is deleted at the end of the session."""
    from deployments_under_test import DeploymentUnderTest

    made: list[DeploymentUnderTest] = []

    def make(name: str, **options: Any) -> DeploymentUnderTest:
        made.append(DeploymentUnderTest(namespace, name, proxy_url, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def in_parallel() -> Iterator[Callable[..., list[Any]]]:
    """Return a function that calls another for several deployments at once. The first error is raised."""
    with ThreadPoolExecutor(8, thread_name_prefix="deployment") as threads:

        def call_all(act: Callable[..., Any], *lists: Any) -> list[Any]:
            started = [threads.submit(act, *arguments) for arguments in zip(*lists, strict=True)]
            failed = [error for one in started if (error := one.exception()) is not None]
            if failed:
                raise failed[0]
            return [one.result() for one in started]

        yield call_all


@pytest.fixture(scope="session")
def _session_deployments(
    make_deployment: Callable[..., DeploymentUnderTest], in_parallel: Callable[..., list[Any]], namespace: RolloutNamespace
) -> list[DeploymentUnderTest]:
    found = [make_deployment(f"deployment{number}") for number in range(DEPLOYMENTS)]
    try:
        in_parallel(lambda deployment: deployment.ensure_champion(), found)
    except AssertionError as error:
        logs = "\n".join(deployment.read_logs() for deployment in found)
        raise AssertionError(f"{error}\n{logs}\n{namespace.read_operator_log()}") from error
    return found


@pytest.fixture
def deployments(
    _session_deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[Any]], request: pytest.FixtureRequest
) -> Iterator[list[DeploymentUnderTest]]:
    """Return deployments that each have a champion and no running rollout."""
    in_parallel(lambda deployment: deployment.ensure_champion(), _session_deployments)
    failed = request.session.testsfailed
    yield _session_deployments
    if request.session.testsfailed > failed:
        sys.stderr.write("\n".join(deployment.read_logs() for deployment in _session_deployments))
