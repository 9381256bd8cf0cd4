"""Runs on disk. Each run has a folder `.sluice/runs/<id>/` with its events, parts, layers, log and `run.json`.

`run.json` is written when the run starts. When the run ends, it is written again with everything that the steps recorded.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.checks.layers import LAYERS
from sluice.data.locations import resolve_snapshot
from sluice.engines.local.run_locks import hold_run, is_held
from sluice.engines.local.source_versions import read_version
from sluice.engines.outcomes import CUT_OFF, GOOD_OUTCOMES, TRAIN
from sluice.errors import DataError, RolledBackError, ServiceError, SluiceError, StateError, UndecidedError
from sluice.steps.ledgers import open_ledger
from sluice.steps.records import EVENTS_FILE, PARTS_FOLDER, read_warnings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sluice.project.projects import Project

RUN_FILE = "run.json"
LOG_FILE = "log.txt"
_CODE_SUFFIXES = frozenset({".py", ".toml", ".txt", ".in", ".lock"})


@dataclass(frozen=True, slots=True)
class Commit:
    """The code that a run uses.

    Attributes:
        commit: Commit id; empty outside git.
        dirty: Whether there are uncommitted changes.
        message: Subject line of the commit message.
    """

    commit: str
    dirty: bool
    message: str


def read_commit(root: Path) -> Commit:
    """Ask git for the commit of the project's folder. A folder outside git has an empty commit and counts as dirty."""

    def run_git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)  # noqa: S607
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = run_git("rev-parse", "HEAD")
    if not commit:
        return Commit("", dirty=True, message="")
    return Commit(commit, dirty=bool(run_git("status", "--porcelain")), message=run_git("log", "-1", "--format=%s") or "")


def code_files(root: Path) -> list[Path]:
    """Return the files with the project's code and configuration, sorted.

    These are the files that git tracks, or would track because they are not ignored. Outside git they are all such files that are
    not in hidden folders.
    """
    done = None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        names: Iterable[str] = ()
    if done is not None and done.returncode == 0:
        names = done.stdout.split("\0")
    else:
        names = (
            str(path.relative_to(root))
            for path in root.rglob("*")
            if not any(p.startswith(".") for p in path.relative_to(root).parts)
        )
    return sorted(path for name in set(names) if name and (path := root / name).suffix in _CODE_SUFFIXES and path.is_file())


def inputs_digest(project: Project, pipeline: str, arguments: Mapping[str, Any]) -> str:
    """Return one digest over everything that a run depends on: code, configuration, snapshot, holdout, lock and overrides.

    Data at a URL is represented by the version that its store names, because reading the data is the first step of the run. If
    nobody can say whether the data has changed, the digest is a new one each time, so that no run counts as unchanged. An
    override of the gate that is valid now can change the gate's outcome, so with it the inputs are others.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps([pipeline, dict(arguments), project.settings.model_dump(mode="json")], sort_keys=True).encode())
    for file in code_files(project.root):
        digest.update(f"\0{file.relative_to(project.root)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    for location in (_find_snapshot(project, str(arguments.get("snapshot") or "")), project.settings.data.holdout):
        digest.update((read_version(project.locate(location)) or secrets.token_hex()).encode())
    for link in _find_overrides(project):
        digest.update(f"\0override {link}".encode())
    return f"sha256:{digest.hexdigest()}"


def _find_snapshot(project: Project, location: str) -> str:
    """Return where the newest snapshot is. If nobody can say it, return what was asked: the run's first step then says why."""
    try:
        return resolve_snapshot(project, location).name
    except SluiceError:
        return location or project.settings.data.snapshot


def _find_overrides(project: Project) -> tuple[str, ...]:
    """Return the links of the overrides that are valid now. A ledger that cannot be read has none: the gate refuses it itself."""
    try:
        return tuple(record.link for record in open_ledger(project).read().overrides(time.time()))
    except (StateError, ServiceError):
        return ()


def start_record(project: Project, pipeline: str, arguments: Mapping[str, Any]) -> tuple[Path, int]:
    """Create the folder of a new run, and write what is known before it starts.

    Returns:
        The folder, and the descriptor that says that the run is still there (`sluice.engines.local.run_locks`).
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    folder = project.state / "runs" / name
    folder.mkdir(parents=True)
    alive = hold_run(folder)  # before the record says that the run is running
    commit = read_commit(project.root)
    document = {
        "id": name,
        "pipeline": pipeline,
        "arguments": dict(arguments),
        "inputs": inputs_digest(project, pipeline, arguments),
        "commit": commit.commit,
        "dirty": commit.dirty,
        "message": commit.message,
        "started": time.time(),
        "ended": None,
        "outcome": "running",
        "reason": "",
    }
    write_run(folder, document)
    return folder, alive


def write_run(folder: Path, document: Mapping[str, Any]) -> None:
    """Replace run.json as a whole, so that a reader never sees half of it."""
    draft = folder / f".{RUN_FILE}.{os.getpid()}"
    draft.write_text(json.dumps(document, indent=1), encoding="utf-8")
    draft.replace(folder / RUN_FILE)


def read_run(folder: Path) -> dict[str, Any]:
    """Read the run's record. A run that was cut off has written no end, so it gets one here.

    Raises:
        DataError: The folder holds no record that can be read.
    """
    document = _read_record(folder)
    if document.get("outcome") != "running" or is_held(folder):
        return document
    document = _read_record(folder)  # the run may have ended properly between the two questions
    return document if document.get("outcome") != "running" else describe_cut_off(document, read_events(folder))


def describe_cut_off(document: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the record of a run whose processes ended without writing its end. Pure.

    Args:
        document: The record, which says that the run is running.
        events: The events of its steps. The time of the last one is the last sign of life.
    """
    steps = summarise_steps(events)
    last = float(events[-1]["time"] if events else document["started"])
    for step in steps:
        if step["outcome"] == "running":
            step |= {"outcome": "interrupted", "ended": last}
    during = next((f" during the step {step['name']}" for step in steps if step["outcome"] == "interrupted"), "")
    reason = f"its processes ended{during} without a word, for example by SIGKILL or because the machine stopped"
    return dict(document) | {"outcome": CUT_OFF, "reason": reason, "ended": last, "steps": steps}


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"the run's record in {folder} cannot be read: {error}", hint="Start a new run with `sluice run`."
        ) from error
    return document


def list_runs(project: Project) -> list[Path]:
    """Return the folders of all runs, oldest first."""
    return sorted(file.parent for file in (project.state / "runs").glob(f"*/{RUN_FILE}"))


def find_run(project: Project, run: str) -> Path:
    """Return the folder of a run.

    Raises:
        DataError: There is no run with this id.
    """
    folders = {folder.name: folder for folder in list_runs(project)}
    if run not in folders:
        last = f"The last run is {max(folders)}. " if folders else ""
        raise DataError(f"there is no local run {run!r}", hint=f"{last}`sluice runs` lists the runs of every engine.")
    return folders[run]


def find_run_with_same_inputs(project: Project, inputs: str) -> dict[str, Any] | None:
    """Return the record of the last run with these inputs in which nothing failed; None if there is none.

    Args:
        project: The project.
        inputs: The digest that `inputs_digest` returns.
    """
    for folder in reversed(list_runs(project)):
        document = read_run(folder)
        if document.get("inputs") == inputs and document["outcome"] in GOOD_OUTCOMES:
            return document
    return None


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Read the events of a run. A last line that is still being written is left for the next call."""
    file = folder / EVENTS_FILE
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def summarise_steps(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps in the order in which they started, each with its outcome, times and detail.

    A step without an end has the outcome "running".
    """
    steps: dict[str, dict[str, Any]] = {}
    for event in events:
        step = steps.setdefault(
            event["step"], {"name": event["step"], "outcome": "running", "started": event["time"], "ended": None, "detail": ""}
        )
        step["detail"] = event.get("detail") or step["detail"]
        if event["event"] == "ended":
            step |= {"outcome": event["outcome"], "ended": event["time"]}
            step |= {key: event[key] for key in ("error", "hint", "exit_code") if key in event}
    return list(steps.values())


def determine_outcome(steps: list[dict[str, Any]], parts: Mapping[str, Any], *, succeeded: bool) -> tuple[str, str]:
    """Determine the outcome of a run and the reason for it.

    Args:
        steps: The steps, as `summarise_steps` returns them.
        parts: The parts of the run's record by name.
        succeeded: Whether the engine reports that the pipeline succeeded.
    """
    for step in steps:
        if step["outcome"] == "fail":
            return _name_failure(step, parts), step.get("error") or step["detail"]
    if not succeeded:
        return "failed", "the engine ended before a step recorded a reason; log.txt in the folder of the run has its output"
    return _name_success(steps, parts)


def _name_success(steps: list[dict[str, Any]], parts: Mapping[str, Any]) -> tuple[str, str]:
    """Return the outcome of a run in which no step failed, and the reason for it."""
    snapshot = parts.get("snapshot") or {}
    if snapshot.get("new") is False and not any(step["name"] == TRAIN for step in steps):
        return "unchanged", f"{snapshot['novelty']}, so nothing was trained"
    drift = parts.get("drift")
    if drift is not None and not drift["drifted"]:
        return ("undecided" if drift.get("outcome") == "inconclusive" else "kept"), str(drift["detail"])
    gate = parts.get("gate")
    if gate is not None and not (gate.get("promote") or gate.get("override")):
        return "kept", str((gate.get("verdict") or {}).get("detail") or "the gate keeps the champion")
    if any(step["name"] == "canary" for step in steps):
        return "promoted", steps[-1]["detail"]
    return "passed", _describe_passed(steps)


def _describe_passed(steps: list[dict[str, Any]]) -> str:
    """Name the steps of a run that passed, and the number of checks of each test layer."""
    names = [f"{step['name']} ({step['detail']})" if step["name"].endswith("-tests") else step["name"] for step in steps]
    return f"every step passed: {', '.join(names)}"


def _name_failure(step: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """Return the outcome of a run whose step failed."""
    if step.get("exit_code") == RolledBackError.exit_code:
        return "rolled_back"
    verdict = (parts.get("gate") or {}).get("verdict") or {}
    if step["name"] == "gate" and step.get("exit_code") == UndecidedError.exit_code and verdict.get("outcome") == "inconclusive":
        return "undecided"
    return "rejected" if step["name"] == "approval" else "failed"


def assemble_run(folder: Path, *, succeeded: bool, interrupted: bool = False) -> dict[str, Any]:
    """Write run.json from the run's events and parts, after the run has ended for any reason, and return it."""
    document = _read_record(folder)
    steps = summarise_steps(read_events(folder))
    parts = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted((folder / PARTS_FOLDER).glob("*.json"))}
    outcome, reason = determine_outcome(steps, parts, succeeded=succeeded)
    if interrupted:
        outcome, reason = "interrupted", "the user ended the run"
        for step in steps:
            if step["outcome"] == "running":
                step |= {"outcome": "interrupted", "ended": time.time()}
    document |= {
        "ended": time.time(),
        "outcome": outcome,
        "reason": reason,
        "steps": steps,
        "layers": [parts[f"layer-{layer}"] for layer in LAYERS if f"layer-{layer}" in parts],
        "warnings": read_warnings(folder),
    }
    document |= {name: parts.get(name) for name in ("snapshot", "holdout", "training", "gate", "curves", "release", "rollout")}
    write_run(folder, document)
    return document
