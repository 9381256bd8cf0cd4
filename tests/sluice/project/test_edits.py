"""sluice.toml keeps its comments and its formatting when a value changes."""

from __future__ import annotations

import tomllib

import pytest

from sluice.errors import ConfigurationError
from sluice.project.edits import set_texts

TEXT = """\
# The project.
[project]
name = "shop"

[data]  # where the rows are
snapshot = "a.parquet"
holdout   =   "b # not a comment.parquet"   # fixed
load = "m:load"  # the loader

[data.slices]
holdout = "this is a slice"
"""

NEW = {"holdout": 'data/ne"w.parquet', "holdout_digest": "sha256:1"}


def test_only_the_lines_of_the_keys_change_and_a_new_key_comes_after_the_one_before_it() -> None:
    changed = set_texts(TEXT, "data", NEW)
    assert changed == TEXT.replace(
        'holdout   =   "b # not a comment.parquet"   # fixed',
        'holdout   = "data/ne\\"w.parquet"   # fixed\nholdout_digest = "sha256:1"',
    )
    assert tomllib.loads(changed)["data"]["slices"] == {"holdout": "this is a slice"}


def test_a_key_that_exists_is_replaced_and_a_second_time_changes_nothing() -> None:
    once = set_texts(TEXT, "data", NEW)
    assert set_texts(once, "data", NEW) == once
    again = set_texts(once, "data", {"holdout": "c", "holdout_digest": "sha256:2"})
    assert again.count("holdout_digest") == 1
    assert tomllib.loads(again)["data"]["holdout_digest"] == "sha256:2"


@pytest.mark.parametrize(
    "text",
    [
        'data = { holdout = "a", load = "m:f" }\n',
        'data.holdout = "a"\n',
        '[data]\n"holdout" = "a"\n',
        '[data]\nholdout = """\na\nb"""\n',
        '[project]\nnote = """\n[data]\nholdout = 1\n"""\n[data]\nload = "a"\n',
    ],
)
def test_a_file_in_another_form_is_refused_with_the_lines_to_write(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"data.holdout, data.holdout_digest .* cannot be changed") as caught:
        set_texts(text, "data", {"holdout": "b", "holdout_digest": "sha256:1"})
    assert 'holdout = "b"\nholdout_digest = "sha256:1"' in caught.value.hint


def test_line_ends_of_windows_stay() -> None:
    text = TEXT.replace("\n", "\r\n")
    assert tomllib.loads(set_texts(text, "data", {"holdout": "b"}))["data"]["holdout"] == "b"
