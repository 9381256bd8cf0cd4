"""The reference lists every command, key, error and exit code, and the links between the pages lead somewhere."""

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


def list_anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes from the headings of a page. A second heading with the same text gets a number."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    anchors: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = sum(1 for other in anchors if re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other))
        anchors.add(f"{anchor}-{number}" if number and anchor in anchors else anchor)
    return anchors


def list_broken_links(page: Path) -> list[str]:
    """Return the links of a page to a file that does not exist, or to a heading that its page does not have."""
    broken: list[str] = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8")):
        to = page.parent / target if target else page
        if not to.exists() or (anchor and to.suffix == ".md" and anchor not in list_anchors(to)):
            broken.append(f"{target}#{anchor}" if anchor else target)
    return broken


def test_relative_links_in_the_documentation_and_their_anchors_exist() -> None:
    pages = (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    assert {page.name: broken for page in pages if (broken := list_broken_links(page))} == {}


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# The `first` one: 100 %\n\n```\n# a comment\n```\n\n## Twice\n\n## Twice\n")
    good = "[a](other.md) [b](other.md#the-first-one-100-) [c](other.md#twice-1) [d](#here) [e](https://example.com/#x)"
    page = tmp_path / "page.md"
    page.write_text(f"## Here\n{good}\n[f](gone.md#x) [g](other.md#a-comment) [h](#there)\n")
    assert list_broken_links(page) == ["gone.md#x", "other.md#a-comment", "#there"]


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
