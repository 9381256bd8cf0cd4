"""The values that the tests send, and the decorator of the components that compare them in their own containers."""

import functools
import os

from kfp import dsl

IMAGE = os.environ.get("SLUICE_TEST_IMAGE", "python:3.11")
SHELL = os.environ.get("SLUICE_TEST_SHELL_IMAGE", "alpine")
_HAS_KFP = "SLUICE_TEST_IMAGE" in os.environ


def samples() -> dict:
    """Texts that a template engine, a shell or a parser of JSON could take for something."""
    opening, closing = "{" * 2, "}" * 2
    names = ("workflow.name", "=1+1", "inputs.parameters.x", "$", "$.inputs.parameters['x']", "item", "retries", " ", "=")
    looks = ["null", "true", "3", "3.0", "NaN", "[1]", '{"a": 1}', "\0#1", "\0\0#1", "\u2983(", "\u2983s", "@/tmp/argo_arg_0.txt"]
    return {
        "quotes": 'a "b" \'c\' `d` \\ \\n \\u0041 \\\\" #',
        "newlines": "\n a\r\nb\tc \n\n",
        "tags": " ".join(opening + name + closing for name in names) + opening + " " + closing + opening * 2 + "=",
        "dollars": "$$ $(HOME) $HOME ${HOME} $(KUBERNETES_SERVICE_HOST) $(ARGO_NODE_ID) $$(A) $$$ $(",
        "controls": "".join(map(chr, range(1, 32))) + "\x7f\x80\x85\u2028\u2029\ufeff",
        "zero": "a\0b",
        "emoji": "\U0001f600 \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u00e9 e\u0301 \U0010ffff",
        "empty": "",
        "blank": " ",
        **{f"looks_{number}": text for number, text in enumerate(looks)},
    }


def numbers() -> dict:
    """Values whose type or last digit is easily lost."""
    deep: dict = {}
    for level in range(40):
        deep = {"level": level, "in": deep, "list": [[], {}, None, "", 2**53 + 1]}
    return {
        "whole": [0, 3, -1, 2**53 + 1, -(2**63) - 1, 10**30],
        "real": [3.0, 0.1, -0.0, 1e300, float("nan"), float("inf")],
        "mixed": [3, 3.0, 2**53 + 1, None, "", "3", True, False, [], {}, [3.0, [2**60 + 1]], {"a": 3.0, "b": None}],
        "deep": deep,
    }


def long_text() -> str:
    """200 KB of prose with templates, variables and quotes in it."""
    trap = "\u00e4 " + "{" * 2 + "x" + "}" * 2 + ' $(y) "' + "\n"
    return ("nothing to see here, " * 20 + trap) * 460


component = functools.partial(
    dsl.component, base_image=IMAGE, install_kfp_package=not _HAS_KFP, additional_funcs=[samples, numbers, long_text]
)
