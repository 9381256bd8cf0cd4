"""Components that send texts and numbers, and components that compare the values they receive with those that were sent."""

# No `from __future__ import annotations`, because kfp reads the annotations. They are written as in kfp's documentation.
# ruff: noqa: PLR0913, PLR0917, PYI024, UP006, UP035

from typing import Dict, List, NamedTuple

from value_samples import component, long_text, numbers, samples


@component()
def make_texts() -> NamedTuple(
    "Texts",
    [("quotes", str), ("newlines", str), ("tags", str), ("dollars", str), ("controls", str), ("emoji", str), ("empty", str)],
):  # type: ignore[valid-type]
    from collections import namedtuple

    names = ("quotes", "newlines", "tags", "dollars", "controls", "emoji", "empty")
    return namedtuple("Texts", names)(*(samples()[name] for name in names))


@component()
def check_texts(quotes: str, newlines: str, tags: str, dollars: str, controls: str, emoji: str, empty: str) -> str:
    given = {
        "quotes": quotes,
        "newlines": newlines,
        "tags": tags,
        "dollars": dollars,
        "controls": controls,
        "emoji": emoji,
        "empty": empty,
    }
    for name, text in given.items():
        assert text == samples()[name], (name, text, samples()[name])
    return tags


@component()
def check_text(name: str, text: str, lost: int = 0) -> str:
    expected = long_text() if name == "long" else samples()[name]
    expected = expected[: len(expected) - lost]
    assert text == expected, (name, text[:500], expected[:500])
    return text[:100]


@component()
def make_text(name: str) -> str:
    return long_text() if name == "long" else samples()[name]


@component()
def make_names() -> List[str]:
    return list(samples())


@component()
def make_list() -> List[str]:
    return list(samples().values())


@component()
def make_dicts() -> List[Dict]:
    return [{"text": text, "number": 2**53 + 1 + n, "inner": {"text": text}} for n, text in enumerate(samples().values())][:5]


@component()
def check_list(found: List[str]) -> str:
    assert found == list(samples().values()), found
    return "equal"


@component()
def echo_text(text: str) -> str:
    return text


@component()
def check_dict_item(item: Dict, text: str, number: int) -> int:
    assert item["text"] == item["inner"]["text"] == text, (item, text)
    assert item["number"] == number, (item, number)
    assert text == list(samples().values())[number - 2**53 - 1]
    return number


@component()
def check_numbers_of_items(found: List[int]) -> str:
    assert found == [2**53 + 1 + n for n in range(5)], found
    return "equal"


@component()
def make_numbers() -> NamedTuple(
    "Numbers",
    [
        ("big", int),
        ("small", int),
        ("whole", float),
        ("real", float),
        ("nan", float),
        ("yes", bool),
        ("no", bool),
        ("wholes", List[int]),
        ("mixed", list),
        ("reals", list),
        ("deep", dict),
    ],
):  # type: ignore[valid-type]
    from collections import namedtuple

    names = ("big", "small", "whole", "real", "nan", "yes", "no", "wholes", "mixed", "reals", "deep")
    known = numbers()
    values = (
        2**53 + 1,
        -(2**63) - 1,
        3.0,
        0.1,
        float("nan"),
        True,
        False,
        known["whole"],
        known["mixed"],
        known["real"],
        known["deep"],
    )
    return namedtuple("Numbers", names)(*values)


@component()
def check_numbers(
    big: int,
    small: int,
    whole: float,
    real: float,
    nan: float,
    yes: bool,
    no: bool,
    wholes: List[int],
    mixed: list,
    reals: list,
    deep: dict,
) -> str:
    known = numbers()
    assert (type(big), big, small) == (int, 2**53 + 1, -(2**63) - 1), (big, small)
    assert (type(whole), whole, real) == (float, 3.0, 0.1), (whole, real)
    assert nan != nan  # noqa: PLR0124 - that is what NaN is
    assert (yes, no) == (True, False)
    for found, expected in ((wholes, known["whole"]), (mixed, known["mixed"]), (reals, known["real"]), (deep, known["deep"])):
        assert repr(found) == repr(expected), (found, expected)
    return "equal"


@component()
def echo_number(number: int) -> int:
    return number


@component()
def check_whole(found: List[int]) -> str:
    assert repr(found) == repr(numbers()["whole"]), found
    return "equal"


@component()
def make_fragile() -> list:
    return [3.0, 2**53 + 1, "a", {"b": 1e300}]


@component()
def make_whole() -> List[int]:
    return numbers()["whole"]


@component()
def give_empty() -> List[str]:
    return []


@component()
def count(found: List[str]) -> int:
    return len(found)


@component()
def check_given(text: str) -> str:
    opening = "{" * 2
    closing = "}" * 2
    assert text == f'a "b" {opening}workflow.name{closing} {opening}=1+1{closing} $(HOME) \n\\', text
    return text


@component()
def echo_struct(struct: dict, numbers: list) -> dict:
    return {"struct": struct, "numbers": numbers}


@component()
def check_short(text: str, chosen: str) -> str:
    assert text == samples()["dollars"]
    assert chosen == samples()["tags"][:100]
    return chosen


@component()
def check_joined(text: str) -> str:
    assert text == "{" * 2 + "workflow.name" + "}" * 2 + " $(HOME)", text
    return text


@component()
def default_text(text: str = "the default") -> str:
    return text


@component()
def add(one: int, other: int) -> int:
    return one + other


@component()
def echo_list(found: list) -> list:
    return found


@component()
def make_rows() -> List[dict]:
    return [
        {"whole": 1, "flag": True, "real": 10.0, "big": 2**53 + 1},
        {"whole": 2, "flag": False, "real": 2.0, "big": 1},
    ]


@component()
def check_variable(text: str) -> str:
    import os

    assert os.environ["A"] == text == samples()["tags"], os.environ["A"]
    return "equal"
