"""A copy of the example project in a folder, in which the real checks of a pipeline run one after the other.

The steps are called as the components call them. Only the suites of layers 2 and 3 run in this process and not in one of their
own, because a process for each fault would take too long: their test functions are called with what the fixtures would give them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib

from churn.customers import simulate_customers
from churn.simulation import write_export
from sluice.checks.layers import LayerInputs, run_layer
from sluice.checks.suites.inputs import PinnedData
from sluice.data.holdout import read_holdout
from sluice.data.snapshots import digest_file, pin_snapshot
from sluice.errors import SluiceError
from sluice.project.projects import Project, read_project
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.decisions.states import ChampionTerm
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests.admission import read_ledger_head
from sluice.steps.curves import measure_curves
from sluice.steps.gating import ask_gate
from sluice.steps.packaging import package
from sluice.steps.scoring import score_gate_rows
from sluice.steps.standalone.results import digest_code
from sluice.steps.training import train, verify_model
from sluice.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    import pandas as pd

    from sluice.checks.layers import LayerResult

ROOT = Path(__file__).parents[3]
STAGES = ("code tests", "data tests", "training", "model tests", "gate", "package", "load")
"""The checks of a pipeline in their order."""

SNAPSHOT_ROWS, HOLDOUT_ROWS = 10_500, 10_000
CHAMPION_FEATURES = ("account", "activity")
"""The champion lacks features, so that a healthy challenger is better."""

_LOAD = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import pandas, sklearn.linear_model, sklearn.pipeline
from sluice.errors import SluiceError
from sluice.scoring.scorer import load_scorer
for line in sys.stdin:
    folder, digest = json.loads(line)
    child = os.fork()
    if child == 0:
        try:
            load_scorer(Path(folder), digest)
        except SluiceError as error:
            print(json.dumps([type(error).__name__, error.message]), flush=True)
        else:
            print(json.dumps(["", ""]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
"""Load each release in a process of its own, as a server does. A process takes the code of one release only."""


@dataclass(frozen=True)
class Refusal:
    """Where a pipeline stopped.

    Attributes:
        stage: One of `STAGES`.
        checks: Names of the checks that failed, or the class of the error.
        message: What a person reads.
    """

    stage: str
    checks: frozenset[str]
    message: str


@dataclass
class World:
    """The project in a folder, and what a fault changes on the way.

    Attributes:
        root: The folder of the project.
        alter_model: Called with the fitted model after training. What it returns takes the model's place.
        alter_model_file: Called with the model's file after its digest was recorded.
        before_gate: Called before the gate is asked.
        alter_release: Called with the folder of the packaged release. It may return the digest that the server is told to expect.
        loads: Whether a server's process loads the release at the end.
        warnings: The warnings of the last training.
    """

    root: Path
    alter_model: Callable[[Any], Any] | None = None
    alter_model_file: Callable[[Path], None] | None = None
    before_gate: Callable[[World], None] | None = None
    alter_release: Callable[[Path], str | None] | None = None
    loads: bool = True
    release: str = field(default="", init=False)
    warnings: list[dict[str, Any]] = field(default_factory=list, init=False)

    @property
    def project(self) -> Project:
        """The project as a new process reads it."""
        return read_project(self.root)

    @property
    def snapshot(self) -> Path:
        """The file of the training data."""
        return self.root / "data" / "customers.parquet"

    @property
    def holdout(self) -> Path:
        """The file of the holdout."""
        return self.root / "data" / "holdout.parquet"

    def write(self, snapshot: pd.DataFrame | None = None, holdout: pd.DataFrame | None = None) -> None:
        """Write other data."""
        if snapshot is not None:
            write_export(snapshot, self.snapshot)
        if holdout is not None:
            write_export(holdout, self.holdout)
            self.configure()

    def configure(self, **features: Iterable[str]) -> None:
        """Write sluice.toml, with the digest of the present holdout."""
        text = (ROOT / "sluice.toml").read_text(encoding="utf-8")
        text = re.sub(r'holdout_digest = ".*"', f'holdout_digest = "{digest_file(self.holdout)}"', text)
        if features:
            text = text.replace("[model]", f"[model]\nparameters = {{ features = {json.dumps(list(features['features']))} }}")
        (self.root / "sluice.toml").write_text(text, encoding="utf-8")

    def copy(self, target: Path) -> World:
        """Return a copy of the project with its state."""
        shutil.copytree(self.root, target, symlinks=True)
        return World(target)


def make_world(root: Path, *, seed: int) -> World:
    """Make a healthy project with a champion."""
    for name in ("churn", "locks", "tests/code"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    world = World(root)
    world.write(simulate_customers(SNAPSHOT_ROWS, 10_000_000 + seed), simulate_customers(HOLDOUT_ROWS, 20_000_000 + seed))
    world.configure(features=CHAMPION_FEATURES)
    refusal = run_pipeline(world)
    if refusal is not None:
        raise AssertionError(f"the first champion was refused: {refusal}")
    head = read_ledger_head(world.project, world.release)
    term = ChampionTerm(release=world.release, by="ada", at=1.0, ledger_head=head)
    open_journal(world.project).update(lambda journal: dataclasses.replace(journal, history=(*journal.history, term)))
    world.configure()
    # Without the champion's training data, the training does not score the champion on new rows. That could only give a warning,
    # and would take a process for each run.
    shutil.rmtree(world.project.state / "snapshots")
    return world


def run_pipeline(world: World) -> Refusal | None:
    """Run all checks in their order, and return where the pipeline stopped; None if everything passed."""
    project = world.project
    scratch = world.root / "run"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    code = _check_code(project, scratch)
    if blocking := [verdict for verdict in code.verdicts if verdict.blocks]:
        return _refuse("code tests", blocking)
    pinned = pin_snapshot(str(world.snapshot), project.state / "snapshots")
    if refusal := _check_suite("data", project, {"snapshot": PinnedData(project, pinned.path, pinned.digest)}):
        return refusal
    model = scratch / "model.joblib"
    metadata: dict[str, Any] = {"digest": pinned.digest, "suffix": ".parquet", "source": str(world.snapshot)}
    try:
        metadata = train(str(pinned.path), metadata, model)
    except SluiceError as error:
        return _refuse_error("training", error)
    world.warnings = metadata["warnings"]
    if world.alter_model is not None:
        joblib.dump(world.alter_model(joblib.load(model)), model)
        metadata["digest"] = digest_file(model)
    if world.alter_model_file is not None:
        world.alter_model_file(model)
    return _check_model(world, project, model, metadata) or _make_release(world, model, metadata)


def _check_model(world: World, project: Project, model: Path, metadata: dict[str, Any]) -> Refusal | None:
    """Run layer 3 on the holdout's test rows."""
    try:
        fitted = joblib.load(verify_model(model, metadata))
        holdout = read_holdout(project, part="test")
    except SluiceError as error:
        return _refuse_error("model tests", error)
    inputs = {"model": fitted, "holdout": holdout, "thresholds": project.settings.thresholds}
    return _check_suite("model", project, inputs)


def _make_release(world: World, model: Path, metadata: dict[str, Any]) -> Refusal | None:
    """Ask the gate, package the model, and load the release as a server does."""
    scratch = model.parent
    outputs = {
        "decision": str(scratch / "decision.json"),
        "scores": str(scratch / "scores.npz"),
        "golden": str(scratch / "golden.json"),
    }
    if world.before_gate is not None:
        world.before_gate(world)
    try:
        score_gate_rows(str(model), metadata, outputs["scores"], outputs["golden"])
        passes = ask_gate(str(model), metadata, outputs["scores"], outputs["decision"])
    except SluiceError as error:
        return _refuse_error("gate", error)
    if not passes:
        verdict = json.loads((scratch / "decision.json").read_text(encoding="utf-8"))["verdict"]
        return _refuse("gate", [Verdict.from_dict(verdict)])
    try:
        measure_curves(str(model), metadata, str(scratch / "curves.json"))
        world.release = package(str(model), metadata, [], str(scratch / "curves.json"), *outputs.values())
        folder = ReleaseStore(world.project.state / "releases").unpack(world.release)
    except SluiceError as error:
        return _refuse_error("package", error)
    expected = (world.alter_release(folder) if world.alter_release else None) or world.release
    if not world.loads:
        return None
    (found,) = load_releases([(folder, expected)])
    return Refusal("load", frozenset({found[0]}), found[1]) if found[0] else None


def load_releases(releases: Iterable[tuple[Path, str]]) -> list[tuple[str, str]]:
    """Load releases in a process of the serving environment, and return class and message of each error; empty if it loads."""
    lines = "".join(json.dumps([str(folder), digest]) + "\n" for folder, digest in releases)
    command = [ROOT / ".venv-serving/bin/python", "-P", "-c", _LOAD, ROOT]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, cwd="/")
    return [tuple(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("[")]


_CODE_RESULTS: dict[str, LayerResult] = {}


def _check_code(project: Project, scratch: Path) -> LayerResult:
    """Run layer 1 in its own process, once for the same code."""
    digest = digest_code(project)
    if digest not in _CODE_RESULTS:
        _CODE_RESULTS[digest] = run_layer(project, "code", LayerInputs(), scratch / "code")
    return _CODE_RESULTS[digest]


def _check_suite(layer: str, project: Project, inputs: dict[str, Any]) -> Refusal | None:
    """Call the test functions of a layer, and return the checks that block."""
    blocking: list[Verdict] = []

    def verify(*given: Verdict | Iterable[Verdict]) -> None:
        for one in given:
            blocking.extend(verdict for verdict in ([one] if isinstance(one, Verdict) else one) if verdict.blocks)

    fixtures = {"project": project, "verify": verify} | inputs
    for module in _load_suite(layer):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_") and function.__module__ == module.__name__:
                arguments = {parameter: fixtures[parameter] for parameter in inspect.signature(function).parameters}
                try:
                    function(**arguments)
                except (AssertionError, SluiceError, ValueError) as error:
                    blocking.append(Verdict.from_dict({"check": name, "outcome": "fail", "detail": str(error)}))
    return _refuse(f"{layer} tests", blocking) if blocking else None


@functools.cache
def _load_suite(layer: str) -> list[ModuleType]:
    """Import the modules of a layer's suite."""
    modules = []
    for path in sorted((ROOT / "tests" / layer).glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"mutated_{layer}_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise AssertionError(path)
        module = importlib.util.module_from_spec(spec)
        with contextlib.suppress(KeyError):
            del sys.modules[module.__name__]
        spec.loader.exec_module(module)
        modules.append(module)
    return modules


def _refuse(stage: str, verdicts: list[Verdict]) -> Refusal:
    texts = "; ".join(f"{verdict.check}: {verdict.explanation}" for verdict in verdicts)
    return Refusal(stage, frozenset(verdict.check for verdict in verdicts), texts)


def _refuse_error(stage: str, error: SluiceError) -> Refusal:
    return Refusal(stage, frozenset({type(error).__name__}), error.message)
