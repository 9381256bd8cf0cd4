"""Run one of the four layers: the project's own pytest suite, in a child process, with its results as verdicts and pages.

A child, because a suite may crash, hang or leave modules behind; one process, because the layers' time is start-up. The
suite runs alike on a laptop and in a cluster: plugins that happen to be installed are not loaded (a suite names those it
needs in its conftest's ``pytest_plugins``), PYTEST_ADDOPTS and ``addopts`` do not count, and nothing is left in the project.
"""

from __future__ import annotations

import dataclasses
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
from sluice.checks.conclusions import conclude
from sluice.checks.events import Failure, read_events
from sluice.checks.expectations import DOCS_VARIABLE
from sluice.checks.pages import write_junit, write_page
from sluice.checks.processes import run_group
from sluice.data.snapshots import digest_file
from sluice.errors import ConfigurationError, DataError, ServiceError, SluiceError, UsageError
from sluice.project.roots import ROOT_VARIABLE
from sluice.verdicts import Outcome, Verdict, worst_outcome

if TYPE_CHECKING:
    from sluice.project.projects import Project

LAYERS = ("code", "data", "model", "integration")
"""The four layers, in the order in which they run."""

TIMEOUT_SECONDS = 3600.0
"""How long a layer may take where the caller says nothing: longer than any, shorter than for ever."""

VERDICTS_FILE, JUNIT_FILE, PAGE_FILE, LOG_FILE, DOCS_FOLDER = "verdicts.json", "junit.xml", "report.html", "log.txt", "data-docs"

_EVENTS_FILE = "events.jsonl"
_FOREIGN_VARIABLES = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER", "PYTHONSAFEPATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInputs:
    """What a layer tests. What is None is found as for a bare pytest: see `sluice.checks.suites.inputs`.

    Attributes:
        snapshot: The pinned data.
        model: The fitted model; its digest is taken when the layer starts, and the suite loads no other bytes.
        release: Digest of a packaged release.
        champion: The champion's model.
    """

    snapshot: Path | None = None
    model: Path | None = None
    release: str | None = None
    champion: Path | None = None


@dataclass(frozen=True, slots=True)
class LayerResult:
    """What a layer came to.

    Attributes:
        layer: Its name.
        outcome: The worst of its verdicts'.
        verdicts: In the order in which the suite gave them; names are unique.
        seconds: Duration, start-up included.
        folder: Where verdicts.json, junit.xml, report.html, log.txt and, for the data layer, data-docs/ lie.
        failures: Why checks failed, with what pytest printed.
    """

    layer: str
    outcome: Outcome
    verdicts: list[Verdict]
    seconds: float
    folder: Path
    failures: tuple[Failure, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back."""
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
            ValueError: An outcome is none of the three.
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
        """Numbers for KFP: each check's observation with its interval's ends, and how many checks came to what."""
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
    """Run a layer's suite and leave its results in a folder.

    That a suite finds nothing to run, cannot be imported, crashes or hangs is a failed verdict with the reason, not an
    exception. What keeps the suite from having anything to test is an exception: nothing was checked then.

    Args:
        project: The project whose suite it is; its root may be read-only.
        layer: One of `LAYERS`.
        inputs: What is tested.
        folder: Where results go; what an earlier run left there is removed first.
        timeout: Seconds until the suite is ended; None for no limit.

    Raises:
        ConfigurationError: sluice.toml names a suite that is not there.
        DataError: An input that was named is not there, or cannot be read.
        IntegrityError: Bytes to test are not those that were promised.
        ServiceError: The folder cannot be written.
        UsageError: There is no such layer, or a fixture refused in another way.
    """
    check_suite(project, layer)
    options = _input_options(inputs)
    folder = folder.resolve()
    _prepare(folder)
    suite = getattr(project.settings.tests, layer)
    started, began = time.monotonic(), datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix=f"sluice-{layer}-") as name:
        scratch = Path(name)
        events = folder / _EVENTS_FILE
        ending = run_group(
            [*_pytest_command(project.root, suite, scratch), f"--sluice-results={events}", *options],
            cwd=project.root,
            environment=_environment(project.root, layer, folder, scratch),
            log=folder / LOG_FILE,
            timeout=timeout,
        )
    record = read_events(events)
    events.unlink(missing_ok=True)
    if record.refusal is not None:
        kind: type[SluiceError] = getattr(errors, record.refusal.error)
        raise kind(record.refusal.message, hint=record.refusal.hint)
    log = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")
    verdicts, failures = conclude(record, ending, layer=layer, suite=suite, log=log, timeout=timeout)
    seconds = round(time.monotonic() - started, 3)
    result = LayerResult(layer, worst_outcome(verdicts), verdicts, seconds, folder, failures)
    _write(result, record.seconds, began)
    return result


def check_suite(project: Project, layer: str) -> None:
    """Whether there is such a layer, and the suite that sluice.toml names for it.

    Raises:
        ConfigurationError: There is no such folder or file.
        UsageError: There is no such layer.
    """
    if layer not in LAYERS:
        raise UsageError(f"there is no layer {layer!r}", hint=f"Name one of {', '.join(LAYERS)}.")
    suite = getattr(project.settings.tests, layer)
    if not project.path(suite).exists():
        raise ConfigurationError(
            f"sluice.toml: tests.{layer} names {suite!r}, but there is no {project.path(suite)}",
            hint=f"Write the suite there, or correct tests.{layer}.",
        )


def read_layer(folder: Path) -> LayerResult:
    """The result that `run_layer` left in a folder; wherever the folder is now, it is that.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    try:
        values = json.loads((folder / VERDICTS_FILE).read_text(encoding="utf-8"))
        return dataclasses.replace(LayerResult.from_dict(values), folder=folder)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{folder} has no readable {VERDICTS_FILE}: {error}", hint="Run the layer again: `sluice test`."
        ) from error


def find_docs(folder: Path) -> list[Path]:
    """First pages of the Data Docs that a layer left in its folder."""
    return sorted((folder / DOCS_FOLDER).glob("*/index.html"))


def _input_options(inputs: LayerInputs) -> list[str]:
    """The plugin's options for what was given."""
    for name, path in (("snapshot", inputs.snapshot), ("model", inputs.model), ("champion", inputs.champion)):
        if path is not None and not path.is_file():
            raise DataError(f"the {name} to test is not there: {path}", hint=f"Correct the path of the {name}, or leave it out.")
    given = {
        "snapshot": inputs.snapshot and inputs.snapshot.resolve(),
        "model": inputs.model and inputs.model.resolve(),
        "model-digest": inputs.model and digest_file(inputs.model),
        "champion": inputs.champion and inputs.champion.resolve(),
        "release": inputs.release,
    }
    return [f"--sluice-{name}={value}" for name, value in given.items() if value is not None]


def _prepare(folder: Path) -> None:
    """Make the folder, without the files of an earlier run: a crash now must not be covered by a pass then."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (VERDICTS_FILE, JUNIT_FILE, PAGE_FILE, LOG_FILE, _EVENTS_FILE):
            (folder / name).unlink(missing_ok=True)
        if (folder / DOCS_FOLDER).exists():
            shutil.rmtree(folder / DOCS_FOLDER)
        (folder / _EVENTS_FILE).touch()
    except OSError as error:
        raise ServiceError(
            f"results cannot be written to {folder}: {error.strerror or error}",
            hint="Give yourself the right to write there, or name another folder with $SLUICE_STATE.",
        ) from error


def _pytest_command(root: Path, suite: str, scratch: Path) -> list[str]:
    """The child's command line, without inputs."""
    settings = {"addopts": "", "required_plugins": "", "strict_config": "false", "strict_markers": "false"}
    return [
        *(sys.executable, "-m", "pytest", suite, "-p", "sluice.checks.plugin", "-p", "no:cacheprovider"),
        *("-v", "--tb=short", "--color=no", "--continue-on-collection-errors"),
        # Named outright, or pytest would look for a configuration and for conftests above the project as well.
        *("-c", str(_pytest_configuration(root, scratch)), f"--rootdir={root}", f"--confcutdir={root}"),
        *(f"--override-ini={name}={value}" for name, value in settings.items()),
        f"--basetemp={scratch / 'tmp'}",
    ]


def _pytest_configuration(root: Path, scratch: Path) -> Path:
    """The project's own pytest settings (markers, warning filters, pythonpath), or an empty file where it has none."""
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
    """The child's environment: the parent's, without what would change how pytest works or leave traces."""
    # Bytecode may be written: without it pytest rewrites hundreds of modules anew in each layer, longer than the tests take.
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN_VARIABLES}
    environment |= {
        ROOT_VARIABLE: str(root),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(scratch / "hypothesis"),
        "GX_ANALYTICS_ENABLED": "false",
    }
    if layer == "data":
        environment[DOCS_VARIABLE] = str(folder / DOCS_FOLDER)
    return environment


def _write(result: LayerResult, seconds: dict[str, float], began: datetime) -> None:
    """Leave the artifacts."""
    (result.folder / VERDICTS_FILE).write_text(json.dumps(result.to_dict(), indent=1), encoding="utf-8")
    verdicts, failures = result.verdicts, result.failures
    write_junit(result.folder / JUNIT_FILE, result.layer, verdicts, failures, seconds, total=result.seconds, began=began)
    suites = [page.parent.name for page in find_docs(result.folder)]
    links = [(f"{DOCS_FOLDER}/{suite}/index.html", f"Data Docs: {suite}") for suite in suites]
    write_page(result.folder / PAGE_FILE, result.layer, result.outcome, result.verdicts, result.failures, result.seconds, links)
