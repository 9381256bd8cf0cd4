"""The reference lists every command, key, error and exit code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sluice import errors
from sluice.cli import app
from sluice.cli.pipelines.schema import list_keys
from sluice.project.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def error_classes(of: type[errors.SluiceError] = errors.SluiceError) -> list[type[errors.SluiceError]]:
    return [
        of,
        *(below for child in of.__subclasses__() if child.__module__ == errors.__name__ for below in error_classes(child)),
    ]


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_is_documented_with_its_exit_code(error: type[errors.SluiceError]) -> None:
    assert re.search(rf"^\| {error.exit_code} \| `{error.__name__}` \|", REFERENCE, re.MULTILINE)
    assert error.__name__ in (errors.__doc__ or "")


def test_every_key_is_documented_with_its_default() -> None:
    for key, _, default, meaning in list_keys(Settings.model_json_schema()):
        shown = "required" if "required" in default else f"`{default}`"
        assert f"| `{key}` | {shown} | {meaning} |" in REFERENCE, key
        assert meaning, key


def test_every_command_is_documented() -> None:
    names = [command.name for command in app.registered_commands]
    for group in app.registered_groups:
        typer: Any = group.typer_instance
        names += [f"{group.name} {command.name}" for command in typer.registered_commands]
    assert len(names) >= 18
    for name in names:
        first, _, second = str(name).partition(" ")
        row = next(
            (line for line in REFERENCE.splitlines() if line.startswith(f"| `sluice {first}") and f"{second}" in line), None
        )
        assert row, name


def test_relative_links_in_the_documentation_exist() -> None:
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


STATISTICS = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")


def test_the_tests_and_benchmarks_that_the_page_about_statistics_names_exist() -> None:
    files = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py")}
    functions = set(re.findall(r"^ *def (test_\w+)", "\n".join(files.values()), re.MULTILINE))
    named = [name for code in re.findall(r"`([^`]+)`", STATISTICS) for name in re.findall(r"test_\w+(?:\.py)?", code)]
    assert len(named) > 30
    for name in named:
        assert name in (files if name.endswith(".py") else functions), name
    for path in re.findall(r"`((?:tests|benchmarks|sluice|docs)/[\w./-]+\.(?:py|md))", STATISTICS):
        assert (ROOT / path).is_file(), path
    for module in re.findall(r"python -m (benchmarks\.\w+)", STATISTICS):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
