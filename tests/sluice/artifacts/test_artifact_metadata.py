"""The metadata of artifacts between the steps of a pipeline."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sluice.artifact_metadata import read_metadata

COMPONENTS = sorted((Path(__file__).parents[3] / "components").glob("*/__init__.py"))


def test_a_list_and_a_table_are_as_the_step_wrote_them_after_kfps_launcher_wrapped_them() -> None:
    written = {"warnings": [{"kind": "k", "text": "t"}], "features": ["a"], "numbers": {"n": 1}, "digest": "sha256:1", "rows": 2}
    carried = written | {name: {"list": written[name]} for name in ("warnings", "features")} | {"numbers": {"struct": {"n": 1}}}
    assert read_metadata(carried) == read_metadata(written) == written


def test_a_table_with_another_single_key_stays_as_it_is() -> None:
    assert read_metadata({"a": {"b": [1]}, "c": {"list": 1}}) == {"a": {"b": [1]}, "c": {"list": 1}}


@pytest.mark.parametrize("file", COMPONENTS, ids=lambda file: file.parent.name)
def test_each_component_unwraps_the_metadata_of_its_inputs(file: Path) -> None:
    """Without it, a step on KFP gets the list of warnings as a table, and records that as a warning."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    read = [
        ast.unparse(call.args[0])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "read_metadata"
    ]
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        inputs = {each.arg for each in function.args.args if each.annotation and "dsl.Input[" in ast.unparse(each.annotation)}
        used = [
            ast.unparse(node)
            for node in ast.walk(function)
            if isinstance(node, ast.Attribute) and node.attr == "metadata" and ast.unparse(node.value) in inputs
        ]
        assert sorted(used) == sorted(read)
