"""Drift of present data from the champion's training data, with a real champion whose own code computes its scores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import fsspec
import pandas as pd
import pytest
from champions import make_first_champion
from release_project import make_rows

from sluice.data.holdout import read_holdout
from sluice.data.snapshots import Snapshot, digest_file
from sluice.drift.comparisons import DriftOutcome
from sluice.errors import ConfigurationError, DataError, StateError
from sluice.project.projects import Project, read_project
from sluice.steps.champions import score_release
from sluice.steps.drift import SCORE, compare_labels, compare_sources, measure_drift
from sluice.steps.records import RUN_FOLDER_VARIABLE
from sluice.steps.snapshots import pin, pin_reference

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from release_project import Trained

    from sluice.release.store.releases import Release


@pytest.fixture
def project(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project with a local state of its own, and without a champion."""
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SLUICE_ROOT", str(trained.project.root))
    return read_project(trained.project.root)


@pytest.fixture
def champion(project: Project, layer: Path) -> Project:
    """The project with a champion, whose training data is pinned."""
    make_first_champion(project, layer)
    return project


def write(rows: pd.DataFrame, path: Path) -> str:
    if path.suffix == ".csv":
        rows.to_csv(path, index=False)
    else:
        rows.to_parquet(path)
    return str(path)


@pytest.mark.parametrize("name", ["now.parquet", "now.csv"])
def test_without_a_reference_unlabelled_data_is_compared_with_the_training_data(
    champion: Project, tmp_path: Path, name: str
) -> None:
    unlabelled = make_rows(600, 7).drop(columns="late")
    result = compare_sources(champion, current=write(unlabelled, tmp_path / name))
    assert result.outcome is DriftOutcome.STEADY
    assert list(result.features) == ["weight", "zone", "express", "items", "shipped_at"]
    assert (set(result.left_out), set(result.in_part)) == ({"late", "key"}, {"shipped_at"})
    assert (result.reference_rows, result.rows) == (600, 600)
    heavier = unlabelled.assign(weight=unlabelled["weight"] + 0.8 * unlabelled["weight"].std())
    assert compare_sources(champion, current=write(heavier, tmp_path / name)).drifted == ["weight"]


def test_the_training_data_is_found_even_if_the_snapshot_has_changed(
    champion: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_DATA__SNAPSHOT", write(make_rows(600, 9), tmp_path / "newest.parquet"))
    result = compare_sources(read_project(champion.root))
    assert result.outcome is DriftOutcome.STEADY


def test_the_same_file_is_never_compared_with_itself(champion: Project, tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"is the same file as the reference \(the training data of release 1\)"):
        compare_sources(champion)
    copy = tmp_path / "copy.parquet"
    copy.write_bytes((champion.root / "parcels.parquet").read_bytes())
    with pytest.raises(StateError, match="so a comparison would say nothing"):
        compare_sources(champion, current=str(copy))
    with pytest.raises(StateError, match="so a comparison would say nothing"):
        compare_sources(champion, reference=str(copy), current=str(copy))


def test_without_a_champion_a_reference_must_be_named(project: Project, tmp_path: Path) -> None:
    now = write(make_rows(600, 7), tmp_path / "now.parquet")
    with pytest.raises(StateError, match="there is no champion") as caught:
        compare_sources(project, current=now)
    assert "--reference" in caught.value.hint
    assert compare_sources(project, reference="parcels.parquet", current=now).outcome is DriftOutcome.STEADY


def test_lost_training_data_is_an_error_that_says_what_to_do(
    champion: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (champion.state / "snapshots").iterdir():
        file.unlink()
    now = write(make_rows(600, 7), tmp_path / "now.parquet")
    assert compare_sources(champion, current=now).outcome is DriftOutcome.STEADY  # data.snapshot still has the same bytes
    monkeypatch.setenv("SLUICE_DATA__SNAPSHOT", now)
    with pytest.raises(DataError, match=r"the training data of release 1 \(sha256:.*\) is not in ") as caught:
        compare_sources(read_project(champion.root), current=write(make_rows(600, 8), tmp_path / "other.parquet"))
    assert "--reference" in caught.value.hint
    with pytest.raises(DataError, match="there is no file"):
        compare_sources(champion, reference="absent.parquet")


def test_a_url_is_read_and_a_file_of_another_format_is_read_with_the_loader(champion: Project, tmp_path: Path) -> None:
    written = write(make_rows(600, 7), tmp_path / "now.parquet")
    (tmp_path / "now.warehouse").write_bytes((tmp_path / "now.parquet").read_bytes())
    with fsspec.open("memory://drift/now.parquet", "wb") as file:
        file.write((tmp_path / "now.parquet").read_bytes())
    expected = compare_sources(champion, current=written)
    for location in ("memory://drift/now.parquet", str(tmp_path / "now.warehouse")):
        assert compare_sources(champion, current=location).features == expected.features


def test_columns_that_the_champion_does_not_use_are_left_out_unless_a_reference_is_named(
    champion: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = write(make_rows(600, 7).assign(batch=2), tmp_path / "now.parquet")
    with_more = tmp_path / "more.parquet"
    write(make_rows(600, 1).assign(batch=1), with_more)
    assert compare_sources(champion, str(with_more), now).drifted == ["batch"]
    monkeypatch.setattr(
        "sluice.steps.drift.find_reference", lambda _: Snapshot(with_more, "", "training data with a further column")
    )
    result = compare_sources(champion, current=now)
    assert (result.outcome, result.left_out["batch"]) == (DriftOutcome.STEADY, "the champion does not use it")
    # If the file lacks a feature, because the loader makes it, all columns of the file are compared.
    write(make_rows(600, 1).assign(batch=1).rename(columns={"items": "pieces"}), with_more)
    renamed = write(make_rows(600, 7).assign(batch=2).rename(columns={"items": "pieces"}), tmp_path / "renamed.parquet")
    assert compare_sources(champion, current=renamed).drifted == ["batch"]


def test_columns_may_be_left_out(champion: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_DRIFT__LEAVE_OUT", '["weight"]')
    rows = make_rows(600, 7).assign(weight=1e6)
    result = compare_sources(read_project(champion.root), current=write(rows, tmp_path / "now.parquet"))
    assert (result.outcome, result.left_out["weight"]) == (DriftOutcome.STEADY, "named in drift.leave_out")


def test_a_function_of_the_project_may_read_the_data(champion: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reading_drift.py").write_text(
        "import pandas as pd\n"
        "def whole(path): return pd.read_parquet(path)[['weight']] * 1000\n"
        "def parts(path):\n"
        "    rows = whole(path)\n"
        "    yield rows[:100]\n"
        "    yield rows[100:]\n"
        "def wrong(path): return [1]\n"
        "def broken(path): raise ValueError('no such format')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    now = write(make_rows(600, 7), tmp_path / "now.parquet")
    for function in ("whole", "parts"):
        monkeypatch.setenv("SLUICE_DRIFT__LOAD", f"reading_drift:{function}")
        result = compare_sources(read_project(champion.root), current=now)
        assert (list(result.features), result.rows, result.outcome) == (["weight"], 600, DriftOutcome.STEADY)
    monkeypatch.setenv("SLUICE_DRIFT__LOAD", "reading_drift:wrong")
    with pytest.raises(ConfigurationError, match="returned a int instead of a pandas DataFrame"):
        compare_sources(read_project(champion.root), current=now)
    monkeypatch.setenv("SLUICE_DRIFT__LOAD", "reading_drift:broken")
    with pytest.raises(DataError, match="no such format"):
        compare_sources(read_project(champion.root), current=now)


@pytest.mark.parametrize(("name", "drifted"), [("now.parquet", []), ("now.csv", ["express", SCORE])])
def test_the_champions_scores_are_compared_with_those_of_the_test_rows(
    champion: Project, tmp_path: Path, name: str, drifted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_DRIFT__LEAST_ROWS", "300")
    rows = make_rows(600, 7).drop(columns="late")
    now = write(rows.assign(express=True) if drifted else rows, tmp_path / name)
    result = compare_sources(read_project(champion.root), current=now, scores=True)
    assert set(result.drifted) == set(drifted)
    assert result.outcome is (DriftOutcome.DRIFTED if drifted else DriftOutcome.STEADY)
    assert result.features[SCORE].estimate.rows == 600


def test_scores_need_the_columns_of_the_model(champion: Project, tmp_path: Path) -> None:
    rows = make_rows(600, 7)
    with pytest.raises(DataError, match="has no column 'items', which the champion needs"):
        compare_sources(champion, current=write(rows.drop(columns="items"), tmp_path / "a.parquet"), scores=True)
    with pytest.raises(DataError, match="the champion cannot use these rows: column 'items' must contain a number"):
        compare_sources(champion, current=write(rows.assign(items="many"), tmp_path / "b.parquet"), scores=True)


# Labels


@pytest.mark.slow
def test_a_champion_whose_labels_changed_their_meaning_has_drifted(champion: Project, tmp_path: Path) -> None:
    rows = make_rows(900, 7)
    change = compare_labels(champion, write(rows.assign(late=1 - rows["late"]), tmp_path / "recent.parquet"))
    assert change.outcome is DriftOutcome.DRIFTED
    assert change.now is not None
    assert change.now.auc == pytest.approx(1 - change.before.auc, abs=0.1)


def test_an_auc_that_has_not_fallen_by_more_than_is_tolerated_is_steady(
    champion: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_DRIFT__AUC_DROP", "0.2")
    change = compare_labels(read_project(champion.root), write(make_rows(900, 7), tmp_path / "recent.parquet"))
    assert change.outcome is DriftOutcome.STEADY


def test_rows_that_the_champion_knows_say_nothing(champion: Project, project: Project, tmp_path: Path) -> None:
    with pytest.raises(
        StateError, match=r"parcels.parquet has 600 rows, and 600 are in the champion's training data, so its AUC"
    ):
        compare_labels(champion, "parcels.parquet")
    with pytest.raises(StateError, match=r"holdout.parquet has [0-9,]+ rows, and [0-9,]+ are in the holdout, so its AUC"):
        compare_labels(champion, "holdout.parquet")


@pytest.mark.slow
def test_rows_of_the_training_data_and_of_the_holdout_are_not_scored_as_recent_rows(
    champion: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, holdout = (pd.read_parquet(champion.root / f"{file}.parquet") for file in ("parcels", "holdout"))
    new = make_rows(300, 7)
    scored: list[pd.DataFrame] = []

    def score(project: Project, release: Release, *features: pd.DataFrame) -> list[npt.NDArray[np.float64]]:
        scored.extend(features)
        return score_release(project, release, *features)

    monkeypatch.setattr("sluice.steps.drift.score_release", score)
    alone = compare_labels(champion, write(new, tmp_path / "alone.parquet"))
    mixed = compare_labels(champion, write(pd.concat([training, new, holdout]), tmp_path / "mixed.parquet"))
    assert alone.left_out == {}
    assert mixed.left_out == {"the champion's training data": 600, "the holdout": len(holdout)}
    assert f"; left out: 600 rows that are in the champion's training data and {len(holdout):,} rows that are in" in mixed.detail
    assert (mixed.now, mixed.outcome) == (alone.now, alone.outcome)
    test_rows = len(read_holdout(champion, part="test"))
    assert [len(features) for features in scored] == [300, test_rows] * 2


def test_too_few_new_rows_among_known_ones_are_inconclusive(champion: Project, tmp_path: Path) -> None:
    rows = pd.concat([pd.read_parquet(champion.root / "parcels.parquet"), make_rows(12, 7)])
    change = compare_labels(champion, write(rows, tmp_path / "recent.parquet"))
    assert change.outcome is DriftOutcome.INCONCLUSIVE
    assert change.detail.startswith("too few recent rows")
    assert change.detail.endswith("left out: 600 rows that are in the champion's training data")


def test_without_the_training_data_an_auc_is_never_steady(
    champion: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent = write(make_rows(900, 7), tmp_path / "recent.parquet")
    monkeypatch.setenv("SLUICE_DRIFT__AUC_DROP", "0.2")
    monkeypatch.setenv("SLUICE_DATA__SNAPSHOT", recent)
    for file in (champion.state / "snapshots").iterdir():
        file.unlink()
    change = compare_labels(read_project(champion.root), recent)
    assert change.outcome is DriftOutcome.INCONCLUSIVE
    assert "its rows could not be left out" in change.detail
    assert "data.snapshot" in change.hint


# The pipeline's steps


def test_the_reference_of_the_pipeline_is_the_training_data_by_default(champion: Project, tmp_path: Path) -> None:
    metadata = pin_reference("", tmp_path / "a" / "snapshot")
    assert metadata["digest"] == digest_file(champion.root / "parcels.parquet")
    assert metadata["suffix"] == ".parquet"
    assert metadata["features"] == ["weight", "zone", "express", "items", "shipped_at"]
    named = pin_reference(write(make_rows(600, 7), tmp_path / "named.parquet"), tmp_path / "b" / "snapshot")
    assert named["features"] == []
    assert named["digest"] == digest_file(tmp_path / "named.parquet")


def test_the_step_decides_nothing_about_a_snapshot_and_itself(
    champion: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del champion
    (tmp_path / "run").mkdir()
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path / "run"))
    before = str(tmp_path / "before"), pin_reference("", tmp_path / "before")
    same = str(tmp_path / "same"), pin("", tmp_path / "same")
    result = measure_drift(before, same, str(tmp_path / "report.json"))
    assert result.outcome is DriftOutcome.INCONCLUSIVE
    assert "is the reference itself" in result.detail
    other = str(tmp_path / "now"), pin(write(make_rows(600, 7).assign(weight=50.0), tmp_path / "n.parquet"), tmp_path / "now")
    assert measure_drift(before, other, str(tmp_path / "report.json")).drifted == ["weight"]
    assert json.loads((tmp_path / "report.json").read_text())["outcome"] == "drifted"
    assert json.loads((tmp_path / "run" / "parts" / "drift.json").read_text())["drifted"] == ["weight"]
