"""Build a report from runs of any engine, and write it as HTML, Markdown or JUnit XML."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sluice.engines.local.runs import list_runs, read_commit
from sluice.engines.run_lists import find_engine
from sluice.engines.selection import open_engine
from sluice.errors import DataError, ServiceError
from sluice.release.project_releases import open_releases
from sluice.report.record_reader import parse_run
from sluice.report.renderers.html import render_html
from sluice.report.renderers.junit import render_junit
from sluice.report.renderers.markdown import render_markdown
from sluice.report.results import LAYERS, Act, Release, Report
from sluice.steps.packaging import describe
from sluice.steps.standalone.candidates import DECISION_FILE, GATE_FOLDER
from sluice.steps.standalone.gate_questions import PREVIEW_FILE
from sluice.steps.standalone.results import RESULT_FILE, layer_folder, read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sluice.engines import Engine
    from sluice.project.projects import Project

RENDERERS: dict[str, Callable[[Report], str]] = {"html": render_html, "markdown": render_markdown, "junit": render_junit}


def report_runs(project: Project, ids: Sequence[str], engine: str = "") -> Report:
    """Build a report of the runs with these ids, or of the last run if no id is given.

    Args:
        project: The project.
        ids: Ids of runs.
        engine: Name of the engine that has the runs. If it is empty, each id is looked for on every engine, and the last run is
            the last one of this machine.

    Raises:
        DataError: There is no run with one of these ids, or no run at all.
    """
    known = {folder.name for folder in list_runs(project)} if engine in {"", "local"} else set()
    if not ids:
        chosen = open_engine(project, engine or "local")
        return report_engine_runs(project, [(chosen, max(known) if known else _find_last(chosen))])
    engines = [find_engine(project, run, "local" if run in known else engine) for run in ids]
    return report_engine_runs(project, list(zip(engines, ids, strict=True)))


def report_engine_runs(project: Project, runs: Sequence[tuple[Engine, str]]) -> Report:
    """Build a report of runs whose engines are known. It describes the releases that these runs packaged."""
    acts = [Act(title=result.message or result.id, run=result) for result in (engine.result(run) for engine, run in runs)]
    releases, note = _list_releases(project)
    if note:
        last = acts[-1]
        acts[-1] = last.model_copy(update={"run": last.run.model_copy(update={"notes": (*last.run.notes, note)})})
    title = f"{project.settings.project.name}: {acts[-1].run.pipeline}"
    made = {act.run.release.digest for act in acts if act.run.release}
    described = tuple(release for release in releases if release.digest in made)
    return Report(title=title, generated=datetime.now(UTC), acts=tuple(acts), releases=described, others=releases)


def _find_last(engine: Engine) -> str:
    found = engine.list(1)
    if not found:
        where = "on this machine" if engine.name == "local" else f"on {engine.name}"
        raise DataError(
            f"this project has no runs {where} yet",
            hint="Run `sluice run` or `sluice submit` first. `sluice runs` lists the runs of every engine.",
        )
    return found[0].id


def _list_releases(project: Project) -> tuple[tuple[Release, ...], str]:
    """Return the releases, and why they cannot be listed; empty if they can. A registry may be out of reach of this machine."""
    try:
        return list_releases(project), ""
    except ServiceError as error:
        return (), f"The releases of the project are missing, because {error.message}"


def report_layers(project: Project) -> Report:
    """Build a report of the layers that ran outside a run, and of the gate's preview or decision, as the jobs of a CI system do.

    Raises:
        DataError: No layer has run outside a run.
    """
    results = [read_document(layer_folder(project, layer) / RESULT_FILE) for layer in LAYERS]
    layers = [result for result in results if result]
    if not layers:
        raise DataError("no test layer has run outside a run", hint="Run `sluice test code`, or another layer, first.")
    gate = project.state / GATE_FOLDER
    decision, preview = read_document(gate / DECISION_FILE), read_document(gate / PREVIEW_FILE)
    blocked = [str(layer["layer"]) for layer in layers if layer.get("outcome") != "pass"]
    commit = read_commit(project.root)
    raw = {
        "id": commit.commit,
        "pipeline": "tests",
        "commit": commit.commit,
        "dirty": commit.dirty,
        "message": commit.message,
        "outcome": "failed" if blocked else "passed",
        "reason": f"The {' and '.join(blocked)} tests do not pass." if blocked else "Every layer that ran passed.",
        "layers": layers,
        "gate": decision or None,
    }
    notes = [f"Preview of the gate: {preview['detail']}"] if preview and not decision else []
    result = parse_run(raw, notes=notes)
    act = Act(title=result.message or "Tests", run=result)
    return Report(title=f"{project.settings.project.name}: tests", generated=datetime.now(UTC), acts=(act,), releases=())


def list_releases(project: Project) -> tuple[Release, ...]:
    """Return every release of the project, as the report shows it."""
    return tuple(Release.model_validate(describe(release)) for release in open_releases(project).list())


def write_report(report: Report, kind: str, target: Path) -> None:
    """Render a report and write it. The file is replaced as a whole or not at all.

    Args:
        report: The report.
        kind: A key of `RENDERERS`.
        target: The file to write.

    Raises:
        ServiceError: The file cannot be written.
    """
    text = RENDERERS[kind](report)
    draft = target.with_name(f".{target.name}.draft")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        raise ServiceError(f"{target} cannot be written: {error}", hint="Choose another file with -o.") from error
