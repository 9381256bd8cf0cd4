"""CONTRIBUTING.md is a map of the code: its paths exist, and its lists of functions follow the calls."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WAYS = ("Follow one request", "Follow one verdict", "Follow one rollback")


@cache
def read_functions(path: str) -> dict[str, str]:
    """Return the source of each function of a file by its qualified name, with its decorators."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found = {}
    for node in ast.parse(text).body:
        members = [(f"{node.name}.", node.body)] if isinstance(node, ast.ClassDef) else [("", [node])]
        for prefix, body in members:
            found |= {f"{prefix}{one.name}": ast.unparse(one) for one in body if isinstance(one, ast.FunctionDef)}
    return found


def read_way(title: str) -> list[list[tuple[str, str]]]:
    """Return the steps of a list as (path, function), split at the borders between processes."""
    section = TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]
    groups: list[list[tuple[str, str]]] = [[]]
    for line in section.splitlines():
        if re.fullmatch(r"\*.*\*", line):
            groups.append([])
        elif step := re.match(r"\d+\. `([^`:]+):([^`]+)`", line):
            groups[-1].append((step[1], step[2]))
    return groups


@pytest.mark.parametrize("title", WAYS)
def test_each_function_of_a_list_is_called_by_one_before_it(title: str) -> None:
    for group in read_way(title):
        assert group
        before = ""
        for path, name in group:
            functions = read_functions(path)
            assert name in functions, f"{path} has no function {name}"
            called = name.rpartition(".")[2]
            assert not before or re.search(rf"\b{called}\b", before), f"nothing before it in the list calls {path}:{name}"
            before += functions[name]


def test_every_path_on_the_page_exists() -> None:
    paths = re.findall(r"`((?:sluice|tests|components|pipelines|serving|tools|docs|churn)/[\w/.]*)`", TEXT)
    assert len(paths) > 40
    for path in paths:
        assert path == "sluice/example.py" or (ROOT / path).exists(), path


def test_the_table_names_every_package() -> None:
    packages = {folder.name for folder in (ROOT / "sluice").iterdir() if (folder / "__init__.py").exists()}
    named = set(re.findall(r"^\| `sluice/(\w+)/` \|", TEXT, re.MULTILINE))
    assert named == packages
