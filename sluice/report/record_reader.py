"""Read the records of runs into the report's model, also those of runs that were interrupted.

A run's folder holds ``run.json`` (complete when the run has ended), ``parts/<name>.json`` (each written when its step ends),
``layers/<layer>/verdicts.json`` and ``events.jsonl``. ``run.json`` takes precedence, and the other files fill what it lacks. If
one part cannot be read, only that part is missing from the result, and a note in the result says so.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sluice.errors import DataError
from sluice.report.results import (
    LAYERS,
    CleanVerdict,
    Curves,
    Gate,
    Layer,
    Record,
    Release,
    Rollout,
    RunResult,
    Sample,
    Snapshot,
    Step,
    Transition,
    Warned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

Part = TypeVar("Part")
Raw = dict[str, Any]

RECORD_FILE = "run.json"
EVENTS_FILE = "events.jsonl"
PARTS_FOLDER = "parts"
LAYERS_FOLDER = "layers"
INTERRUPTED = "interrupted"
MAX_FAILURE_LINES = 20

_VERDICT: TypeAdapter[Any] = TypeAdapter(CleanVerdict)


def read_run(folder: Path) -> RunResult:
    """Read the folder of one run.

    Args:
        folder: ``runs/<id>`` in the project's state folder.

    Returns:
        What the records say. A run without ``run.json`` has the outcome ``interrupted``. The notes name the parts that could not
        be read.

    Raises:
        DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no run in {folder}", hint="Run `sluice run` first. `sluice report` without an id takes the latest run."
        )
    notes: list[str] = []
    raw = _read_json(folder / RECORD_FILE, notes) if (folder / RECORD_FILE).exists() else None
    if not isinstance(raw, dict):
        raw = {
            "outcome": INTERRUPTED,
            "reason": f"The run has not written {RECORD_FILE}. Either it was interrupted or it is still running.",
        }
    raw = {"id": folder.name} | raw
    for name, part in _read_parts(folder, notes).items():
        if not raw.get(name):
            raw[name] = part
    if not raw.get("layers"):
        raw["layers"] = _read_layers(folder, notes)
    if not raw.get("steps"):
        raw |= _read_events(folder / EVENTS_FILE, raw, notes)
    return parse_run(raw, notes=notes)


def read_runs(folder: Path) -> list[RunResult]:
    """Read every run in `folder` (``runs`` in the project's state folder), oldest first. Without that folder there are none."""
    if not folder.is_dir():
        return []
    runs = [read_run(path) for path in sorted(folder.iterdir()) if path.is_dir()]
    return sorted(runs, key=lambda run: (run.started or 0.0, run.id))


def parse_run(raw: Mapping[str, Any], *, notes: list[str] | None = None) -> RunResult:
    """Build the model from one run's record. Parts that do not fit the model are left out, and a note names each of them.

    Args:
        raw: What ``run.json`` holds.
        notes: Notes about problems that were met while the files were read.
    """
    all_notes = list(notes or [])
    parts: Raw = {
        "snapshot": _parse(Snapshot, raw.get("snapshot"), "snapshot", all_notes),
        "gate": _parse_gate(raw.get("gate"), all_notes),
        "curves": _parse(Curves, raw.get("curves"), "curves", all_notes),
        "release": _parse(Release, raw.get("release"), "release", all_notes),
        "rollout": _parse_rollout(raw.get("rollout"), all_notes),
        "steps": _parse_each(Step.model_validate, raw.get("steps"), "steps", all_notes),
        "layers": _parse_layers(raw.get("layers"), all_notes),
        "warnings": _parse_each(Warned.model_validate, raw.get("warnings"), "warnings", all_notes),
    }
    plain = {name: value for name, value in raw.items() if name not in parts and name != "notes"}
    return RunResult.model_validate(plain | parts | {"notes": tuple(all_notes)})


def parse_layer(raw: Mapping[str, Any], *, notes: list[str] | None = None) -> Layer:
    """Build one layer from its record. Only the verdicts that do not fit are left out."""
    notes = [] if notes is None else notes
    verdicts = _parse_each(_VERDICT.validate_python, raw.get("verdicts"), f"layer {raw.get('layer', '?')}", notes)
    return Layer.model_validate(dict(raw) | {"verdicts": verdicts})


_Kind = TypeVar("_Kind", bound=Record)


def _parse(kind: type[_Kind], value: object, name: str, notes: list[str]) -> _Kind | None:
    if value is None:
        return None
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        notes.append(f"{name}: cannot be read ({_describe_error(error)})")
        return None


def _parse_each(parse: Callable[[Any], Part], values: object, name: str, notes: list[str]) -> tuple[Part, ...]:
    """Parse the items of a list. A note counts the items that do not fit."""
    if values is None:
        return ()
    if not isinstance(values, list | tuple):
        notes.append(f"{name}: the value is not a list")
        return ()
    good: list[Part] = []
    problem = ""
    for value in values:
        try:
            good.append(parse(value))
        except ValidationError as error:
            problem = problem or _describe_error(error)
    if problem:
        notes.append(f"{name}: {len(values) - len(good)} of {len(values)} cannot be read ({problem})")
    return tuple(good)


def _parse_layers(values: object, notes: list[str]) -> tuple[Layer, ...]:
    """Return the layers in the order in which they run."""
    items = values if isinstance(values, list | tuple) else []
    layers = [parse_layer(raw, notes=notes) for raw in items if isinstance(raw, dict)]
    order = {name: place for place, name in enumerate(LAYERS)}
    return tuple(sorted(layers, key=lambda layer: order.get(layer.layer, len(order))))


def _parse_gate(value: object, notes: list[str]) -> Gate | None:
    gate = _parse(Gate, value, "gate", notes)
    if gate is None and isinstance(value, dict):
        notes.append("gate: the verdict was left out")
        return _parse(Gate, value | {"verdict": None}, "gate", notes)
    return gate


def _parse_rollout(value: object, notes: list[str]) -> Rollout | None:
    if not isinstance(value, dict):
        return None
    return _parse(
        Rollout,
        value
        | {
            "transitions": _parse_each(Transition.model_validate, value.get("transitions"), "rollout transitions", notes),
            "samples": _parse_each(Sample.model_validate, value.get("samples"), "rollout samples", notes),
            "numbers": value.get("numbers") or {},
            "failed": [*_read_failure_lines(value.get("failure")), *_read_condemned(value.get("condemned"))],
        },
        "rollout",
        notes,
    )


def _read_failure_lines(value: object) -> list[str]:
    """Return what failed in a rollout; empty if the record does not say it."""
    lines = value.get("lines") if isinstance(value, dict) else None
    return [str(line) for line in lines[:MAX_FAILURE_LINES]] if isinstance(lines, list) else []


def _read_condemned(value: object) -> list[str]:
    return [value] if value and isinstance(value, str) else []


def _describe_error(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}"


def _read_json(path: Path, notes: list[str]) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the file's JSON, or None and a note if the file cannot be read or holds no JSON (for example half a document)."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{path.name}: cannot be read ({error})")
        return None


def _read_parts(folder: Path, notes: list[str]) -> Raw:
    """Read the parts that the steps wrote when they ended."""
    files = sorted((folder / PARTS_FOLDER).glob("*.json"))
    return collect_parts((path.stem, _read_json(path, notes)) for path in files)


def collect_parts(documents: Iterable[tuple[str, object]]) -> Raw:
    """Join the parts that the steps of a run wrote, each with its name.

    Those named ``layer-<layer>`` become the list of layers, and those named ``warnings-<step>`` the list of warnings. If two
    parts have the same name, the later one counts. What is no object is left out.
    """
    parts: Raw = {}
    layers: dict[str, Raw] = {}
    warnings: dict[str, list[Any]] = {}
    for name, document in documents:
        if not isinstance(document, dict):
            continue
        if name.startswith("layer-"):
            layers[name] = document
        elif name.startswith("warnings-"):
            warnings[name] = list(document.get("warnings") or [])
        else:
            parts[name] = document
    told = [warning for name in sorted(warnings) for warning in warnings[name]]
    return parts | ({"layers": list(layers.values())} if layers else {}) | ({"warnings": told} if told else {})


def _read_layers(folder: Path, notes: list[str]) -> list[Raw]:
    """Read what the layers left in their own folders: a whole result, or only the list of verdicts."""
    found = []
    for path in sorted((folder / LAYERS_FOLDER).glob("*/verdicts.json")):
        document = _read_json(path, notes)
        if isinstance(document, list):
            document = {"verdicts": document}
        if isinstance(document, dict):
            found.append({"layer": path.parent.name, "outcome": _worst_outcome(document.get("verdicts"))} | document)
    return found


def _worst_outcome(verdicts: object) -> str:
    """Return the outcome of a layer whose own outcome was not recorded: the worst of its verdicts."""
    known = [verdict for verdict in verdicts if isinstance(verdict, dict)] if isinstance(verdicts, list) else []
    outcomes = ["pass" if verdict.get("allowed") else verdict.get("outcome") for verdict in known]
    return next((outcome for outcome in ("fail", "inconclusive", "pass") if outcome in outcomes), "")


def _read_events(path: Path, raw: Raw, notes: list[str]) -> Raw:
    """Read the steps and the times of a run from its events. A line that is not whole JSON is ignored."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        notes.append(f"{path.name}: cannot be read ({error})")
        return {}
    steps: dict[str, Raw] = {}
    times = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("step"), str):
            _apply_event(steps.setdefault(event["step"], {"name": event["step"]}), event)
            times.append(event.get("time"))
    known = sorted(time for time in times if isinstance(time, int | float))
    span = {"started": raw.get("started") or known[0], "ended": raw.get("ended") or known[-1]} if known else {}
    return {"steps": list(steps.values())} | span


def _apply_event(step: Raw, event: Raw) -> None:
    """Update one step with one event."""
    kind = event.get("event")
    if kind == "started":
        step |= {"started": event.get("time"), "outcome": "running"}
    elif kind == "ended":
        step |= {"ended": event.get("time"), "outcome": event.get("outcome")}
    elif kind == "waiting":
        step["outcome"] = "waiting"
    if event.get("detail"):
        step["detail"] = event["detail"]
