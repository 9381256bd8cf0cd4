"""The pytest plugin: fixtures for a project's four suites, and a verdict for every test.

A suite loads it with ``pytest_plugins = ["sluice.checks.plugin"]`` in its conftest.py; `sluice test` loads it by
itself.

- ``verify(verdict)`` records a verdict. When the test's function has ended, a failed verdict fails the test, and an
  inconclusive one reports it as skipped. All verdicts of a test are recorded, also those after the first that failed.
- A test that never calls ``verify`` is one verdict, named after its function (with the module's name before it where
two
  have the same one); its detail is the first line of the docstring. A skipped or xfailed test is inconclusive.

The module must stay quick to import: pandas, scikit-learn and Great Expectations are imported by the fixtures that need
them, and pydantic with the first fixture that reads sluice.toml.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sluice.checks.events import EventLog
from sluice.checks.expectations import switch_telemetry_off
from sluice.checks.processes import follow_parent
from sluice.checks.suites.locations import find_project
from sluice.checks.suites.recording import RECORDER, Recorder

pytest_plugins = ("sluice.checks.suites.fixtures",)

_LOG = pytest.StashKey[EventLog]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say what is tested and where results go."""
    group = parser.getgroup("sluice", "sluice: what a layer is given")
    group.addoption("--sluice-snapshot", metavar="PATH", help="pinned data; default: data.snapshot of sluice.toml")
    group.addoption("--sluice-model", metavar="PATH", help="fitted model (joblib); default: the one trained last")
    group.addoption("--sluice-model-digest", metavar="DIGEST", help="digest that the model's file must have")
    group.addoption("--sluice-champion", metavar="PATH", help="the champion's model; default: the release tagged champion")
    group.addoption("--sluice-release", metavar="DIGEST", help="packaged release to serve; default: the last one")
    group.addoption("--sluice-results", metavar="PATH", help="file that receives one JSON event per line")
    group.addoption("--sluice-lifeline", type=int, metavar="FD", help="end this process group when the pipe closes")


def pytest_configure(config: pytest.Config) -> None:
    """Follow the parent's life, open the event log, and let the project's own packages be imported."""
    lifeline = config.getoption("sluice_lifeline")
    if lifeline is not None:
        follow_parent(lifeline)
    switch_telemetry_off()
    results = config.getoption("sluice_results")
    config.stash[_LOG] = EventLog(Path(results) if results else None)
    config.stash[RECORDER] = Recorder(config.stash[_LOG])
    config.pluginmanager.register(config.stash[RECORDER], "sluice-recorder")
    root = find_project(config)
    if root is not None and str(root) not in sys.path:
        sys.path.insert(0, str(root))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the event log."""
    if _LOG in config.stash:
        config.stash[_LOG].close()
