"""Wire JSON: how a value looks while it is an Argo parameter, and how static JSON and Argo's expressions are put together.

Wire JSON is JSON in ASCII in which ``{{`` and ``$`` appear only as escapes, so that no value is ever taken for a template by
Argo or for a variable by Kubernetes. The launcher in a step's pod writes the same form (`sluice.argo.launcher`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.argo import launcher

if TYPE_CHECKING:
    from sluice.ir.graph import JSON

NULL = "null"
_LAUNCHER: Any = launcher
_MARK = "# --- launcher\n"
_BRACES = re.compile(r"\}(?=\}|$)")
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "{": "\\u007b", "}": "\\u007d"})


@dataclass(frozen=True, slots=True)
class Tag:
    """An expression of Argo's (expr-lang) that gives a text, to be put into a field.

    Attributes:
        expression: The expression.
        quoted: Whether the text is to become a JSON string, where it stands in JSON; else it is JSON already.
    """

    expression: str
    quoted: bool = False

    def __str__(self) -> str:
        """The field's text. Argo ends an expression at its first two closing braces."""
        return "{{=" + _BRACES.sub("} ", self.expression) + "}}"


@dataclass(frozen=True, slots=True)
class Markup:
    """Text with Argo's simple tags in it (``{{pod.name}}``), which stands in JSON as a string; it holds nothing to be escaped."""

    text: str


def wire(value: JSON) -> str:
    """A constant as wire JSON."""
    if isinstance(value, str) and value.isascii() and value.isprintable() and not set(value) & set('\\"{$\x7f'):
        return f'"{value}"'  # most of them; the same text as below
    return str(_LAUNCHER.wire(value, isinstance(value, dict | list)))


def dump(value: JSON | Tag | Markup) -> str:
    """Static JSON with tags in it, as text: each tag stands where its value will be."""
    if isinstance(value, Tag):
        return f'"{value}"' if value.quoted else str(value)
    if isinstance(value, Markup):
        return f'"{value.text}"'
    if isinstance(value, dict):
        # A space keeps the brace apart from a tag's own two.
        entries = (f"{f' {dump(key)}' if isinstance(key, Tag) else wire(key)}: {dump(each)}" for key, each in value.items())
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(dump(each) for each in value) + "]"
    return wire(value)


def literal(text: str) -> str:
    """A text as a literal of Argo's expressions."""
    return "'" + text.translate(_ESCAPES) + "'"


def plain(text: str) -> str:
    """A text that must reach a field unchanged: as it is, or as an expression where Argo would see a tag in it."""
    return str(Tag(literal(text))) if "{{" in text else text


def safe(expression: str) -> str:
    """An expression that gives JSON, made to give wire JSON."""
    return f"replace(replace({expression}, '\\u007b\\u007b', '\\\\u007b\\\\u007b'), '$', '\\\\u0024')"


def escape_argument(argument: str) -> str:
    """An argument as the launcher undoes it: nothing in it is a tag to Argo or a variable to Kubernetes.

    ``{{$}}`` alone becomes ``{$}``. Elsewhere ``⦃`` is the escape: ``⦃(`` for two opening braces, ``⦃s`` for a dollar sign.
    """
    if argument == "{{$}}":
        return "{$}"
    if argument == "{$}":
        return "{⦃s}"
    text = argument.replace("⦃", "⦃⦃") if "⦃" in argument else argument
    text = text.replace("{{", "⦃(")
    return text.replace("$$", "⦃s⦃s").replace("$(", "⦃s(") if "$$" in text or _names_variable(text) else text


def _names_variable(text: str) -> bool:
    """Whether Kubernetes would look a variable up: ``$(NAME)``. A shell's ``$(command -v pip)`` is none, it has a space."""
    parts = text.split("$(")[1:]
    return any(part.partition(")")[0].replace("-", "_").replace(".", "_").isidentifier() for part in parts)


@cache
def launcher_text() -> str:
    """The launcher as a container gets it."""
    return Path(launcher.__file__).read_text(encoding="utf-8").partition(_MARK)[2].strip() + "\n\nmain()\n"


def parse_json(text: str) -> JSON:
    """Wire JSON back to a value."""
    return _LAUNCHER.decode(json.loads(text))
