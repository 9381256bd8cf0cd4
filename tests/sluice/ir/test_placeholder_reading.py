"""Tests of placeholders: every form that KFP documents, and texts that only look like placeholders."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ir.placeholders import (
    RUN_FIELDS,
    ArtifactField,
    Concat,
    ExecutorInput,
    IfPresent,
    InputParameter,
    OutputFile,
    Piece,
    RunField,
    Text,
    UnknownPlaceholder,
    is_plain,
    pieces_of,
    read_argument,
    read_text,
)


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("{{$}}", ExecutorInput()),
        ("{{$.inputs.parameters['a']}}", InputParameter("a")),
        ('{{$.inputs.parameters["a b"]}}', InputParameter("a b")),
        ("{{$.outputs.parameters['a'].output_file}}", OutputFile("a")),
        ("{{$.outputs.output_file}}", OutputFile("")),
        ("{{$.inputs.artifacts['m'].uri}}", ArtifactField("m", output=False, field="uri")),
        ("{{$.inputs.artifacts['m'].path}}", ArtifactField("m", output=False, field="path")),
        ("{{$.inputs.artifacts['m'].name}}", ArtifactField("m", output=False, field="name")),
        ("{{$.inputs.artifacts['m'].metadata}}", ArtifactField("m", output=False, field="metadata")),
        ("{{$.inputs.artifacts['m'].metadata['k']}}", ArtifactField("m", output=False, field="metadata", key="k")),
        ('{{$.outputs.artifacts["m"].metadata["k"]}}', ArtifactField("m", output=True, field="metadata", key="k")),
        ("{{$.outputs.artifacts['m'].uri}}", ArtifactField("m", output=True, field="uri")),
        ("{{$.outputs.artifacts['m'].path}}", ArtifactField("m", output=True, field="path")),
        ("{{$.inputs.artifacts['m']}}", ArtifactField("m", output=False, field="")),
    ],
)
def test_every_form_of_a_placeholder_is_read(text: str, piece: Piece) -> None:
    assert read_text(text) == Text((piece,))
    assert read_text(f"a{text}b") == Text(("a", piece, "b"))


@pytest.mark.parametrize("name", sorted(RUN_FIELDS))
def test_the_fields_of_a_run_are_read(name: str) -> None:
    assert read_text(f"{{{{$.{name}}}}}") == Text((RunField(name),))


@pytest.mark.parametrize(
    "text",
    [
        "{{$.inputs.parameters['a'].uri}}",
        "{{$.inputs.parameters[a]}}",
        "{{$.outputs.parameters['a']}}",
        "{{$.outputs.artifacts['m'].colour}}",
        "{{$.somewhere_else}}",
        "{{$.}}",
    ],
)
def test_a_placeholder_that_kfp_does_not_document_is_unknown(text: str) -> None:
    assert read_text(text) == Text((UnknownPlaceholder(text),))


@pytest.mark.parametrize(
    "text",
    [
        "{{workflow.name}}",
        "{{ $ }}",
        "{$}",
        "$.inputs",
        "{{",
        "}}",
        "{{$",
        "{{$x}}",
        "{{item}}",
        "{{$.a{b}}}",
        "{{}}",
        "a\nb",
        "{{\\$}}",
    ],
)
def test_a_text_that_only_looks_like_a_placeholder_stays_text(text: str) -> None:
    assert read_text(text) == Text((text,))
    assert is_plain(read_argument(text))


def test_an_empty_text_has_no_pieces() -> None:
    assert read_text("") == Text(())
    assert is_plain(read_argument(""))


def test_neighbouring_placeholders_stay_separate_and_in_order() -> None:
    found = read_text("{{$.inputs.parameters['a']}}{{$.inputs.parameters['b']}}-{{{$.pipeline_root}}}")
    assert found.pieces == (InputParameter("a"), InputParameter("b"), "-{", RunField("pipeline_root"), "}")


def test_concat_and_if_present_are_read_at_any_depth() -> None:
    raw = {
        "IfPresent": {
            "InputName": "a",
            "Then": [
                "--a",
                {"Concat": ["x=", "{{$.inputs.parameters['a']}}", {"IfPresent": {"InputName": "b", "Then": "B", "Else": "no"}}]},
            ],
            "Else": [{"Concat": []}],
        }
    }
    assert read_argument(json.dumps(raw)) == IfPresent(
        "a",
        (
            Text(("--a",)),
            Concat((Text(("x=",)), Text((InputParameter("a"),)), IfPresent("b", (Text(("B",)),), (Text(("no",)),)))),
        ),
        (Concat(()),),
    )


def test_a_missing_branch_is_empty() -> None:
    assert read_argument('{"IfPresent": {"InputName": "a", "Then": ["x"]}}') == IfPresent("a", (Text(("x",)),), ())
    assert read_argument('{"IfPresent": {"InputName": "a", "Then": "x", "Else": null}}').otherwise == ()  # type: ignore[union-attr]


def test_json_in_a_text_inside_a_concat_is_read_too() -> None:
    inner = json.dumps({"Concat": ["b", "c"]})
    assert read_argument(json.dumps({"Concat": ["a", inner]})) == Concat((Text(("a",)), Concat((Text(("b",)), Text(("c",))))))


@pytest.mark.parametrize(
    "text",
    [
        '{"Concat"',
        '{"Concat": 3}',
        '{"IfPresent": {}}',
        '{"IfPresent": {"InputName": "a"',
        '{"Concatenate": []}',
        '{"a": {"Concat": []}}',
        '{"Concat": [1]}',
    ],
)
def test_json_that_is_not_a_placeholder_stays_text(text: str) -> None:
    assert read_argument(text) == Text((text,))


def test_the_pieces_of_every_branch_of_an_argument_are_found() -> None:
    raw: Any = {"IfPresent": {"InputName": "a", "Then": [{"Concat": ["x", "{{$}}"]}], "Else": "{{$.pipeline_root}}"}}
    assert pieces_of(read_argument(json.dumps(raw))) == ["x", ExecutorInput(), RunField("pipeline_root")]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("{}$.a'[]"), max_size=20))
def test_the_pieces_of_a_text_together_are_the_text(text: str) -> None:
    pieces = read_text(text).pieces
    found = "".join(
        p if isinstance(p, str) else "{{$}}" if isinstance(p, ExecutorInput) else getattr(p, "text", "?") for p in pieces
    )
    assert found == text
