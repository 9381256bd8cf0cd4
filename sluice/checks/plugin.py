"""The pytest plugin: fixtures for a project's four suites, and a verdict for every test.

A suite loads it with ``pytest_plugins = ["sluice.checks.plugin"]`` in its conftest.py. `sluice test` loads it automatically.

- ``verify(verdict)`` records a verdict. After the test's function has ended, a failed verdict fails the test. An inconclusive one
  does so too, unless ``[tests.allow_inconclusive]`` of sluice.toml names the check. Then the test is reported as skipped. All
  verdicts of a test are recorded, also those after the first failed one.
- A test of a suite that does not pass to ``verify`` what a judgement (``judge_auc`` and the others) returned fails, because it
  would pass for every model.
- A test that never calls ``verify`` becomes one verdict with the name of its function. If two modules have a function of the same
  name, the name of the module comes first. The detail is the first line of the docstring. A skipped or xfailed test is
  inconclusive: pytest shows it as usual, and the layer does not pass, unless sluice.toml allows it.

This module must be quick to import. The fixtures import pandas, scikit-learn and Great Expectations when they need them, and the
first fixture that reads sluice.toml imports pydantic.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

from sluice.checks.events import EventLog
from sluice.checks.expectations import switch_telemetry_off
from sluice.checks.processes import end_with_parent
from sluice.checks.suites.allowances import read_allowances
from sluice.checks.suites.project_folder import find_project_folder, find_suites
from sluice.checks.suites.recording import RECORDER, Recorder

pytest_plugins = ("sluice.checks.suites.fixtures",)

_LOG = pytest.StashKey[EventLog]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say what is tested and where the results go."""
    group = parser.getgroup("sluice", "sluice: inputs and results of a test layer")
    group.addoption("--sluice-snapshot", metavar="PATH", help="the pinned data; default: data.snapshot of sluice.toml")
    group.addoption("--sluice-model", metavar="PATH", help="the fitted model (joblib); default: the model that was trained last")
    group.addoption("--sluice-model-digest", metavar="DIGEST", help="the digest of that file; default: its name")
    group.addoption("--sluice-champion", metavar="PATH", help="the champion's model; default: the release tagged champion")
    group.addoption("--sluice-champion-digest", metavar="DIGEST", help="the digest of that file; default: its name")
    group.addoption("--sluice-release", metavar="DIGEST", help="the packaged release to serve; default: the last one")
    group.addoption("--sluice-results", metavar="PATH", help="file for the results, one JSON event per line")
    group.addoption("--sluice-lifeline", type=int, metavar="FD", help="kill this process group when this pipe closes")


def pytest_configure(config: pytest.Config) -> None:
    """Watch the parent process, open the event log, and make the project's own packages importable."""
    lifeline = config.getoption("sluice_lifeline")
    if lifeline is not None:
        end_with_parent(lifeline)
    switch_telemetry_off()
    results = config.getoption("sluice_results")
    config.stash[_LOG] = EventLog(Path(results) if results else None)
    config.stash[RECORDER] = Recorder(
        config.stash[_LOG], functools.cache(lambda: read_allowances(config)), functools.cache(lambda: find_suites(config))
    )
    config.pluginmanager.register(config.stash[RECORDER], "sluice-recorder")
    root = find_project_folder(config)
    if root is not None and str(root) not in sys.path:
        sys.path.insert(0, str(root))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the event log."""
    if _LOG in config.stash:
        config.stash[_LOG].close()
