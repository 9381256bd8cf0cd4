# ruff: noqa: PLC0415 - a fixture imports what it needs when a test uses it, so that a suite imports nothing else
"""The fixtures for the suites of a project."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluice.checks.suites.recording import RECORDER
from sluice.errors import DataError
from sluice.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluice.checks.suites.inputs import PinnedData, Thresholds
    from sluice.data.holdout import LabelledRows
    from sluice.project.projects import Project
    from sluice.scoring.release_client import ReleaseClient


@pytest.fixture
def verify(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return the function that records verdicts: ``verify(verdict)``, ``verify(first, second)`` or ``verify(verdicts)``.

    `sluice.checks.plugin` describes what a recorded verdict does.
    """
    recorder = request.config.stash[RECORDER]

    def record(*given: Verdict | Iterable[Verdict]) -> None:
        count = 0
        for one in given:
            for verdict in one if isinstance(one, Iterable) else [one]:
                if not isinstance(verdict, Verdict):
                    raise TypeError(f"verify takes verdicts, not {type(verdict).__name__}")
                recorder.record(request.node, verdict)
                count += 1
        if not count:
            raise ValueError("verify got no verdict, so nothing was checked")

    return record


@pytest.fixture(scope="session")
def project(pytestconfig: pytest.Config) -> Project:
    """The project whose suite this is, with its sluice.toml read and checked."""
    from sluice.checks.suites.project_folder import find_project_folder
    from sluice.project.projects import read_project

    return read_project(find_project_folder(pytestconfig))


@pytest.fixture(scope="session")
def thresholds(project: Project) -> Thresholds:
    """``[thresholds]`` of sluice.toml, by name."""
    from sluice.checks.suites.inputs import Thresholds

    return Thresholds(project.settings.thresholds)


@pytest.fixture(scope="session")
def snapshot(pytestconfig: pytest.Config, project: Project) -> PinnedData:
    """The training data under test: ``.path``, ``.digest``, and ``.frame``, which the project's loader reads on first use."""
    from sluice.checks.suites.inputs import find_snapshot

    return find_snapshot(project, pytestconfig.getoption("sluice_snapshot"))


@pytest.fixture(scope="session")
def holdout(project: Project) -> LabelledRows:
    """The test rows of the holdout. No fixture returns the gate rows, because only the gate may use them."""
    from sluice.data.holdout import read_holdout

    return read_holdout(project, part="test")


@pytest.fixture(scope="session")
def model(pytestconfig: pytest.Config, project: Project) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """The fitted Pipeline under test: the given model, the model of the given release, or the model that was trained last."""
    from sluice.checks.suites.inputs import find_model

    options = (pytestconfig.getoption(f"sluice_{name}") for name in ("model", "model_digest", "release"))
    return find_model(project, *options)


@pytest.fixture(scope="session")
def champion(pytestconfig: pytest.Config, project: Project) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """The champion's Pipeline; None if there is no champion yet.

    If the champion cannot be loaded with the present libraries and code, the test is inconclusive.
    """
    from sluice.checks.suites.inputs import find_champion

    try:
        return find_champion(project, *(pytestconfig.getoption(f"sluice_{name}") for name in ("champion", "champion_digest")))
    except DataError as error:
        pytest.skip(f"the champion cannot be compared: {error.message}")


@pytest.fixture(scope="session")
def service(pytestconfig: pytest.Config, project: Project) -> Iterator[ReleaseClient]:
    """The packaged release, served until the session ends: by a process of the serving environment, or in a cluster by a Pod."""
    from sluice.checks.suites.inputs import find_release, unpack_release

    digest = find_release(project, pytestconfig.getoption("sluice_release"))
    from sluice.checks.suites.services import serve_release

    results = pytestconfig.getoption("sluice_results")
    with tempfile.TemporaryDirectory(prefix="sluice-service-") as scratch:
        log = (Path(results).parent if results else Path(scratch)) / "service.log"
        served = serve_release(project, unpack_release(project, digest), digest, log=log)
        try:
            yield served
        finally:
            served.stop(grace=0)  # After the last test, no request is in flight.
