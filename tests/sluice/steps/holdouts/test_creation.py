"""A new holdout has fresh rows only, in the label's share, and the file does not change a value."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from release_project import make_rows
from typer.testing import CliRunner

from sluice.cli import app
from sluice.data.holdout import split_holdout
from sluice.data.labelled_rows import read_labelled_rows
from sluice.data.snapshots import digest_file
from sluice.errors import DataError
from sluice.steps.holdouts.creation import choose_rows, create_holdout, plan_new_holdout

if TYPE_CHECKING:
    from sluice.project.projects import Project


def test_rows_of_the_present_data_are_left_out(project: Project, champion: str, fresh: pd.DataFrame) -> None:
    """The champion was trained on the present training data, so these are named once."""
    assert champion
    plan = plan_new_holdout(project, "fresh.parquet")
    assert plan.left_out == {"the present training data": 20, "the present holdout": 30}
    assert int(plan.chosen.sum()) == 700
    assert int(plan.rest.sum()) == 800
    assert not (plan.chosen & plan.rest).any()
    made = create_holdout(project, plan)
    assert made.created
    assert made.digest == digest_file(made.file)
    assert made.file.name == f"holdout-{made.digest[7:19]}.parquet"
    rows = pd.read_parquet(made.file)
    assert set(rows["key"]) <= set(make_rows(1500, 3)["key"])
    assert abs(rows["late"].mean() - fresh["late"].mean()) < 0.02
    assert not create_holdout(project, plan_new_holdout(project, "fresh.parquet")).created


def test_rows_of_the_champions_training_data_are_left_out_by_id_and_by_content(project: Project, champion: str) -> None:
    """The present training data changed, but the champion still knows its own rows, also under new ids."""
    assert champion
    known = pd.read_parquet(project.path("parcels.parquet"))
    make_rows(650, 4).to_parquet(project.path("parcels.parquet"))
    copies = known.iloc[100:200].assign(key=lambda rows: rows["key"] + 10**9)
    pd.concat([make_rows(1500, 3), known.head(40), copies]).to_parquet(project.path("fresh.parquet"), index=False)
    plan = plan_new_holdout(project, "fresh.parquet")
    assert plan.left_out == {"the present training data": 0, "the champion's training data": 140, "the present holdout": 0}


def test_without_the_champions_training_data_there_is_no_new_holdout(
    project: Project, champion: str, fresh: pd.DataFrame
) -> None:
    assert champion
    assert len(fresh)
    make_rows(650, 4).to_parquet(project.path("parcels.parquet"))
    shutil.rmtree(project.state / "snapshots")
    with pytest.raises(DataError, match=r"the training data of the champion .* are not in"):
        plan_new_holdout(project, "fresh.parquet")


def test_too_few_fresh_rows_are_an_error_with_the_numbers(project: Project) -> None:
    shutil.copy(project.path("holdout.parquet"), project.path("fresh.parquet"))
    with pytest.raises(DataError, match=r"0 rows that a new holdout may contain, .* 700 are in the present holdout"):
        plan_new_holdout(project, "fresh.parquet")


def test_a_class_with_too_few_rows_is_an_error(project: Project) -> None:
    rows = make_rows(1500, 3)
    pd.concat([rows[rows["late"] == 0], rows[rows["late"] == 1].head(12)]).to_parquet(project.path("fresh.parquet"))
    with pytest.raises(DataError, match=r"gate row.* with late = 1"):
        plan_new_holdout(project, "fresh.parquet")


def test_the_choice_depends_on_the_ids_only_and_not_on_the_split(project: Project) -> None:
    make_rows(4000, 3).to_parquet(project.path("fresh.parquet"))
    rows = read_labelled_rows(project, project.path("fresh.parquet"))
    usable = np.ones(len(rows), dtype=bool)
    chosen = choose_rows(rows, usable, 2000)
    order = np.random.default_rng(1).permutation(len(rows))
    assert np.array_equal(choose_rows(rows.take(order), usable, 2000), chosen[order])
    is_gate = split_holdout(rows.ids, gate_fraction=0.5)
    assert abs(is_gate[chosen].mean() - 0.5) < 0.05
    assert abs(rows.labels[chosen].mean() - rows.labels.mean()) < 0.001


def test_a_csv_file_keeps_every_text(project: Project) -> None:
    loader = project.root / "loading_texts.py"
    loader.write_text(
        "import pandas as pd\n\ndef load(path):\n"
        "    rows = pd.read_csv(path, dtype={'key': str})\n    return rows.assign(note=rows['note'].fillna(''))\n"
    )
    settings = project.root / "sluice.toml"
    text = settings.read_text().replace("parcels.model:load", "loading_texts:load").replace(".parquet", ".csv")
    settings.write_text(text)
    generator = np.random.default_rng(1)
    for name, first, rows in (("parcels", 0, 400), ("holdout", 1000, 400), ("fresh", 2000, 900)):
        lines = (
            f'{place:07d},{generator.random():.9f},"a, ""b""\nNA",{generator.integers(0, 2)}'
            for place in range(first, first + rows)
        )
        project.path(f"{name}.csv").write_text("key,weight,note,late\n" + "\n".join(lines) + "\n")
    result = CliRunner().invoke(
        app, ["holdout", "new", "fresh.csv", "--rows", "300", "--rest", str(project.path("rest.csv")), "--output", "json"]
    )
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["data"]
    record = re.compile(r'\d{7},0\.\d{9},"a, ""b""\nNA",[01]\n')
    source, *parts = (project.path(name).read_text() for name in ("fresh.csv", data["file"], "rest.csv"))
    assert [part.partition("\n")[0] for part in parts] == ["key,weight,note,late"] * 2
    assert sorted(record.findall("".join(parts))) == sorted(record.findall(source))
    assert [len(record.findall(part)) for part in parts] == [300, 600]


def test_a_dry_run_writes_nothing(project: Project, fresh: pd.DataFrame) -> None:
    assert len(fresh)
    before = sorted(project.root.iterdir())
    result = CliRunner().invoke(app, ["holdout", "new", "fresh.parquet", "--dry-run", "--output", "json"])
    assert json.loads(result.stdout)["outcome"] == "would-create"
    assert [path for path in sorted(project.root.iterdir()) if path.name != ".sluice"] == [
        path for path in before if path.name != ".sluice"
    ]


def test_a_loader_that_uses_other_rows_is_found_out(project: Project, fresh: pd.DataFrame) -> None:
    assert len(fresh)
    (project.root / "loading_filled.py").write_text(
        "import pandas as pd\n\ndef load(path):\n    rows = pd.read_parquet(path)\n"
        "    return rows.assign(weight=rows['weight'].fillna(rows['weight'].mean()))\n"
    )
    settings = project.root / "sluice.toml"
    settings.write_text(settings.read_text().replace("parcels.model:load", "loading_filled:load"))
    result = CliRunner().invoke(app, ["holdout", "new", "fresh.parquet"])
    assert isinstance(result.exception, DataError)
    assert "the loader reads other rows from the new file" in str(result.exception)
    assert not list(project.root.glob("holdout-*"))


def test_the_other_rows_overwrite_no_file(project: Project, champion: str, fresh: pd.DataFrame) -> None:
    assert champion
    assert len(fresh)
    before = project.path("parcels.parquet").read_bytes()
    for options in ([], ["--dry-run"]):
        refused = CliRunner().invoke(
            app, ["holdout", "new", "fresh.parquet", "--rest", str(project.path("parcels.parquet")), *options]
        )
        assert isinstance(refused.exception, DataError)
        assert "exists already, and it is not overwritten" in refused.exception.message
    assert project.path("parcels.parquet").read_bytes() == before
    assert not list(project.root.glob("holdout-*"))
    command = ["holdout", "new", "fresh.parquet", "--rest", str(project.path("rest.parquet")), "--output", "json"]
    outcomes = [json.loads(CliRunner().invoke(app, command).stdout)["outcome"] for _ in range(2)]
    assert outcomes == ["created", "unchanged"]
    assert len(pd.read_parquet(project.path("rest.parquet"))) == 800
