"""`sluice drift` as a user meets it: the outcome, the exit code and the hints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from commands import MINIMAL, sluice

if TYPE_CHECKING:
    from pathlib import Path


def make_rows(seed: int, rows: int = 2_000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"spend": rng.normal(100, 20, rows), "contract": rng.choice(["monthly", "annual"], rows)})


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "sluice.toml").write_text(MINIMAL)
    training = make_rows(1)
    training.assign(id=range(2_000), y=0).to_csv(tmp_path / "training.csv", index=False)
    now = make_rows(2)
    now.to_csv(tmp_path / "same.csv", index=False)
    now.head(100).to_csv(tmp_path / "few.csv", index=False)
    now.assign(spend=now["spend"] + 16, contract=now["contract"].str.upper()).to_csv(tmp_path / "moved.csv", index=False)
    now.assign(spend="much").to_csv(tmp_path / "text.csv", index=False)
    return tmp_path


@pytest.mark.parametrize(
    ("current", "outcome", "code", "texts"),
    [
        ("same", "steady", 0, ["none of 2 features has drifted", "left out: the label"]),
        ("few", "inconclusive", 4, ["the present data has 100, and 500 are needed"]),
        ("moved", "drifted", 4, ["drifted: contract (PSI ", "spend (PSI 0.", "'ANNUAL' (", "is 'annual' in another spelling"]),
        ("text", "inconclusive", 4, ["not compared: spend (it holds text, and the reference holds numbers)", "drift.leave_out"]),
    ],
)
def test_only_a_steady_result_has_the_exit_code_0(small: Path, current: str, outcome: str, code: int, texts: list[str]) -> None:
    arguments = ("drift", "--reference", "training.csv", "--current", f"{current}.csv")
    done = sluice(*arguments, cwd=small, COLUMNS="200")
    assert done.returncode == code, done.stderr
    assert f"{outcome}:" in done.stdout
    for text in texts:
        assert text in done.stdout
    as_json = sluice(*arguments, "--output", "json", cwd=small)
    assert as_json.returncode == code
    document = json.loads(as_json.stdout)
    assert (document["outcome"], document["data"]["outcome"]) == (outcome, outcome)


def test_the_same_file_and_a_missing_champion_are_errors_with_a_hint(small: Path) -> None:
    same = sluice("drift", "--reference", "same.csv", "--current", "same.csv", cwd=small)
    assert same.returncode == 2
    assert "is the same file as the reference" in same.stderr
    alone = sluice("drift", "--current", "same.csv", cwd=small)
    assert alone.returncode == 2
    assert "there is no champion" in alone.stderr
    assert "--reference" in alone.stderr
    mixed = sluice("drift", "--labels", "same.csv", "--scores", cwd=small)
    assert mixed.returncode == 2
    assert "--labels compares only the AUC" in mixed.stderr
