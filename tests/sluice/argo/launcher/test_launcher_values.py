"""Tests of the launcher with values: they pass through real components of kfp unchanged and keep their types."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple, Optional

import pytest
from kfp import dsl
from launcher_runs import Launched

from sluice.argo.expressions.wire_json import from_wire

component = dsl.component(base_image="python:3.11", install_kfp_package=False)

TEXTS = {
    "quotes": """it's "quoted" `so` \\ 'x'""",
    "newlines": "a\nb\r\nc\rd\n",
    "tags": "{{workflow.name}} {{=1+1}} {{ {{{ }} {{$}} {{$.inputs.parameters['a']}}",
    "dollars": "$$ $ $(HOME) $HOME ${HOME} $(date) $$$$",
    "control": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "nul": "a\0b\0#1",
    "tagged": "\0#3.0",
    "emoji": "😀👩‍👩‍👧‍👦 é ü 漢字",
    "flag": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "escape": "⦃(x⦃s⦃⦃ {$}",
    "null": "null",
    "true": "true",
    "number": "3.0",
    "json": '{"a": [1, 2]}',
    "blank": "   \t ",
    "empty": "",
    "file": "@/tmp/argo_arg_0.txt",
    "shell": "$(touch /tmp/x); `id` && exit 3 # | > <",
    "percent": "%s %(a)s %%",
}
VALUES = {
    "big": 2**53 + 1,
    "huge": -(10**30),
    "small": -1,
    "float": 3.0,
    "fraction": 0.1,
    "tiny": 5e-324,
    "wide": 1.7976931348623157e308,
    "negative zero": -0.0,
    "true": True,
    "false": False,
    "list": [1, 1.0, True, "1", None, 2**60, [3.0, [4]], {"a": 5.0}],
    "dict": {"one": 1, "float": 1.0, "big": 2**64, "none": None, "{{": "}}", "$": "$(X)", "\0#1": "\0#1", "": ""},
    "empty list": [],
    "empty dict": {},
}


@component
def echo_text(value: str) -> NamedTuple("Both", [("value", str), ("seen", str)]):
    return (value, ascii(value))


@component
def echo_integer(value: int) -> NamedTuple("Both", [("value", int), ("seen", str)]):
    return (value, ascii(value))


@component
def echo_float(value: float) -> NamedTuple("Both", [("value", float), ("seen", str)]):
    return (value, ascii(value))


@component
def echo_boolean(value: bool) -> NamedTuple("Both", [("value", bool), ("seen", str)]):
    return (value, ascii(value))


@component
def echo_list(value: list) -> NamedTuple("Both", [("value", list), ("seen", str)]):
    return (value, ascii(value))


@component
def echo_dict(value: dict) -> NamedTuple("Both", [("value", dict), ("seen", str)]):
    return (value, ascii(value))


ECHOES: dict[type, Any] = {
    str: echo_text,
    int: echo_integer,
    float: echo_float,
    bool: echo_boolean,
    list: echo_list,
    dict: echo_dict,
}


@pytest.mark.parametrize("value", [*TEXTS.values(), *VALUES.values()], ids=[*TEXTS, *VALUES])
def test_a_value_passes_through_a_component_unchanged_and_keeps_its_type(launched: Launched, value: Any) -> None:
    done = launched.call(ECHOES[type(value)], {"value": value})
    assert done.code == 0, done.stderr
    assert done.value("seen") == ascii(value)
    assert ascii(done.value("value")) == ascii(value)


def test_the_text_of_an_output_contains_nothing_that_argo_or_kubernetes_would_replace(launched: Launched) -> None:
    done = launched.call(echo_text, {"value": TEXTS["tags"] + TEXTS["dollars"]})
    text = done.texts["value"]
    assert "{{" not in text
    assert "$" not in text
    assert text.isascii()


@component
def numbers() -> NamedTuple("Numbers", [("nan", float), ("infinite", float), ("nested", list)]):
    return (float("nan"), float("-inf"), [float("inf"), float("nan")])


def test_numbers_that_json_does_not_have_pass_through_a_component(launched: Launched) -> None:
    done = launched.call(numbers)
    assert done.code == 0, done.stderr
    assert math.isnan(done.value("nan"))
    assert done.value("infinite") == -math.inf
    assert done.value("nested")[0] == math.inf
    assert all("NaN" not in text.replace('"\\u0000#NaN"', "") for text in done.texts.values())
    back = launched.call(echo_list, {"value": done.value("nested")})
    assert back.value("seen") == "[inf, nan]"


@pytest.mark.parametrize("value", [200_000 * "x", 70_000 * "é", 'a"{{$\n' * 40_000], ids=["ascii", "wide", "escaped"])
def test_a_text_may_be_longer_than_the_kernels_limit_for_an_argument(launched: Launched, value: str) -> None:
    assert len(json.dumps(value)) > 131_072
    done = launched.call(echo_text, {"value": value}, offloaded=True)
    assert done.code == 0, done.stderr[-2000:]
    assert done.value("value") == value


def test_a_long_text_in_a_file_does_not_hide_the_sitecustomize_of_the_image(launched: Launched) -> None:
    folder = launched.folder / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import os\nos.environ['CUSTOMIZED'] = 'yes'\n", encoding="utf-8")
    launched.environment["PYTHONPATH"] = str(folder)
    done = launched.call(tell_environment, {"value": "x" * 200_000}, offloaded=True)
    assert done.code == 0, done.stderr
    assert done.value("Output") == ["yes", 200_000]


@component
def tell_environment(value: str) -> list:
    import os
    import sys

    assert not any("sitecustomize" in part for part in sys.path)
    return [os.environ.get("CUSTOMIZED", ""), len(value)]


@component
def defaults(
    text: str = "t",
    number: int = 7,
    real: float = 0.5,
    flag: bool = True,
    many: list = [1, 2],  # noqa: B006 - kfp's form of a default
    maybe: Optional[str] = None,  # noqa: UP045 - kfp reads this form
) -> list:
    return [text, number, real, flag, many, maybe]


def test_an_input_that_is_null_or_not_given_has_its_python_default(launched: Launched) -> None:
    expected = ["t", 7, 0.5, True, [1, 2], None]
    assert launched.call(defaults).value("Output") == expected
    assert launched.call(defaults, dict.fromkeys(["text", "number", "real", "flag", "many", "maybe"])).value("Output") == expected
    assert launched.call(defaults, {"text": "", "number": 0, "flag": False, "many": []}).value("Output") == [
        "",
        0,
        0.5,
        False,
        [],
        None,
    ]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("NUMBER_INTEGER", 3.0, 3),
        ("NUMBER_DOUBLE", 3, 3.0),
        ("STRING", 3, "3"),
        ("STRING", 3.0, "3"),
        ("STRING", [1, {"a": None}], '[1,{"a":null}]'),
        ("STRING", True, "true"),
        ("BOOLEAN", True, True),
        ("LIST", [3.0], [3.0]),
    ],
)
def test_an_input_gets_its_declared_type(launched: Launched, kind: str, given: Any, expected: Any) -> None:
    program = "import json, sys; print(ascii(json.loads(sys.argv[1])['inputs']['parameterValues']['value']))"
    spec = launched.spec(inputs={"value": given}, types={"value": kind})
    done = launched.run(spec, ["python3", "-c", program, "{{$}}"])
    assert done.stdout.strip() == ascii(expected), done.stderr


@component
def files(
    text: dsl.OutputPath(str),
    number: dsl.OutputPath(int),
    real: dsl.OutputPath(float),
    flag: dsl.OutputPath(bool),
    many: dsl.OutputPath(list),
    named: dsl.OutputPath(dict),
) -> None:
    from pathlib import Path

    Path(text).write_bytes(" a\r\n{{x}} é\n".encode())
    Path(number).write_text(" 9007199254740993\n", encoding="utf-8")
    Path(real).write_text("3", encoding="utf-8")
    Path(flag).write_text("True\n", encoding="utf-8")
    Path(many).write_text('[1, 2.0, "x"]', encoding="utf-8")
    Path(named).write_text('{"a": null}', encoding="utf-8")


def test_the_launcher_reads_an_output_file_according_to_its_declared_type(launched: Launched) -> None:
    done = launched.call(files)
    assert done.code == 0, done.stderr
    found = {name: from_wire(text) for name, text in done.texts.items()}
    assert ascii(found["text"]) == ascii(" a\r\n{{x}} é\n")
    assert found["number"] == 2**53 + 1
    assert repr(found["real"]) == "3.0"
    assert found["flag"] is True
    assert repr(found["many"]) == "[1, 2.0, 'x']"
    assert found["named"] == {"a": None}


@pytest.mark.parametrize(
    ("kind", "content", "why"),
    [
        ("NUMBER_INTEGER", b"seven", "'seven'"),
        ("NUMBER_INTEGER", b"3.0", "'3.0'"),
        ("BOOLEAN", b"yes", "'yes'"),
        ("LIST", b"[1,", "JSONDecodeError"),
        ("STRING", b"\xff\xfe", "UnicodeDecodeError"),
    ],
)
def test_an_output_file_of_the_wrong_type_fails_the_step_and_the_message_names_the_output(
    launched: Launched, kind: str, content: bytes, why: str
) -> None:
    spec = launched.spec(outputs={"n": kind})
    file = Path(spec["executor"]["outputs"]["parameters"]["n"]["outputFile"])
    done = launched.run(spec, ["python3", "-c", f"open({str(file)!r}, 'wb').write({content!r})"])
    assert done.code == 1
    assert done.stderr.startswith(f"sluice: output 'n' ({kind}) cannot be read: ")
    assert why in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("result", ["[1]", "{", '{"artifacts": {"model": [1]}}', '{"artifacts": {"model": {"artifacts": [1]}}}'])
def test_an_invalid_executor_output_file_fails_the_step_without_a_traceback(launched: Launched, result: str) -> None:
    spec = launched.spec(made=["model"])
    done = launched.run(spec, ["sh", "-c", 'printf %s "$0" > "$1"', result, spec["executor"]["outputs"]["outputFile"]])
    assert done.code == 1
    assert done.stderr.startswith("sluice: ")
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("result", ["null", "[]", "{}", '{"artifacts": null, "parameterValues": null}'])
def test_an_empty_executor_output_file_is_valid(launched: Launched, result: str) -> None:
    spec = launched.spec(made=["model"])
    done = launched.run(spec, ["sh", "-c", 'printf %s "$0" > "$1"', result, spec["executor"]["outputs"]["outputFile"]])
    assert done.code == 0, done.stderr
    assert done.value("model")["name"] == "model"


def test_a_missing_output_fails_the_step_and_the_message_names_the_output(launched: Launched) -> None:
    spec = launched.spec(outputs={"absent one": "STRING"})
    done = launched.run(spec, ["true"])
    assert done.code == 1
    assert "sluice: the component gave no output 'absent one'" in done.stderr
    assert "Traceback" not in done.stderr


@component
def nothing() -> NamedTuple("Nothing", [("text", str), ("many", list)]):
    return (None, None)


def test_kfp_reports_an_output_that_is_none(launched: Launched) -> None:
    done = launched.call(nothing)
    assert done.code == 1
    assert "want type" in done.stderr
    assert done.texts == {}


def test_the_component_has_the_environment_and_the_standard_streams_of_the_launcher(launched: Launched) -> None:
    launched.environment["GIVEN"] = "$(x) {{y}}"
    done = launched.run(launched.spec(), ["sh", "-c", 'printf %s "$GIVEN"; printf err >&2'])
    assert (done.code, done.stdout, done.stderr) == (0, "$(x) {{y}}", "err")
