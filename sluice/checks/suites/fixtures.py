# ruff: noqa: PLC0415 - a fixture imports what it needs when it is asked for, so that a suite pays only for that
"""The fixtures of a project's suites."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluice.checks.suites.recording import RECORDER
from sluice.errors import DataError
from sluice.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sluice.checks.suites.inputs import PinnedData, Thresholds
    from sluice.data.holdout import LabelledRows
    from sluice.project.projects import Project
    from sluice.scoring.release_client import ReleaseClient


@pytest.fixture
def verify(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``verify(verdict)``, ``verify(first, second)`` or ``verify(verdicts)``: record; see `sluice.checks.plugin`."""
    recorder = request.config.stash[RECORDER]

    def record(*given: Verdict | Iterable[Verdict]) -> None:
        for one in given:
            for verdict in [one] if isinstance(one, Verdict) else one:
                if not isinstance(verdict, Verdict):
                    raise TypeError(f"verify takes verdicts, not {type(verdict).__name__}")
                recorder.record(request.node, verdict)

    return record


@pytest.fixture(scope="session")
def project(pytestconfig: pytest.Config) -> Project:
    """The project whose suite this is, its sluice.toml read and checked."""
    from sluice.checks.suites.locations import find_project
    from sluice.project.projects import read_project

    return read_project(find_project(pytestconfig))


@pytest.fixture(scope="session")
def thresholds(project: Project) -> Thresholds:
    """``[thresholds]`` of sluice.toml, by name."""
    from sluice.checks.suites.inputs import Thresholds

    return Thresholds(project.settings.thresholds)


@pytest.fixture(scope="session")
def snapshot(pytestconfig: pytest.Config, project: Project) -> PinnedData:
    """The training data under test: ``.path``, ``.digest``, and ``.frame``, which the project's loader reads when asked for."""
    from sluice.checks.suites.inputs import find_snapshot

    return find_snapshot(project, pytestconfig.getoption("sluice_snapshot"))


@pytest.fixture(scope="session")
def holdout(project: Project) -> LabelledRows:
    """The holdout's test rows. The gate rows are for the gate alone: no fixture gives them."""
    from sluice.data.holdout import read_holdout

    return read_holdout(project, part="test")


@pytest.fixture(scope="session")
def model(pytestconfig: pytest.Config, project: Project) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """The fitted Pipeline under test: the one given, that of the release given, or the one trained last."""
    from sluice.checks.suites.inputs import find_model

    options = (pytestconfig.getoption(f"sluice_{name}") for name in ("model", "model_digest", "release"))
    return find_model(project, *options)


@pytest.fixture(scope="session")
def champion(pytestconfig: pytest.Config, project: Project) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """The champion's Pipeline, or None before the first; a test is inconclusive where this code cannot load it any more."""
    from sluice.checks.suites.inputs import find_champion

    try:
        return find_champion(project, pytestconfig.getoption("sluice_champion"))
    except DataError as error:
        pytest.skip(f"no comparison with the champion: {error.message}")


@pytest.fixture(scope="session")
def service(pytestconfig: pytest.Config, project: Project) -> Iterator[ReleaseClient]:
    """The packaged release, served until the session ends: by a process of the serving environment, in a cluster by a Pod."""
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
            served.stop(grace=0)  # no request is on its way when the last test has ended
