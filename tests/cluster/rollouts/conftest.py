"""Tests of the rollout controller in a real Kubernetes: real Pods, a real Envoy, real kills; Seldon's operator is stood in for.

They are skipped, with one line that says what is missing. What they read, beside KUBECONFIG:

SLUICE_TEST_REPOSITORY     Repository of a registry that takes images by plain HTTP, and that the cluster pulls from:
                           `registry.local:5000/sluice-test`. The stand-in's image is pushed there; no builder is needed.
SLUICE_TEST_PYTHON_IMAGE   An image with Python 3.9 or newer in the same registry; the stand-ins run in it.
SLUICE_TEST_PROXY          URL of a data plane that follows VirtualServices; by default the tests start an Envoy of their own,
                           which must reach the cluster's Service addresses.
SLUICE_TEST_SELDON         `1`: Seldon's real operator acts in the tests' namespace; by default a stand-in does. Where Seldon is
                           installed it must leave alone namespaces with a label `seldon.io/controller-id`, as it does.
SLUICE_TEST_RELEASES       Images of releases of this repository's example that `sluice release push` made, separated by
                           commas: two good ones, and perhaps a third whose model fails on live rows. Without it the tests of
                           the real serving image are skipped.

The tests and the controllers run beside the cluster, not in it: they must reach its Pods' addresses.
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

    from lanes import Lane
    from places import Place

LANES = 3


@pytest.fixture(scope="session", autouse=True)
def _ann() -> Iterator[None]:
    """Who approves is another than who acts: here both have one kubeconfig, and the controllers are processes of their own."""
    from sluice.rollout.platforms.seldon.api import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cluster, "whoami", lambda _self: "ann")
        yield


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A namespace with an operator."""
    from places import Place, find_missing

    if missing := find_missing():
        pytest.skip(f"rollouts on a cluster: {missing}")
    found = Place(tmp_path_factory.mktemp("rollouts"))
    try:
        found.set_up()
        if found.registered:
            sys.stderr.write(f"registered permissive kinds: {', '.join(found.registered)}\n")
        yield found
    finally:
        found.tear_down()


@pytest.fixture(scope="session")
def entry(place: Place) -> Iterator[str]:
    """URL of the data plane."""
    if given := os.environ.get("SLUICE_TEST_PROXY"):
        yield given.rstrip("/")
        return
    from lanes import STAND_INS, wait_for

    from sluice.rollout.platforms.laptop.child_processes import end_child, start_child
    from sluice.rollout.platforms.laptop.ports import reserve_port

    folder = place.folder / "envoy"
    with reserve_port(0) as held:
        port = held.getsockname()[1]
    command = [sys.executable, str(STAND_INS / "data_plane.py"), place.namespace, str(folder), str(port)]
    process = start_child(command, log=place.folder / "data_plane.log")
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: httpx.get(url, trust_env=False).status_code == 404, 30, "Envoy")
        yield url
    finally:
        end_child(process)


@pytest.fixture(scope="session")
def _packaged() -> Iterator[None]:
    """The releases of these tests are names: no store holds them, and no gate has seen them."""
    from lanes import IMAGES

    from sluice.rollout.requests import approvals, published_releases, starts

    with pytest.MonkeyPatch.context() as patch:
        for module in (published_releases, starts):
            patch.setattr(module, "publish_release", lambda _project, digest: IMAGES[digest])
        for module in (approvals, starts):
            patch.setattr(module, "check_gate", lambda _project, _digest: None)
        yield


@pytest.fixture(scope="session")
def make_lane(place: Place, entry: str, _packaged: None) -> Iterator[Callable[..., Lane]]:
    """Makes a SeldonDeployment's lane that ends with the session."""
    from lanes import Lane

    made: list[Lane] = []

    def make(name: str, **options: Any) -> Lane:
        made.append(Lane(place, name, entry, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def together() -> Iterator[Callable[..., list[Any]]]:
    """Does one thing for several lanes at once; the first that fails fails the test."""
    with ThreadPoolExecutor(8, thread_name_prefix="lane") as threads:

        def do(act: Callable[..., Any], *lists: Any) -> list[Any]:
            started = [threads.submit(act, *arguments) for arguments in zip(*lists, strict=True)]
            failed = [error for one in started if (error := one.exception()) is not None]
            if failed:
                raise failed[0]
            return [one.result() for one in started]

        yield do


@pytest.fixture(scope="session")
def _lanes(make_lane: Callable[..., Lane], together: Callable[..., list[Any]], place: Place) -> list[Lane]:
    found = [make_lane(f"lane{number}") for number in range(LANES)]
    try:
        together(lambda lane: lane.first(), found)
    except AssertionError as error:
        words = "\n".join(lane.last_words() for lane in found)
        raise AssertionError(f"{error}\n{words}\n{place.last_words()}") from error
    return found


@pytest.fixture
def lanes(_lanes: list[Lane], together: Callable[..., list[Any]], request: pytest.FixtureRequest) -> Iterator[list[Lane]]:
    """Lanes with a champion each, and nothing under way."""
    together(lambda lane: lane.first(), _lanes)
    failed = request.session.testsfailed
    yield _lanes
    if request.session.testsfailed > failed:
        sys.stderr.write("\n".join(lane.last_words() for lane in _lanes))
