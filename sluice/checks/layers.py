"""Run one of the four test layers: the project's own pytest suite, in a child process, with verdicts and files as its results.

A child process is used because a suite may crash, hang or leave modules imported. The whole suite runs in one process, because
most of the time is start-up.

A suite gives the same results on a laptop and in a cluster. Installed plugins are not loaded (a suite names those that it needs
in ``pytest_plugins`` of its conftest), ``PYTEST_ADDOPTS`` and ``addopts`` are ignored, and nothing is written into the project.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sluice import errors
from sluice.checks.events import Failure, read_events
from sluice.checks.expectations import DOCS_VARIABLE
from sluice.checks.processes import run_in_process_group
from sluice.checks.result_files import write_junit, write_page
from sluice.checks.suite_verdicts import derive_verdicts
from sluice.data.snapshots import digest_file
from sluice.errors import ConfigurationError, DataError, ServiceError, SluiceError, UsageError
from sluice.project.roots import ROOT_VARIABLE
from sluice.verdicts import Outcome, Verdict, worst_outcome

if TYPE_CHECKING:
    from sluice.project.projects import Project

LAYERS = ("code", "data", "model", "integration")
"""The four layers, in the order in which they run."""

TIMEOUT_SECONDS = 3600.0
"""The time limit of a layer if the caller names none. It is longer than any layer should take."""

VERDICTS_FILE, JUNIT_FILE, PAGE_FILE, LOG_FILE, DOCS_FOLDER = "verdicts.json", "junit.xml", "report.html", "log.txt", "data-docs"

_EVENTS_FILE = "events.jsonl"
_REMOVED_VARIABLES = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER", "PYTHONSAFEPATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInputs:
    """What a layer tests. An input that is None is looked up as for `pytest` alone: see `sluice.checks.suites.inputs`.

    Attributes:
        snapshot: The pinned data.
        model: The fitted model. The suite loads a file with its digest only.
        model_digest: The model's digest, as training recorded it. If it is None, a person named the file: then the digest is
            computed when the layer starts.
        release: Digest of a packaged release.
        champion: The champion's model.
        champion_digest: Its digest, as the manifest of its release says. If it is None, it is computed as for the model.
    """

    snapshot: Path | None = None
    model: Path | None = None
    model_digest: str | None = None
    release: str | None = None
    champion: Path | None = None
    champion_digest: str | None = None


@dataclass(frozen=True, slots=True)
class LayerResult:
    """The result of one layer.

    Attributes:
        layer: Name of the layer.
        outcome: pass, fail, or inconclusive if a check is inconclusive that may not be. Only after a pass does a release go on.
        verdicts: The verdicts in the order in which the suite recorded them. Their names are unique.
        seconds: Duration, including the start-up.
        folder: The folder with verdicts.json, junit.xml, report.html, log.txt and, for the data layer, data-docs/.
        failures: Why checks failed, with what pytest printed.
    """

    layer: str
    outcome: Outcome
    verdicts: list[Verdict]
    seconds: float
    folder: Path
    failures: tuple[Failure, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types. `from_dict` reads them."""
        return {
            "layer": self.layer,
            "outcome": self.outcome.value,
            "seconds": self.seconds,
            "folder": str(self.folder),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "failures": [failure.to_dict() for failure in self.failures],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            KeyError: A required field is missing.
            ValueError: An outcome is not one of pass, fail and inconclusive.
        """
        return cls(
            layer=values["layer"],
            outcome=Outcome(values["outcome"]),
            verdicts=[Verdict.from_dict(verdict) for verdict in values["verdicts"]],
            seconds=values["seconds"],
            folder=Path(values["folder"]),
            failures=tuple(Failure(**failure) for failure in values.get("failures", ())),
        )

    def metrics(self) -> dict[str, float]:
        """Return the metrics for KFP: the observed value and interval of each check, and the number of checks by outcome."""
        numbers: dict[str, float] = {}
        for verdict in self.verdicts:
            if verdict.observed is not None:
                numbers[verdict.check] = verdict.observed
            if verdict.interval is not None:
                numbers |= {f"{verdict.check}_low": verdict.interval.low, f"{verdict.check}_high": verdict.interval.high}
        outcomes = [verdict.outcome for verdict in self.verdicts]
        counts = {
            "checks": len(outcomes),
            "checks_failed": outcomes.count(Outcome.FAIL),
            "checks_inconclusive": outcomes.count(Outcome.INCONCLUSIVE),
            "checks_allowed": sum(bool(verdict.allowed) for verdict in self.verdicts),
            "checks_unproven": sum(verdict.unproven for verdict in self.verdicts),
        }
        return {name: float(value) for name, value in {**numbers, **counts}.items() if math.isfinite(value)}


def run_layer(
    project: Project,
    layer: str,
    inputs: LayerInputs,
    folder: Path,
    *,
    timeout: float | None = TIMEOUT_SECONDS,
) -> LayerResult:
    """Run the suite of a layer, and write its results to a folder.

    If the suite has no tests, cannot be imported, crashes or hangs, the result has a failed verdict with the reason. If there is
    nothing to test (for example because the holdout is missing), the function raises an error, because nothing was checked.

    Args:
        project: The project whose suite runs. Its folder may be read-only.
        layer: One of `LAYERS`.
        inputs: What is tested.
        folder: Folder for the results. The results of an earlier run are removed first.
        timeout: Time limit of the suite in seconds; None for no limit.

    Raises:
        ConfigurationError: sluice.toml names a suite that does not exist.
        DataError: A named input does not exist or cannot be read.
        IntegrityError: An input does not have the expected digest.
        ServiceError: The folder cannot be written.
        UsageError: The layer does not exist, or a fixture raised another usage error.
    """
    check_suite(project, layer)
    options = _input_options(inputs)
    folder = folder.resolve()
    _prepare_folder(folder)
    suite = getattr(project.settings.tests, layer)
    start, started_at = time.monotonic(), datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix=f"sluice-{layer}-") as name:
        scratch = Path(name)
        events = folder / _EVENTS_FILE
        process_result = run_in_process_group(
            [*_pytest_command(project.root, suite, scratch), f"--sluice-results={events}", *options],
            cwd=project.root,
            environment=_environment(project.root, layer, folder, scratch),
            log=folder / LOG_FILE,
            timeout=timeout,
        )
    record = read_events(events)
    events.unlink(missing_ok=True)
    if record.fixture_error is not None:
        kind: type[SluiceError] = getattr(errors, record.fixture_error.error)
        raise kind(record.fixture_error.message, hint=record.fixture_error.hint)
    log = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")
    verdicts, failures = derive_verdicts(record, process_result, layer=layer, suite=suite, log=log, timeout=timeout)
    seconds = round(time.monotonic() - start, 3)
    result = LayerResult(layer, worst_outcome(verdicts), verdicts, seconds, folder, failures)
    _write_files(result, record.seconds, started_at)
    return result


def check_suite(project: Project, layer: str) -> None:
    """Check that the layer exists, and that the suite exists that sluice.toml names for it.

    Raises:
        ConfigurationError: The folder or file does not exist.
        UsageError: The layer does not exist.
    """
    if layer not in LAYERS:
        raise UsageError(f"there is no layer {layer!r}", hint=f"The layers are {', '.join(LAYERS)}.")
    suite = getattr(project.settings.tests, layer)
    if not project.path(suite).exists():
        raise ConfigurationError(
            f"sluice.toml: tests.{layer} names {suite!r}, but {project.path(suite)} does not exist",
            hint=f"Create the suite there, or correct tests.{layer}.",
        )


def find_data_docs(folder: Path) -> list[Path]:
    """Return the first pages of the Data Docs that a layer wrote to its folder."""
    return sorted((folder / DOCS_FOLDER).glob("*/index.html"))


def _input_options(inputs: LayerInputs) -> list[str]:
    """Return the plugin's options for the given inputs."""
    for name, path in (("snapshot", inputs.snapshot), ("model", inputs.model), ("champion", inputs.champion)):
        if path is not None and not path.is_file():
            raise DataError(f"the {name} file {path} does not exist", hint=f"Correct the path of the {name}, or omit it.")
    given = {
        "snapshot": inputs.snapshot and inputs.snapshot.resolve(),
        "model": inputs.model and inputs.model.resolve(),
        "model-digest": inputs.model and (inputs.model_digest or digest_file(inputs.model)),
        "champion": inputs.champion and inputs.champion.resolve(),
        "champion-digest": inputs.champion and (inputs.champion_digest or digest_file(inputs.champion)),
        "release": inputs.release,
    }
    return [f"--sluice-{name}={value}" for name, value in given.items() if value is not None]


def _prepare_folder(folder: Path) -> None:
    """Create the folder, and remove the files of an earlier run, so that an earlier pass cannot hide a crash."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (VERDICTS_FILE, JUNIT_FILE, PAGE_FILE, LOG_FILE, _EVENTS_FILE):
            (folder / name).unlink(missing_ok=True)
        if (folder / DOCS_FOLDER).exists():
            shutil.rmtree(folder / DOCS_FOLDER)
        (folder / _EVENTS_FILE).touch()
    except OSError as error:
        raise ServiceError(
            f"the results cannot be written to {folder}: {error.strerror or error}",
            hint="Make the folder writable, or set $SLUICE_STATE to another folder.",
        ) from error


def _pytest_command(root: Path, suite: str, scratch: Path) -> list[str]:
    """Return the command line of the child process, without the options for inputs."""
    settings = {"addopts": "", "required_plugins": "", "strict_config": "false", "strict_markers": "false"}
    return [
        *(sys.executable, "-m", "pytest", suite, "-p", "sluice.checks.plugin", "-p", "no:cacheprovider"),
        *("-v", "--tb=short", "--color=no", "--continue-on-collection-errors"),
        # All three are given, because pytest would otherwise look for a configuration and for conftests above the project too.
        *("-c", str(_pytest_configuration(root, scratch)), f"--rootdir={root}", f"--confcutdir={root}"),
        *(f"--override-ini={name}={value}" for name, value in settings.items()),
        f"--basetemp={scratch / 'tmp'}",
    ]


def _pytest_configuration(root: Path, scratch: Path) -> Path:
    """Return the file with the project's pytest settings, or an empty file if there are none.

    The settings are, for example, markers, warning filters and the pythonpath.
    """
    marks = {
        "pytest.toml": "",
        ".pytest.toml": "",
        "pytest.ini": "",
        ".pytest.ini": "",
        "pyproject.toml": "[tool.pytest",
        "tox.ini": "[pytest]",
        "setup.cfg": "[tool:pytest]",
    }
    for name, mark in marks.items():
        file = root / name
        if file.is_file() and mark in file.read_text(encoding="utf-8", errors="replace"):
            return file
    empty = scratch / "pytest.ini"
    empty.write_text("[pytest]\n", encoding="utf-8")
    return empty


def _environment(root: Path, layer: str, folder: Path, scratch: Path) -> dict[str, str]:
    """Return the environment of the child process.

    It is the parent's environment, without variables that change how pytest works or that leave files behind.
    """
    # Bytecode may be written. Without it, pytest would rewrite hundreds of modules in each layer, and that takes longer than the
    # tests.
    environment = {name: value for name, value in os.environ.items() if name not in _REMOVED_VARIABLES}
    environment |= {
        ROOT_VARIABLE: str(root),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(scratch / "hypothesis"),
        "GX_ANALYTICS_ENABLED": "false",
    }
    if layer == "data":
        environment[DOCS_VARIABLE] = str(folder / DOCS_FOLDER)
    return environment


def _write_files(result: LayerResult, seconds: dict[str, float], started_at: datetime) -> None:
    """Write the files of a layer."""
    (result.folder / VERDICTS_FILE).write_text(json.dumps(result.to_dict(), indent=1), encoding="utf-8")
    verdicts, failures = result.verdicts, result.failures
    write_junit(
        result.folder / JUNIT_FILE, result.layer, verdicts, failures, seconds, total=result.seconds, started_at=started_at
    )
    suites = [page.parent.name for page in find_data_docs(result.folder)]
    links = [(f"{DOCS_FOLDER}/{suite}/index.html", f"Data Docs: {suite}") for suite in suites]
    write_page(result.folder / PAGE_FILE, result.layer, result.outcome, result.verdicts, result.failures, result.seconds, links)
