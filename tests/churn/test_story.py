"""The story that `sluice demo` plays: its edits fit the sources, and its acts end as they say.

These tests are not in the four layers. There, a test knows only what the project's engineers know, and in the story none of them
knows about the mobile app.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import shutil
import subprocess
import sys
import textwrap
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from churn.data import FEATURES, LABEL, load_churn_data
from churn.faults import FAULTS
from churn.story import APP_SHARE, STORY, live_rows
from sluice.data.holdout import split_holdout
from sluice.statistics.auc import compare_auc, estimate_auc

if TYPE_CHECKING:
    import pandas as pd

    from churn.story import Act

Played = list[tuple[np.ndarray, list[int]]]
"""For each act: scores of the holdout, and the numbers of the live rows that failed."""

ROOT = Path(__file__).parents[2]
ALPHA, BUDGET, MARGIN = 0.05, 52, 0.005
"""The defaults of the gate."""

FIT = textwrap.dedent(
    """
    import json, sys
    import numpy as np, pandas as pd
    from churn.data import FEATURES, LABEL, load_churn_data
    from churn.model import build_model

    data, live, out = sys.argv[1:]
    snapshot, holdout = (load_churn_data(f"{data}/{name}.parquet") for name in ("customers", "holdout"))
    model = build_model().fit(snapshot[list(FEATURES)], snapshot[LABEL])
    failed = []
    for number, row in enumerate(json.load(open(live))):
        try:
            answer = model.predict_proba(pd.DataFrame([list(row.values())], columns=list(row), dtype=object))[0, 1]
        except ValueError as error:
            failed.append(number)
    np.save(f"{out}.npy", model.predict_proba(holdout[list(FEATURES)])[:, 1])
    json.dump(failed, open(f"{out}.json", "w"))
    """
)
"""Fit a model with the code of the folder, score the holdout, and predict production's rows one by one."""


def sources() -> dict[str, str]:
    paths = {edit.path for act in STORY.acts for edit in act.edits}
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in paths}


def apply(files: dict[str, str], act: Act) -> dict[str, str]:
    changed = dict(files)
    for edit in act.edits:
        assert changed[edit.path].count(edit.old) == 1, f"{act.name}: {edit.path} does not contain {edit.old!r} exactly once"
        changed[edit.path] = changed[edit.path].replace(edit.old, edit.new)
    return changed


def is_from_app(row: dict[str, Any]) -> bool:
    return any("T" in str(row[column]) for column in ("signup_date", "last_login_at"))


def test_each_edit_applies_once_and_gives_valid_python() -> None:
    files = sources()
    for act in STORY.acts:
        before, files = files, apply(files, act)
        assert (files != before) == bool(act.edits)
        for path, text in files.items():
            ast.parse(text, filename=path)
            assert not re.search(r"[ \t]+$", text, flags=re.MULTILINE)


def test_the_story_ends_with_the_sources_it_began_with() -> None:
    """The last commit of the story undoes the fault, so that the project's sources are the same as here."""
    files = sources()
    for act in STORY.acts:
        files = apply(files, act)
    assert files == sources()


def test_acts_are_complete() -> None:
    assert [act.expect for act in STORY.acts] == ["promoted", "promoted", "rolled_back", "failed", "restored"]
    for act in STORY.acts:
        assert act.title
        assert bool(act.message) == bool(act.edits)
        assert act.break_snapshot is None or act.break_snapshot in FAULTS


def test_live_rows_have_the_format_of_production() -> None:
    rows = list(itertools.islice(live_rows(3), 4_500))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert all(tuple(row) == FEATURES for row in rows)
    assert np.mean([is_from_app(row) for row in rows]) == pytest.approx(APP_SHARE, abs=0.02)
    for row in filter(is_from_app, rows):
        assert datetime.fromisoformat(str(row["signup_date"])).tzinfo is not None
    assert any(row["usage_hour"] is None for row in rows)
    assert all(row["usage_hour"] is None or isinstance(row["usage_hour"], int) for row in rows)


def test_live_rows_depend_only_on_the_seed() -> None:
    def take(seed: int) -> list[dict[str, object]]:
        return list(itertools.islice(live_rows(seed), 20))

    assert take(1) == take(1)
    assert take(1) != take(2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    STORY.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def played(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Scores of the holdout and failed live rows for the models of the first three acts, each made by its own code."""
    live = data / "live.json"
    live.write_text(json.dumps(list(itertools.islice(live_rows(1), 400))), encoding="utf-8")
    files, results = sources(), []
    for number, act in enumerate(STORY.acts[:3]):
        files = apply(files, act)
        folder = tmp_path_factory.mktemp(f"act-{number}")
        shutil.copytree(ROOT / "churn", folder / "churn", ignore=shutil.ignore_patterns("__pycache__"))
        for path, text in files.items():
            (folder / path).write_text(text, encoding="utf-8")
        subprocess.run([sys.executable, "-c", FIT, data, live, folder / "out"], cwd=folder, check=True)
        failed = json.loads((folder / "out.json").read_text(encoding="utf-8"))
        results.append((np.load(folder / "out.npy"), failed))
    return results


@pytest.fixture(scope="module")
def holdout(data: Path) -> tuple[pd.DataFrame, np.ndarray]:
    rows = load_churn_data(data / "holdout.parquet")
    return rows, split_holdout(rows["customer_id"], gate_fraction=0.5)


@pytest.mark.slow
def test_each_model_passes_the_model_layer(played: Played, holdout: tuple[pd.DataFrame, np.ndarray]) -> None:
    rows, is_gate = holdout
    enterprise = rows["is_enterprise"].to_numpy()
    for (scores, _), expected in zip(played, (0.808, 0.832, 0.845), strict=True):
        labels = rows[LABEL].to_numpy()
        overall = estimate_auc(labels[~is_gate], scores[~is_gate]).auc
        assert overall == pytest.approx(expected, abs=0.006)
        assert overall >= 0.80
        assert estimate_auc(labels[~is_gate & enterprise], scores[~is_gate & enterprise]).auc >= 0.74


@pytest.mark.slow
def test_each_model_beats_the_one_before_at_the_gate(played: Played, holdout: tuple[pd.DataFrame, np.ndarray]) -> None:
    rows, is_gate = holdout
    labels = rows[LABEL].to_numpy()[is_gate]
    for (champion, _), (challenger, _) in itertools.pairwise(played):
        found = compare_auc(labels, champion[is_gate], challenger[is_gate])
        assert found.difference > MARGIN + 0.004
        assert found.lower_bound(ALPHA / BUDGET) > 0


@pytest.mark.slow
def test_only_the_third_model_fails_and_only_on_the_apps_rows(played: Played) -> None:
    rows = list(itertools.islice(live_rows(1), 400))
    app = [number for number, row in enumerate(rows) if is_from_app(row)]
    assert [failed for _, failed in played] == [[], [], app]
    assert len(app) > 40


def test_break_data_writes_the_fault(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "broken_column.parquet"
    STORY.break_data("broken_column", target)
    good, broken = load_churn_data(data / "customers.parquet"), load_churn_data(target)
    assert broken["monthly_spend"].mean() == pytest.approx(100 * good["monthly_spend"].mean(), rel=1e-3)
    assert broken.drop(columns="monthly_spend").equals(good.drop(columns="monthly_spend"))


def test_no_test_layer_covers_the_app() -> None:
    """The four suites contain no timestamp with a time zone, because only production sends them."""
    with_zone = re.compile(r"\d\dT\d\d:\d\d")
    for layer in ("code", "data", "model", "integration"):
        for file in (ROOT / "tests" / layer).glob("*.py"):
            assert not with_zone.search(file.read_text(encoding="utf-8")), file


@pytest.mark.slow
def test_layer_1_passes_with_the_code_of_each_act(tmp_path: Path) -> None:
    """Layer 1 passes for every commit of the story."""
    files = sources()
    for number, act in enumerate(STORY.acts[:4]):
        files = apply(files, act)
        folder = tmp_path / str(number)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "churn", folder / "churn", ignore=ignore)
        shutil.copytree(ROOT / "tests" / "code", folder / "tests" / "code", ignore=ignore)
        for path, text in files.items():
            (folder / path).write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "tests/code", "-q", "-p", "no:cacheprovider", "--rootdir=.", "-c", "/dev/null"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{act.name}\n{done.stdout[-3000:]}"
