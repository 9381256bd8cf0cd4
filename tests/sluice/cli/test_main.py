"""The command line as a user meets it: exit codes, one message and one hint per error, and JSON output."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import MINIMAL, sluice, sluice_in_new_interpreter
from typer.testing import CliRunner

from sluice.cli import app

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "sluice.toml").write_text(MINIMAL)
    return tmp_path


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = sluice_in_new_interpreter("--help", cwd=tmp_path)
    assert done.returncode == 0
    for name in ("test", "run", "serve", "compile", "report", "demo", "schema", "release", "rollout"):
        assert re.search(rf"\b{name}\b", done.stdout)


def list_commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Return each command and group with its arguments."""
    found = [(path, command)]
    for name, inner in getattr(command, "commands", {}).items():
        found += list_commands(inner, (*path, name))
    return found


@pytest.mark.parametrize(("path", "command"), list_commands(typer.main.get_command(app)))
def test_no_help_text_loses_its_brackets(path: tuple[str, ...], command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that prints the help takes words in brackets for formats and swallows them, unless they are escaped."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 1000)
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    texts = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
    for part in re.findall(r"\[[^\]]*\]", " ".join(texts)):
        assert part in done.output, part


def test_outside_a_project_there_is_one_message_and_one_hint(tmp_path: Path) -> None:
    done = sluice_in_new_interpreter("run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: there is no sluice.toml in ")
    assert "\nnext: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_as_json_is_one_envelope(tmp_path: Path) -> None:
    done = sluice("run", "--output", "json", cwd=tmp_path)
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert document["schema"] == "sluice/v1"
    assert document["outcome"] == "error"
    assert document["error"]["exit_code"] == 2
    assert document["error"]["hint"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("change", "key", "text"),
    [
        (("[data]", "[data]\nlable = 'y'"), "data.lable", "there is no such key"),
        (('label = "y"\n', ""), "data.label", "this key is required"),
        (('build = "loading:build"', 'build = "loading"'), "model.build", "match"),
        (("[model]", "[gate]\nmargin = 7\n[model]"), "gate.margin", "less than 1"),
        (("[model]", "[rollout]\nsteps = [25, 5]\n[model]"), "rollout.steps", "end at 100"),
        (("[data]", "[dta]\nx = 1\n[data]"), "dta", "there is no such key"),
    ],
)
def test_the_message_names_a_wrong_key(small: Path, change: tuple[str, str], key: str, text: str) -> None:
    file = small / "sluice.toml"
    file.write_text(file.read_text().replace(*change))
    done = sluice("test", "code", cwd=small)
    assert done.returncode == 2
    assert f"{key}: " in done.stderr
    assert text in done.stderr


def test_the_message_for_invalid_toml_names_the_line(small: Path) -> None:
    (small / "sluice.toml").write_text("[project\nname = 1")
    done = sluice("release", "list", cwd=small)
    assert done.returncode == 2
    assert "line 1" in done.stderr


def test_environment_variables_take_precedence_and_are_checked(small: Path) -> None:
    done = sluice("release", "list", cwd=small, SLUICE_GATE__MARGIN="many")
    assert done.returncode == 2
    assert "gate.margin: " in done.stderr


@pytest.mark.parametrize("arguments", [["fly"], ["run", "--sideways"], ["test", "soul"], ["rollout", "approve"]])
def test_a_command_that_does_not_exist_is_a_usage_error(small: Path, arguments: list[str]) -> None:
    done = sluice(*arguments, cwd=small)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_the_message_names_an_unknown_pipeline(small: Path) -> None:
    done = sluice("run", "nightly", cwd=small)
    assert done.returncode == 2
    assert "no pipeline 'nightly'" in done.stderr


def test_schema_prints_every_key_or_the_json_schema(small: Path) -> None:
    table = sluice("schema", cwd=small)
    assert table.returncode == 0
    for key in ("data.holdout_digest", "gate.budget", "rollout.steps", "serving.port"):
        assert key in table.stdout
    document = json.loads(sluice("schema", "--output", "json", cwd=small).stdout)
    assert document["data"]["properties"]["project"]


def test_an_empty_store_lists_nothing_and_says_how_to_start(small: Path) -> None:
    done = sluice("release", "list", cwd=small)
    assert done.returncode == 0
    assert "sluice run" in done.stdout
    assert json.loads(sluice("release", "list", "--output", "json", cwd=small).stdout)["data"] == {"releases": []}


def test_a_release_that_does_not_exist_is_an_error(small: Path) -> None:
    done = sluice("release", "show", "champion", cwd=small)
    assert done.returncode == 2
    assert "champion" in done.stderr


def test_status_works_before_anything_was_served(small: Path) -> None:
    done = sluice("rollout", "status", "--output", "json", cwd=small)
    assert done.returncode == 0
    data = json.loads(done.stdout)["data"]
    assert data["champion"] is None
    assert data["previous"] is None


def test_a_rollback_without_a_supervisor_is_an_error(small: Path) -> None:
    done = sluice("rollout", "rollback", "--yes", cwd=small)
    assert done.returncode == 5
    assert done.stderr == (
        "error: no supervisor or controller is running, so no traffic can move\n"
        "next:  Start `sluice serve`; in a cluster, `sluice rollout controller`.\n"
    )


def test_version_is_printed(tmp_path: Path) -> None:
    assert sluice("--version", cwd=tmp_path).stdout.startswith("sluice ")


@pytest.mark.parametrize("arguments", [[], ["release"], ["rollout"]])
def test_a_group_without_a_command_shows_only_its_help(small: Path, arguments: list[str]) -> None:
    done = sluice(*arguments, cwd=small)
    assert done.returncode == 2
    assert "Usage: " in done.stdout + done.stderr
    assert "error:" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["rollout", "rollback", "--yes"], "rollout rollback"),
        (["release", "show", "champion"], "release show"),
        (["--debug", "release", "show", "7"], "release show"),
        (["test", "soul"], "test"),
    ],
)
def test_an_error_names_the_same_command_as_a_result(small: Path, arguments: list[str], command: str) -> None:
    document = json.loads(sluice(*arguments, "--output", "json", cwd=small).stdout)
    assert (document["command"], document["outcome"]) == (command, "error")


def test_the_message_for_an_unknown_layer_lists_the_layers(small: Path) -> None:
    message = sluice("test", "soul", cwd=small).stderr.partition("\n")[0]
    assert message == "error: Invalid value for 'LAYER': 'soul' is not one of 'code', 'data', 'model', 'integration'."


@pytest.mark.parametrize("arguments", [["test", "code"], ["serve", "--port", "0"], ["run", "only"]])
def test_a_state_folder_that_cannot_be_written_is_one_service_error(small: Path, arguments: list[str]) -> None:
    (small / "tests" / "code").mkdir(parents=True)
    (small / "sluice.toml").write_text(MINIMAL + '[pipelines]\nonly = "loading:pipeline"\n')
    (small / "rows.csv").touch()
    (small / "holdout.csv").touch()
    (small / "file").touch()
    done = sluice(*arguments, cwd=small, SLUICE_STATE=str(small / "file" / "state"))
    assert done.returncode == 5, done.stderr
    assert "Not a directory" in done.stderr
    assert "$SLUICE_STATE" in done.stderr


def test_commands_that_change_production_have_dry_run_and_yes(small: Path) -> None:
    for name in ("promote", "abort", "rollback"):
        options = sluice("rollout", name, "--help", cwd=small).stdout
        assert "--dry-run" in options
        assert "--yes" in options
    assert "--dry-run" in sluice("release", "build", "--help", cwd=small).stdout


class TestWrongInputs:
    """A problem with a layer's inputs is one error with exit code 2 (4 for a wrong digest). Its message names the input."""

    @pytest.fixture
    def small(self, small: Path) -> Path:
        for layer in ("code", "data", "model", "integration"):
            (small / "tests" / layer).mkdir(parents=True)
            (small / "tests" / layer / "test_one.py").write_text("def test_one(holdout): ...\ndef test_two(model): ...\n")
        (small / "loading.py").write_text("import pandas as pd\nload = pd.read_csv\n")
        for name, first in (("holdout.csv", 0), ("rows.csv", 50)):
            lines = (f"{row},{row % 2},{row}\n" for row in range(first, first + 50))
            (small / name).write_text("id,y,x\n" + "".join(lines))
        return small

    def error_of(self, small: Path, *arguments: str, **environment: str) -> dict[str, object]:
        done = sluice("test", *arguments, "--output", "json", cwd=small, **environment)
        error: dict[str, object] = json.loads(done.stdout)["error"]
        assert error["exit_code"] == done.returncode
        return error

    def test_a_truncated_or_empty_snapshot_is_named(self, small: Path) -> None:
        (small / "cut.parquet").write_bytes(b"PAR1 and no more")
        error = self.error_of(small, "data", "--snapshot", "cut.parquet")
        assert error["exit_code"] == 2
        assert "cut.parquet is not a readable Parquet file" in str(error["message"])
        (small / "empty.csv").touch()
        assert "empty.csv is empty" in str(self.error_of(small, "data", "--snapshot", "empty.csv")["message"])

    def test_a_missing_or_changed_holdout_is_named(self, small: Path) -> None:
        error = self.error_of(small, "model", SLUICE_DATA__HOLDOUT_DIGEST="sha256:" + "0" * 64)
        assert error["exit_code"] == 4
        assert "holdout.csv has the digest sha256:" in str(error["message"])
        (small / "holdout.csv").unlink()
        error = self.error_of(small, "model")
        assert error["exit_code"] == 2
        assert "there is no file" in str(error["message"])

    def test_a_file_that_is_not_a_model_is_named(self, small: Path) -> None:
        (small / "junk.joblib").write_bytes(b"junk")
        error = self.error_of(small, "model", "--model", "junk.joblib")
        assert error["exit_code"] == 2
        assert "the model junk.joblib cannot be loaded" in str(error["message"])

    def test_a_missing_serving_environment_is_named(self, small: Path) -> None:
        error = self.error_of(small, "integration")
        assert error["exit_code"] == 2
        assert "serving.python names" in str(error["message"])

    def test_a_missing_suite_is_named(self, small: Path) -> None:
        error = self.error_of(small, "code", SLUICE_TESTS__CODE="tests/units")
        assert error["exit_code"] == 2
        assert "tests.code names 'tests/units'" in str(error["message"])


def test_passed_checks_are_counted_and_the_page_is_named(small: Path) -> None:
    (small / "tests" / "code").mkdir(parents=True)
    (small / "tests" / "code" / "test_one.py").write_text("def test_fine(): ...\ndef test_wrong(): assert 1 == 2\n")
    shown = sluice("test", "code", cwd=small).stdout
    assert "1 more check passed (--verbose shows them)" in shown
    assert "test_wrong" in shown
    assert "test_fine" not in shown
    assert "layers/code/report.html" in shown.replace("\n", "")
    assert "test_fine" in sluice("test", "code", "--verbose", cwd=small).stdout
