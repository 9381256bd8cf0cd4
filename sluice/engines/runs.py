"""Runs as folders: `.sluice/runs/<id>/` with events, parts, layers, a log, and the `run.json` that binds them at the end."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.checks.layers import LAYERS
from sluice.data.snapshots import digest_file
from sluice.errors import DataError
from sluice.steps.records import EVENTS_FILE, PARTS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sluice.project.projects import Project

RUN_FILE = "run.json"
LOG_FILE = "log.txt"
GOOD_OUTCOMES = frozenset({"promoted", "kept", "passed"})
_CODE_ENDINGS = frozenset({".py", ".toml", ".txt", ".in", ".lock"})


@dataclass(frozen=True, slots=True)
class Commit:
    """The code that a run works on: commit id (empty outside git), whether files differ from it, its subject line."""

    commit: str
    dirty: bool
    message: str


def read_commit(root: Path) -> Commit:
    """Ask git about the project's folder; a folder outside git has an empty commit and counts as dirty."""

    def ask(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)  # noqa: S607
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return Commit("", dirty=True, message="")
    return Commit(commit, dirty=bool(ask("status", "--porcelain")), message=ask("log", "-1", "--format=%s") or "")


def code_files(root: Path) -> list[Path]:
    """The project's code and configuration: what git knows or would, else every such file outside hidden folders."""
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
    return sorted(path for name in set(names) if name and (path := root / name).suffix in _CODE_ENDINGS and path.is_file())


def inputs_digest(project: Project, pipeline: str, arguments: Mapping[str, Any]) -> str:
    """One digest over what a run depends on: code, configuration, snapshot, holdout and lock.

    Data behind a URL counts by its name, since reading it is the run's first step.
    """
    whole = hashlib.sha256()
    whole.update(json.dumps([pipeline, dict(arguments), project.settings.model_dump(mode="json")], sort_keys=True).encode())
    for file in code_files(project.root):
        whole.update(f"\0{file.relative_to(project.root)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    for location in (arguments.get("snapshot") or project.settings.data.snapshot, project.settings.data.holdout):
        path = Path(project.locate(str(location)))
        whole.update(digest_file(path).encode() if "://" not in str(location) and path.is_file() else str(location).encode())
    return f"sha256:{whole.hexdigest()}"


def create_run(project: Project, pipeline: str, arguments: Mapping[str, Any]) -> Path:
    """Make the folder of a new run and write what is known before it starts."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    folder = project.state / "runs" / name
    folder.mkdir(parents=True)
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
    return folder


def write_run(folder: Path, document: Mapping[str, Any]) -> None:
    """Replace run.json whole."""
    draft = folder / f".{RUN_FILE}.{os.getpid()}"
    draft.write_text(json.dumps(document, indent=1), encoding="utf-8")
    draft.replace(folder / RUN_FILE)


def read_run(folder: Path) -> dict[str, Any]:
    """The run's record.

    Raises:
        DataError: The folder holds none.
    """
    try:
        document: dict[str, Any] = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no readable run: {error}", hint="`sluice run` makes one.") from error
    return document


def list_runs(project: Project) -> list[Path]:
    """The runs' folders, oldest first."""
    return sorted(file.parent for file in (project.state / "runs").glob(f"*/{RUN_FILE}"))


def find_run_with_same_inputs(project: Project, inputs: str) -> dict[str, Any] | None:
    """The last run that ended well with exactly these inputs; None where there is none."""
    for folder in reversed(list_runs(project)):
        document = read_run(folder)
        if document.get("inputs") == inputs and document["outcome"] in GOOD_OUTCOMES:
            return document
    return None


def read_events(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of the run's events; a last line that is still being written is left for later."""
    file = folder / EVENTS_FILE
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def summarise_steps(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Steps in the order they started, each with its outcome ("running" where it has no end), times and detail."""
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
    """The run's outcome and the reason for it, from its steps.

    Args:
        steps: As `summarise_steps` gives them.
        parts: The parts of the record by name.
        succeeded: Whether the engine says that the pipeline succeeded.
    """
    for step in steps:
        if step["outcome"] == "fail":
            outcome = "rolled_back" if step.get("exit_code") == 6 else "rejected" if step["name"] == "approval" else "failed"  # noqa: PLR2004
            return outcome, step.get("error") or step["detail"]
    if not succeeded:
        return "failed", "the engine stopped before a step could say why: see log.txt"
    drift = parts.get("drift")
    if drift is not None and not drift["drifted"]:
        return "kept", str(drift["detail"])
    gate = parts.get("gate")
    if gate is not None and not gate.get("promote"):
        return "kept", str((gate.get("verdict") or {}).get("detail") or "the gate keeps the champion")
    return ("promoted" if any(step["name"] == "canary" for step in steps) else "passed"), steps[-1]["detail"] if steps else ""


def assemble_run(folder: Path, *, succeeded: bool, interrupted: bool = False) -> dict[str, Any]:
    """Bind events and parts into run.json when the run has ended, whatever way it did."""
    document = read_run(folder)
    steps = summarise_steps(read_events(folder))
    parts = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted((folder / PARTS_FOLDER).glob("*.json"))}
    outcome, reason = determine_outcome(steps, parts, succeeded=succeeded)
    if interrupted:
        outcome, reason = "interrupted", "ended by the user"
        for step in steps:
            if step["outcome"] == "running":
                step |= {"outcome": "interrupted", "ended": time.time()}
    document |= {
        "ended": time.time(),
        "outcome": outcome,
        "reason": reason,
        "steps": steps,
        "layers": [parts[f"layer-{layer}"] for layer in LAYERS if f"layer-{layer}" in parts],
    }
    document |= {name: parts.get(name) for name in ("snapshot", "training", "gate", "curves", "release", "rollout")}
    write_run(folder, document)
    return document
