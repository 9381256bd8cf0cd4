"""Build a report from runs of the local engine, and write it as HTML, Markdown or JUnit XML."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sluice.engines.local.runs import list_runs, read_commit
from sluice.errors import DataError, ServiceError
from sluice.release.project_releases import open_releases
from sluice.report.record_reader import parse_run, read_run
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

    from sluice.project.projects import Project

RENDERERS: dict[str, Callable[[Report], str]] = {"html": render_html, "markdown": render_markdown, "junit": render_junit}


def report_runs(project: Project, ids: Sequence[str]) -> Report:
    """Build a report of the runs with these ids, or of the last run if no id is given.

    Raises:
        DataError: There is no run with one of these ids, or no run at all.
    """
    folders = {folder.name: folder for folder in list_runs(project)}
    if not folders:
        raise DataError(
            "this project has no runs yet", hint="Run `sluice run` first, or `sluice demo`, which makes several runs."
        )
    for name in ids:
        if name not in folders:
            raise DataError(
                f"there is no run {name!r}", hint=f"The last run is {max(folders)}. All runs are in {project.state / 'runs'}."
            )
    chosen = [folders[name] for name in ids] or [folders[max(folders)]]
    acts = [Act(title=result.message or result.id, run=result) for result in map(read_run, chosen)]
    title = f"{project.settings.project.name}: {acts[-1].run.pipeline}"
    return Report(title=title, generated=datetime.now(UTC), acts=tuple(acts), releases=list_releases(project))


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
