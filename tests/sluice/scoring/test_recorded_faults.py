"""What a server keeps of its faults, and how it hides values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from sluice.scoring.faults import (
    HIDDEN,
    MAX_KINDS,
    MAX_TEXT_LENGTH,
    OTHER_KINDS,
    SHOWN,
    Faults,
    clean,
    describe_kind,
    find_words,
    hide_values,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def test_nothing_is_kept_unless_the_deployment_says_so() -> None:
    faults = Faults()
    faults.add_rejected(b"{}", "application/json", "why")
    assert not faults.is_enabled
    assert faults.to_dict(0)["rejected"] == {"total": 0, "requests": []}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("could not convert string to float: 'Paris'", "could not convert string to float: '…'"),
        ("unknown city Paris", "unknown city …"),
        ("unknown city paris, France", "unknown city …, …"),
        ("city_Paris is unknown, as is city-Paris", "city_… is unknown, as is city-…"),
        ("KeyError: 'tenure'", "KeyError: 'tenure'"),
        ("value 17.25 at row 3", "value … at row …"),
        ('card "4111 1111" refused', 'card "…" refused'),
        ("2024-05-17T12:00:00 is too late", "… is too late"),
        ("unknown cityParis, UnParisian", "unknown …, …"),
        ("unknown city ParisFrance", "unknown city …"),
        ("the city Par. is short", "the city …. is short"),
        ("can't convert 'Rome'", "can't convert '…'"),
        ("b'Rome' and “Rome's” and `Rome`", "b'…' and “…” and `…`"),
        ("the value is 'cut Rome", "the value is '…'"),
        ("found \"O'Brien\" or 'O'Brien' here", "found \"…\" or '…' here"),
        (r"""row has 'O\'Brien "Ada" of Rome' here""", "row has '…' here"),
    ],
)
def test_values_are_hidden_and_columns_are_not(text: str, shown: str) -> None:
    words = find_words([["Paris, France", 17.25, None, True]])
    assert hide_values(text, words, {"tenure"}) == shown


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("Cafe\u0301 Mu\u0308ller", "unknown shop Caf\u00e9 M\u00fcller"),
        ("Caf\u00e9 M\u00fcller", "unknown shop Cafe\u0301 Mu\u0308ller"),
        ("CAFÉ MÜLLER", "unknown shop cafe muller"),
        (["a", ["Café", {"by": "Müller"}]], "unknown shop Café Müller"),
        ({"Café": {"Müller": 1}}, "unknown shop Café Müller"),
    ],
)
def test_words_in_nested_cells_and_other_forms_of_unicode_are_hidden(sent: object, text: str) -> None:
    assert hide_values(text, find_words([[sent]]), ()) == "unknown shop … …"


def test_a_rejected_request_hides_the_words_of_its_own_body() -> None:
    faults = Faults()
    faults.start(HIDDEN, ["plan"])
    cells = {"names": ["plan"], "ndarray": [['O\'Brien "Ada" of Harley Street']]}
    text = "names of data: Ada of Harley Street has no plan"
    faults.add_rejected(json.dumps({"data": cells}).encode(), "application/json", text)
    faults.add_rejected(b"json=Ada+of%20Harley+Street", "application/x-www-form-urlencoded", text)
    texts = [one["text"] for one in faults.to_dict(0)["rejected"]["requests"]]
    assert texts == ["names … data: … … … … has no plan"] * 2


def test_an_error_of_the_server_hides_the_words_of_the_body_and_everything_if_the_body_is_not_known() -> None:
    faults = Faults()
    faults.start(HIDDEN)
    faults.add_error("known", "no shop in Paris", b'{"strData": "Paris"}')
    faults.add_error("unknown", "no shop in Paris", b"")
    assert [one["text"] for one in faults.to_dict(0)["failed"]] == ["no shop in …", "…"]
    assert [one["example"] for one in faults.to_dict(0)["failed"]] == [[], []]


def test_texts_have_no_control_characters_and_a_limited_length() -> None:
    faults = Faults()
    faults.start(SHOWN)
    faults.add_failure("kind", "\x1b[31mred\r\n" + "x" * 5000)
    (failed,) = faults.to_dict(0)["failed"]
    assert failed["text"].startswith("[31mred xxx")
    assert len(failed["text"]) == MAX_TEXT_LENGTH


def test_the_number_of_kinds_is_limited() -> None:
    faults = Faults()
    faults.start(HIDDEN)
    firsts = [faults.add_failure(f"kind {number}", "text") for number in range(MAX_KINDS + 5)]
    counts = {one["kind"]: one["count"] for one in faults.to_dict(0)["failed"]}
    assert firsts.count(True) == MAX_KINDS + 1
    assert len(counts) == MAX_KINDS + 1
    assert counts[OTHER_KINDS] == 5


def test_a_kind_names_the_error_and_its_place_but_no_value() -> None:
    try:
        int("secret")
    except ValueError as error:
        kind = describe_kind(error)
    assert kind.startswith("ValueError in scoring/test_recorded_faults.py:")
    assert kind.endswith("(test_a_kind_names_the_error_and_its_place_but_no_value)")
    assert "secret" not in kind


def test_a_kind_names_the_projects_own_code_and_not_the_library_below_it() -> None:
    frame = pd.DataFrame({"day": ["2024-05-17T12:00:00"]})
    acts: list[Callable[[], object]] = [lambda: pd.to_datetime(frame["day"], format="%Y-%m-%d"), lambda: json.loads("{")]
    acts.append(lambda: clean(5))  # type: ignore[arg-type]
    errors = []
    for act in acts:
        with pytest.raises((ValueError, TypeError)) as failed:
            act()
        errors.append(failed.value)
    for error in errors:
        assert " in scoring/test_recorded_faults.py:" in describe_kind(error)
