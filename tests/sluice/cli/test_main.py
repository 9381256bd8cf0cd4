"""The command line as a user meets it: exit codes, one message and one hint, JSON and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MINIMAL = """
[project]
name = "small"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "loading:load"
label = "y"
id = "id"
[model]
build = "loading:build"
"""


def sluice(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
    return subprocess.run(
        [sys.executable, "-m", "sluice", *arguments],
        cwd=cwd,
        env=clean | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "sluice.toml").write_text(MINIMAL)
    return tmp_path


def test_help_lists_every_verb(tmp_path: Path) -> None:
    done = sluice("--help", cwd=tmp_path)
    assert done.returncode == 0
    for verb in ("test", "run", "serve", "compile", "report", "demo", "schema", "release", "rollout"):
        assert re.search(rf"\b{verb}\b", done.stdout)


def test_outside_a_project_one_message_and_one_hint(tmp_path: Path) -> None:
    done = sluice("run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: no sluice.toml in ")
    assert "\nnext: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_error_as_json_is_one_envelope(tmp_path: Path) -> None:
    done = sluice("run", "--output", "json", cwd=tmp_path)
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert document["schema"] == "sluice/v1"
    assert document["outcome"] == "error"
    assert document["error"]["exit_code"] == 2
    assert document["error"]["hint"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("change", "key", "word"),
    [
        (("[data]", "[data]\nlable = 'y'"), "data.lable", "there is no such key"),
        (('label = "y"\n', ""), "data.label", "this key is required"),
        (('build = "loading:build"', 'build = "loading"'), "model.build", "match"),
        (("[model]", "[gate]\nmargin = 7\n[model]"), "gate.margin", "less than 1"),
        (("[model]", "[rollout]\nsteps = [25, 5]\n[model]"), "rollout.steps", "end at 100"),
        (("[data]", "[dta]\nx = 1\n[data]"), "dta", "there is no such key"),
    ],
)
def test_a_wrong_key_is_named(small: Path, change: tuple[str, str], key: str, word: str) -> None:
    file = small / "sluice.toml"
    file.write_text(file.read_text().replace(*change))
    done = sluice("test", "code", cwd=small)
    assert done.returncode == 2
    assert f"{key}: " in done.stderr
    assert word in done.stderr


def test_broken_toml_says_where(small: Path) -> None:
    (small / "sluice.toml").write_text("[project\nname = 1")
    done = sluice("release", "list", cwd=small)
    assert done.returncode == 2
    assert "line 1" in done.stderr


def test_environment_variables_win_and_are_checked_too(small: Path) -> None:
    done = sluice("release", "list", cwd=small, SLUICE_GATE__MARGIN="many")
    assert done.returncode == 2
    assert "gate.margin: " in done.stderr


@pytest.mark.parametrize("arguments", [["fly"], ["run", "--sideways"], ["test", "soul"], ["rollout", "approve"]])
def test_a_command_that_does_not_exist_is_usage(small: Path, arguments: list[str]) -> None:
    done = sluice(*arguments, cwd=small)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_an_unknown_pipeline_is_named_with_those_that_are_known(small: Path) -> None:
    done = sluice("run", "nightly", cwd=small)
    assert done.returncode == 2
    assert "no pipeline 'nightly'" in done.stderr


def test_schema_prints_every_key_and_is_json_schema(small: Path) -> None:
    table = sluice("schema", cwd=small)
    assert table.returncode == 0
    for key in ("data.holdout_digest", "gate.budget", "rollout.steps", "serving.port"):
        assert key in table.stdout
    document = json.loads(sluice("schema", "--output", "json", cwd=small).stdout)
    assert document["data"]["properties"]["project"]


def test_an_empty_store_lists_nothing_and_says_how_to_begin(small: Path) -> None:
    done = sluice("release", "list", cwd=small)
    assert done.returncode == 0
    assert "sluice run" in done.stdout
    assert json.loads(sluice("release", "list", "--output", "json", cwd=small).stdout)["data"] == {"releases": []}


def test_a_release_that_is_not_there_is_an_error(small: Path) -> None:
    done = sluice("release", "show", "champion", cwd=small)
    assert done.returncode == 2
    assert "champion" in done.stderr


def test_status_before_anything_was_served(small: Path) -> None:
    done = sluice("rollout", "status", "--output", "json", cwd=small)
    assert done.returncode == 0
    data = json.loads(done.stdout)["data"]
    assert data["champion"] is None
    assert data["previous"] is None


def test_rolling_back_where_nothing_serves_says_so(small: Path) -> None:
    done = sluice("rollout", "rollback", "--yes", cwd=small)
    assert done.returncode == 5
    assert done.stderr == "error: no supervisor is running, so traffic cannot be moved\nnext:  Start `sluice serve` first.\n"


def test_version(tmp_path: Path) -> None:
    assert sluice("--version", cwd=tmp_path).stdout.startswith("sluice ")
