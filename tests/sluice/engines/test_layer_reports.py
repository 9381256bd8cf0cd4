"""The report of single steps, as the jobs of a CI system make it: the layers that ran, and the gate's preview."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sluice.engines.run_reports import RENDERERS, report_layers
from sluice.errors import DataError
from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[project]
name = "tiny"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "tiny_model:load"
label = "y"
id = "id"
[model]
build = "tiny_model:build"
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Project:
    (tmp_path / "sluice.toml").write_text(TOML)
    return read_project(tmp_path)


def write(project: Project, name: str, document: dict[str, object]) -> None:
    file = project.state / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))


def test_the_report_shows_the_layers_that_ran_and_the_preview(tiny: Project) -> None:
    verdict = {"check": "auc", "outcome": "fail", "observed": 0.651, "threshold": 0.7, "comparison": ">=", "rows": 900}
    write(tiny, "layers/code/result.json", {"layer": "code", "outcome": "pass", "seconds": 1.0, "verdicts": []})
    write(tiny, "layers/model/result.json", {"layer": "model", "outcome": "fail", "seconds": 1.0, "verdicts": [verdict]})
    write(tiny, "gate/preview.json", {"outcome": "worse", "detail": "The challenger is worse. The gate was not asked."})
    report = report_layers(tiny)
    text = RENDERERS["markdown"](report)
    assert "The model tests do not pass." in text
    assert "`auc`" in text
    assert "0.651" in text
    assert "The gate was not asked." in text
    assert [layer.layer for layer in report.acts[0].run.layers] == ["code", "model"]


def test_the_gates_decision_replaces_the_preview(tiny: Project) -> None:
    write(tiny, "layers/code/result.json", {"layer": "code", "outcome": "pass", "seconds": 1.0, "verdicts": []})
    write(tiny, "gate/preview.json", {"outcome": "better", "detail": "an earlier preview"})
    verdict = {"check": "gate", "outcome": "pass", "detail": "the challenger replaces the champion"}
    write(tiny, "gate/decision.json", {"promote": True, "verdict": verdict, "uses": 3, "budget": 52})
    text = RENDERERS["markdown"](report_layers(tiny))
    assert "an earlier preview" not in text
    assert "3 of 52" in text


def test_without_any_layer_there_is_nothing_to_report(tiny: Project) -> None:
    with pytest.raises(DataError, match="no test layer has run"):
        report_layers(tiny)
