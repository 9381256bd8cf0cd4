from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import report_records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from sluice.errors import DataError
from sluice.report.record_reader import parse_run, read_run, read_runs
from sluice.report.renderers.html import render_html
from sluice.report.renderers.junit import render_junit
from sluice.report.renderers.markdown import render_markdown
from sluice.report.renderers.terminal import render_terminal
from sluice.report.results import Act, Report
from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")


def test_read_run_reads_a_complete_run(tmp_path: Path) -> None:
    write(tmp_path / "run.json", report_records.story_run(1))
    run = read_run(tmp_path)
    assert (run.outcome, run.notes) == ("promoted", ())
    assert [layer.layer for layer in run.layers] == ["code", "data", "model", "integration"]
    model = run.layer("model")
    assert model is not None
    assert model.verdicts[1].unproven
    assert model.verdicts[0].interval is not None
    assert run.gate is not None
    assert run.gate.uses == 2
    assert run.rollout is not None
    assert [move.to for move in run.rollout.transitions] == ["awaiting_approval", "step-1", "step-2", "baking", "promoted"]


def test_an_interrupted_run_has_what_its_steps_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "20260302-1"
    write(folder / "parts" / "snapshot.json", {"digest": "sha256:" + "a" * 64, "rows": 5})
    write(folder / "parts" / "layer-code.json", report_records.code_layer())
    write(folder / "parts" / "gate.json", '{"promote": tr')  # half a document
    events = [
        {"time": 10.0, "step": "pin-snapshot", "event": "started"},
        {"time": 11.0, "step": "pin-snapshot", "event": "ended", "outcome": "pass", "detail": "done"},
        {"time": 11.5, "step": "train", "event": "started"},
    ]
    write(folder / "events.jsonl", "\n".join(map(json.dumps, events)) + '\n{"time": 12, "st')
    run = read_run(folder)
    assert (run.id, run.outcome) == ("20260302-1", "interrupted")
    assert [(step.name, step.outcome, step.duration) for step in run.steps] == [
        ("pin-snapshot", "pass", 1.0),
        ("train", "running", None),
    ]
    assert (run.started, run.ended) == (10.0, 11.5)
    assert run.snapshot is not None
    assert run.snapshot.rows == 5
    assert [layer.layer for layer in run.layers] == ["code"]
    assert run.gate is None
    assert any("gate.json" in note for note in run.notes)


def test_the_folders_of_the_layers_are_read_if_there_is_no_other_record(tmp_path: Path) -> None:
    write(tmp_path / "layers" / "model" / "verdicts.json", report_records.model_layer()["verdicts"])
    write(tmp_path / "layers" / "code" / "verdicts.json", report_records.code_layer())
    run = read_run(tmp_path)
    assert [(layer.layer, layer.outcome) for layer in run.layers] == [("code", "pass"), ("model", "pass")]


def test_only_the_verdict_that_does_not_fit_is_left_out(tmp_path: Path) -> None:
    raw = report_records.story_run(0)
    raw["layers"][2]["verdicts"][0]["outcome"] = "splendid"
    run = parse_run(raw)
    model = run.layer("model")
    assert model is not None
    assert next(verdict.check for verdict in model.verdicts) == "auc_enterprise"
    assert any("layer model: 1 of 5" in note for note in run.notes)


def test_numbers_that_are_not_finite_become_none() -> None:
    raw = report_records.story_run(1)
    raw["layers"][2]["verdicts"][0]["observed"] = float("nan")
    raw["layers"][2]["verdicts"][1]["interval"]["high"] = float("inf")
    model = parse_run(raw).layer("model")
    assert model is not None
    assert model.verdicts[0].observed is None
    assert model.verdicts[1].interval is None
    assert model.verdicts[0].outcome is Outcome.PASS


def test_samples_are_sorted_by_time() -> None:
    raw = report_records.story_run(1)
    raw["rollout"]["samples"].reverse()
    rollout = parse_run(raw).rollout
    assert rollout is not None
    times = [sample.time for sample in rollout.samples if sample.time is not None]
    assert times == sorted(times)
    assert len(times) == len(raw["rollout"]["samples"])


def test_a_missing_folder_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no run in") as caught:
        read_run(tmp_path / "none")
    assert caught.value.hint


def test_runs_are_sorted_oldest_first_and_a_missing_folder_has_none(tmp_path: Path) -> None:
    for place, started in enumerate((30.0, 10.0, 20.0)):
        write(tmp_path / f"r{place}" / "run.json", {"id": f"r{place}", "started": started})
    assert [run.id for run in read_runs(tmp_path)] == ["r1", "r2", "r0"]
    assert read_runs(tmp_path / "none") == []


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def small_run() -> dict[str, Any]:
    raw = report_records.story_run(2)
    raw["rollout"]["samples"] = raw["rollout"]["samples"][::12]
    raw["layers"] = raw["layers"][2:]
    for model in raw["curves"].values():
        model["roc"] |= {"fpr": [0.0, 0.2, 1.0], "tpr": [0.0, 0.7, 1.0]}
    return raw


def paths_of(document: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    return [path, *(found for key, value in items for found in paths_of(value, (*path, key)))]


PATHS = [path for path in paths_of(small_run()) if path]


CHANGES = st.lists(st.tuples(st.sampled_from(PATHS), ANY_VALUE), min_size=1, max_size=4)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES)
def test_any_value_anywhere_in_a_record_can_be_read_and_rendered(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    render_changed_record(changes)


@pytest.mark.slow
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES)
def test_any_value_anywhere_in_a_record_can_be_read_and_rendered_at_length(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    render_changed_record(changes)


def render_changed_record(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    raw = small_run()
    for path, value in changes:
        place = raw
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change removed this place
    report = Report(title="t", generated=report_records.GENERATED, acts=(Act(title="a", run=parse_run(raw)),))
    render_html(report).encode()
    render_markdown(report).encode()
    render_junit(report).encode()
    Console(file=StringIO(), width=80).print(render_terminal(report))
