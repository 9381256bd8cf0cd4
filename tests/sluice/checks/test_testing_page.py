"""docs/testing.md shows every judgement, and its examples run as they stand against the example's model."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import pytest

from churn.data import load_churn_data
from churn.model import build_model
from churn.simulation import make_export, write_export
from sluice.checks import judgements
from sluice.checks.layers import LayerInputs, run_layer
from sluice.project.projects import read_project
from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from sluice.project.projects import Project

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")


def examples(language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_judgement_has_an_example() -> None:
    names = {name for name in judgements.__all__ if name.startswith("judge_")} | {"Example", "predict_probability"}
    shown = "\n".join(examples())
    assert {name for name in names if name not in shown} == set()


def test_each_model_test_is_one_call_of_verify() -> None:
    for example in examples():
        if "verify" in example:
            assert example.count("verify(") == 1, example


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example's project with a small holdout, a model, and the examples of the page as its suite."""
    root = tmp_path_factory.mktemp("example")
    shutil.copytree(ROOT / "churn", root / "churn", ignore=shutil.ignore_patterns("__pycache__"))
    toml = re.sub(r"holdout_digest = .*\n", "", (ROOT / "sluice.toml").read_text(encoding="utf-8"))
    (root / "sluice.toml").write_text(toml + next(iter(examples("toml"))), encoding="utf-8")
    for name, rows, seed in (("customers", 6000, 1), ("holdout", 4000, 2)):
        write_export(make_export(rows, seed), root / "data" / f"{name}.parquet")
    (root / "tests" / "model").mkdir(parents=True)
    for place, source in enumerate(source for source in examples() if "verify" in source and "snapshot" not in source):
        (root / "tests" / "model" / f"test_example_{place}.py").write_text(source, encoding="utf-8")
    return read_project(root)


def test_the_examples_of_the_model_layer_run(example: Project, tmp_path: Path) -> None:
    rows = load_churn_data(example.root / "data" / "customers.parquet")
    model = build_model().fit(rows.drop(columns=["customer_id", "churned"]), rows["churned"])
    joblib.dump(model, tmp_path / "model.joblib")
    result = run_layer(example, "model", LayerInputs(model=tmp_path / "model.joblib"), tmp_path / "results")
    assert {verdict.check: verdict.outcome for verdict in result.verdicts} == dict.fromkeys(
        (
            *("auc", "auc_enterprise", "channel", "price", "calibration_mean", "calibration_slope", "coverage"),
            *("known_customers", "stability", "low_risk"),
        ),
        Outcome.PASS,
    ), [failure.message for failure in result.failures]
