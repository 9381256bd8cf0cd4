"""Mistakes that people make by accident are found before a model is trained, with the reason and a hint."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from sluice.checks.suites.inputs import LATEST_MODEL
from sluice.data.snapshots import digest_file
from sluice.errors import ConfigurationError, DataError, IntegrityError, RefusedError
from sluice.project.projects import read_project
from sluice.run_warnings import RunWarning
from sluice.steps.records import RUN_FOLDER_VARIABLE, read_warnings
from sluice.steps.snapshots import pin
from sluice.steps.standalone.layers import train_now
from sluice.steps.training import verify_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETTINGS = """\
[project]
name = "shop"
packages = ["shop"]
[data]
snapshot = "train.parquet"
holdout = "holdout.parquet"
load = "shop.data:load"
label = "y"
id = "id"
[model]
build = "shop.model:build"
[serving]
lock = "lock.txt"
"""

LOGISTIC = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

def build():
    return make_pipeline(LogisticRegression())
"""

NUMBERS_ONLY = """
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

def build():
    return make_pipeline(ColumnTransformer([("numbers", "passthrough", ["a", "b"])]), LogisticRegression())
"""

WITH_FUNCTION = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
{imports}

def build():
    return make_pipeline(FunctionTransformer({function}), LogisticRegression())
"""


def make_rows(rows: int, seed: int, *, share: float = 0.5) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    columns = {"id": np.arange(rows) + seed * 100_000, "a": generator.normal(size=rows), "b": generator.normal(size=rows)}
    return pd.DataFrame(columns | {"y": (generator.random(rows) < share).astype(int)})


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "shop").mkdir(parents=True)
    (root / "sluice.toml").write_text(SETTINGS)
    (root / "lock.txt").write_text(f"numpy=={np.__version__}\n")
    (root / "shop" / "__init__.py").touch()
    (root / "shop" / "data.py").write_text("import pandas as pd\n\ndef load(path):\n    return pd.read_parquet(path)\n")
    (root / "shop" / "model.py").write_text(LOGISTIC)
    make_rows(1000, 1).to_parquet(root / "train.parquet", index=False)
    make_rows(800, 2).to_parquet(root / "holdout.parquet", index=False)
    monkeypatch.setenv("SLUICE_ROOT", str(root))
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    monkeypatch.syspath_prepend(root)
    for name in [name for name in sys.modules if name.partition(".")[0] in {"shop", "shared", "shelf"}]:
        monkeypatch.delitem(sys.modules, name)
    return root


def run(root: Path) -> dict[str, object]:
    """Run the first step and the training, as a pipeline does, and return the training's metadata."""
    pin("", root / "artifact")
    train_now(read_project(root))
    return dict(json.loads((root / ".sluice/models/training.json").read_text()))


def refuse(root: Path, kind: type[Exception]) -> str:
    """Return the message and the hint with which a run ends before a model exists."""
    with pytest.raises(kind) as caught:
        run(root)
    assert not (root / ".sluice" / LATEST_MODEL).exists()
    assert caught.value.hint  # type: ignore[attr-defined]
    return f"{caught.value} {caught.value.hint}"  # type: ignore[attr-defined]


def test_a_healthy_project_is_trained_without_a_warning(shop: Path) -> None:
    metadata = run(shop)
    assert metadata["warnings"] == []
    assert metadata["holdout_digest"] == digest_file(shop / "holdout.parquet")


def test_all_rows_in_the_training_data(shop: Path) -> None:
    """The project `leak`: somebody adds the holdout to the training data and takes the nearest neighbour."""
    both = pd.concat([pd.read_parquet(shop / name) for name in ("train.parquet", "holdout.parquet")])
    both.to_parquet(shop / "train.parquet", index=False)
    text = refuse(shop, RefusedError)
    assert "800 of 800 holdout rows are in the training data: 800 by id and 800 by features and label" in text
    assert "with the id 200000, 200001, 200002" in text
    assert "sluice holdout new" in text


def test_copies_of_the_holdout_with_new_ids(shop: Path) -> None:
    holdout = pd.read_parquet(shop / "holdout.parquet").assign(id=range(800))
    pd.concat([pd.read_parquet(shop / "train.parquet"), holdout]).to_parquet(shop / "train.parquet", index=False)
    assert "800 of 800 holdout rows are in the training data: 800 by features and label" in refuse(shop, RefusedError)


def test_ids_that_only_number_the_rows_of_each_file(shop: Path) -> None:
    for name in ("train.parquet", "holdout.parquet"):
        pd.read_parquet(shop / name).assign(id=lambda rows: range(len(rows))).to_parquet(shop / name, index=False)
    text = refuse(shop, RefusedError)
    assert "800 of 800 holdout rows are in the training data: 800 by id;" in text
    assert "If the ids only number the rows of each file, set data.id to a column that is unique over all files" in text


def test_equal_contents_can_be_allowed_and_equal_ids_cannot(shop: Path) -> None:
    train, holdout = (pd.read_parquet(shop / name) for name in ("train.parquet", "holdout.parquet"))
    (shop / "sluice.toml").write_text(SETTINGS.replace("[model]", 'equal_contents = "warn"\n[model]'))
    pd.concat([train, holdout.assign(id=range(800))]).to_parquet(shop / "train.parquet", index=False)
    warnings = run(shop)["warnings"]
    assert [RunWarning.from_dict(values).kind for values in warnings] == ["equal-contents"]  # type: ignore[attr-defined]
    pd.concat([train, holdout.head(1)]).to_parquet(shop / "train.parquet", index=False)
    with pytest.raises(RefusedError, match="1 of 800 holdout rows is in the training data: 1 by id"):
        run(shop)


def test_rows_that_were_recorded_twice_before_the_split_are_a_warning(shop: Path) -> None:
    rows = make_rows(1800, 1)
    rows = pd.concat([rows, rows.head(400).assign(id=lambda frame: frame["id"] + 50_000)]).sample(frac=1, random_state=1)
    rows.head(1300).to_parquet(shop / "train.parquet", index=False)
    rows.tail(900).to_parquet(shop / "holdout.parquet", index=False)
    assert [warning["kind"] for warning in run(shop)["warnings"]] == ["repeated-rows"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("copied", [1, 5])
def test_a_few_copies_with_new_ids_are_a_warning_that_names_them(shop: Path, copied: int) -> None:
    train, holdout = (pd.read_parquet(shop / name) for name in ("train.parquet", "holdout.parquet"))
    pd.concat([train, holdout.head(copied).assign(id=range(copied))]).to_parquet(shop / "train.parquet", index=False)
    (warning,) = run(shop)["warnings"]  # type: ignore[misc]
    assert warning["kind"] == "repeated-rows"
    assert f"{copied} of 800 holdout rows ha" in warning["text"]
    assert "with the id 200000" in warning["text"]


@pytest.mark.parametrize("how", ["path", "other spelling", "link", "copy"])
def test_a_holdout_that_is_the_training_file_is_refused_when_the_settings_are_read(shop: Path, how: str) -> None:
    (shop / "holdout.parquet").unlink()
    if how == "link":
        (shop / "holdout.parquet").hardlink_to(shop / "train.parquet")
    elif how == "copy":
        (shop / "holdout.parquet").write_bytes((shop / "train.parquet").read_bytes())
    else:
        name = "train.parquet" if how == "path" else "shop/../train.parquet"
        (shop / "sluice.toml").write_text(SETTINGS.replace("holdout.parquet", name))
    with pytest.raises(ConfigurationError, match=r"data.snapshot 'train.parquet' and data.holdout '.*' (are|have)") as caught:
        read_project(shop)
    assert caught.value.exit_code == 2


def test_one_url_for_both_is_refused(shop: Path) -> None:
    text = SETTINGS.replace("holdout.parquet", "s3://b/x.parquet").replace("train.parquet", "s3://b/x.parquet")
    (shop / "sluice.toml").write_text(text)
    with pytest.raises(ConfigurationError, match="are the same"):
        read_project(shop)


def test_a_missing_holdout(shop: Path) -> None:
    (shop / "holdout.parquet").unlink()
    assert "the holdout cannot be used: there is no file" in refuse(shop, DataError)


def test_a_holdout_with_one_class(shop: Path) -> None:
    rows = make_rows(800, 2)
    rows[rows["y"] == 0].to_parquet(shop / "holdout.parquet", index=False)
    text = refuse(shop, DataError)
    assert "has 0 test rows with y = 1, but at least 1 is needed" in text
    assert "Make a holdout that contains both labels" in text


def test_a_holdout_with_too_few_gate_rows_of_a_class(shop: Path) -> None:
    """The project `tiny`: the gate could never decide with these rows."""
    make_rows(300, 2, share=0.02).to_parquet(shop / "holdout.parquet", index=False)
    text = refuse(shop, DataError)
    assert "gate rows with y = 1, but at least" in text
    assert "rows are enough" in text


@pytest.mark.parametrize("share", [0.02, 0.0])
def test_a_holdout_that_the_gate_cannot_use_is_refused_by_the_first_step(shop: Path, share: float) -> None:
    """No data or code test runs before, because the training would refuse for the same reason."""
    make_rows(300, 2, share=share).to_parquet(shop / "holdout.parquet", index=False)
    with pytest.raises(DataError, match=r"(test|gate) rows? with y = 1, but at least"):
        pin("", shop / "artifact")
    assert not (shop / "artifact").exists()


def test_a_package_that_does_not_exist(shop: Path) -> None:
    (shop / "sluice.toml").write_text(SETTINGS.replace('["shop"]', '["shop", "shared"]'))
    assert "project.packages names 'shared', which is not a folder" in refuse(shop, ConfigurationError)


def test_a_missing_lock(shop: Path) -> None:
    (shop / "lock.txt").unlink()
    assert "serving.lock names 'lock.txt'" in refuse(shop, ConfigurationError)


@pytest.mark.parametrize("function", ["lambda rows: rows", "open(__file__).read"])
def test_a_model_that_cannot_be_stored(shop: Path, function: str) -> None:
    (shop / "shop" / "model.py").write_text(WITH_FUNCTION.format(imports="", function=function))
    text = refuse(shop, ConfigurationError)
    assert "the model that model.build shop.model:build returns cannot be stored" in text
    assert "Replace each lambda" in text


def test_a_model_that_uses_code_outside_the_packages(shop: Path) -> None:
    (shop / "shared").mkdir()
    (shop / "shared" / "__init__.py").touch()
    (shop / "shared" / "steps.py").write_text("def keep(rows):\n    return rows\n")
    model = WITH_FUNCTION.format(imports="from shared.steps import keep", function="keep")
    (shop / "shop" / "model.py").write_text(model)
    assert "the model uses code in shared/steps.py, which project.packages does not contain" in refuse(shop, ConfigurationError)
    (shop / "sluice.toml").write_text(SETTINGS.replace('["shop"]', '["shop", "shared"]'))
    assert run(shop)["rows"] == 1000


def test_a_parameter_that_is_named_like_a_module_is_no_code(shop: Path) -> None:
    (shop / "shelf").mkdir()
    (shop / "shelf" / "__init__.py").touch()
    importlib.invalidate_caches()
    assert str(importlib.import_module("shelf").__file__).startswith(str(shop))
    for name in ("train.parquet", "holdout.parquet"):
        pd.read_parquet(shop / name).rename(columns={"a": "shelf"}).to_parquet(shop / name, index=False)
    (shop / "shop" / "model.py").write_text(NUMBERS_ONLY.replace('"a"', '"shelf"'))
    assert run(shop)["rows"] == 1000


def test_a_feature_that_a_release_cannot_contain(shop: Path) -> None:
    for name in ("train.parquet", "holdout.parquet"):
        rows = pd.read_parquet(shop / name)
        rows.assign(parts=[[1, 2]] * len(rows)).to_parquet(shop / name, index=False)
    assert "parts" in refuse(shop, DataError)


def test_a_model_from_a_cache_is_refused_after_the_holdout_has_changed(shop: Path) -> None:
    metadata = run(shop)
    model = (shop / ".sluice" / LATEST_MODEL).resolve()
    assert verify_model(model, metadata) == model
    make_rows(900, 3).to_parquet(shop / "holdout.parquet", index=False)
    (shop / ".sluice" / "holdout.json").unlink()
    with pytest.raises(IntegrityError, match="were compared with the holdout"):
        verify_model(model, metadata)


@pytest.fixture
def leaking(shop: Path) -> Callable[[float], None]:
    """Return a function that adds a column with the outcome, wrong in some share of the rows."""

    def add(share: float) -> None:
        for seed, name in enumerate(("train.parquet", "holdout.parquet")):
            rows = pd.read_parquet(shop / name)
            wrong = np.random.default_rng(seed).random(len(rows)) < share
            rows["refund"] = np.where(rows["y"].to_numpy() ^ wrong, "paid back", None)
            rows.to_parquet(shop / name, index=False)
        (shop / "shop" / "model.py").write_text(NUMBERS_ONLY)

    return add


def test_a_feature_that_contains_the_outcome_is_a_warning_in_the_run(
    shop: Path,
    leaking: Callable[[float], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leaking(0.002)
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path))
    warnings = run(shop)["warnings"]
    assert warnings == read_warnings(tmp_path)
    assert [warning["kind"] for warning in warnings] == ["leaking-feature"]  # type: ignore[attr-defined]
    assert "the feature 'refund' alone separates the classes almost perfectly: its AUC is 0.99" in capsys.readouterr().err


def test_a_strong_feature_gives_no_warning(shop: Path, leaking: Callable[[float], None]) -> None:
    leaking(0.05)
    assert run(shop)["warnings"] == []
