"""Wire JSON, and the texts that combine JSON with Argo's expressions.

A value is wire JSON while it is an Argo parameter. Wire JSON is JSON in ASCII in which ``{{`` and ``$`` appear only as escapes.
Therefore Argo never takes a value for a template, and Kubernetes never takes it for a variable. The launcher in a step's pod
(`sluice.argo.launcher`) writes the same form.
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
_LAUNCHER_START = "# --- launcher\n"
_BRACES = re.compile(r"\}(?=\}|$)")
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "{": "\\u007b", "}": "\\u007d"})


@dataclass(frozen=True, slots=True)
class Tag:
    """An Argo expression tag: ``{{=expression}}`` in a field. Argo replaces it by the text that the expression gives.

    Attributes:
        expression: The expression, in Argo's expression language (expr-lang).
        quoted: Whether the text becomes a JSON string where the tag is part of JSON. If not, the text is JSON already.
    """

    expression: str
    quoted: bool = False

    def __str__(self) -> str:
        """Return the text of the tag. Two closing braces inside are separated, because Argo ends the tag at the first two."""
        return "{{=" + _BRACES.sub("} ", self.expression) + "}}"


@dataclass(frozen=True, slots=True)
class TextWithTags:
    """A text with Argo's simple tags, for example ``{{pod.name}}``.

    In JSON it is a string. It must not contain characters that JSON escapes.
    """

    text: str


def to_wire(value: JSON) -> str:
    """Return a constant as wire JSON."""
    if isinstance(value, str) and value.isascii() and value.isprintable() and not set(value) & set('\\"{$\x7f'):
        return f'"{value}"'  # A shortcut for most texts. The general case below gives the same result.
    return str(_LAUNCHER.wire(value, isinstance(value, dict | list)))


def json_with_tags(value: JSON | Tag | TextWithTags) -> str:
    """Return JSON text in which each tag stands in the place of its value."""
    if isinstance(value, Tag):
        return f'"{value}"' if value.quoted else str(value)
    if isinstance(value, TextWithTags):
        return f'"{value.text}"'
    if isinstance(value, dict):
        # A space separates the object's own brace from the two braces of a tag.
        entries = (
            f"{f' {json_with_tags(key)}' if isinstance(key, Tag) else to_wire(key)}: {json_with_tags(each)}"
            for key, each in value.items()
        )
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(json_with_tags(each) for each in value) + "]"
    return to_wire(value)


def literal(text: str) -> str:
    """Return a text as a string literal of Argo's expression language."""
    return "'" + text.translate(_ESCAPES) + "'"


def escape_tags(text: str) -> str:
    """Return a field's text that Argo leaves unchanged.

    A text with ``{{`` becomes an expression tag that gives this text. Any other text stays as it is.
    """
    return str(Tag(literal(text))) if "{{" in text else text


def as_wire_json(expression: str) -> str:
    """Return an expression that gives the JSON of another expression as wire JSON."""
    return f"replace(replace({expression}, '\\u007b\\u007b', '\\\\u007b\\\\u007b'), '$', '\\\\u0024')"


def escape_argument(argument: str) -> str:
    """Escape an argument for the launcher, so that Argo finds no tag in it and Kubernetes no variable.

    The launcher undoes the escapes. ``{{$}}`` alone becomes ``{$}``. Elsewhere ``⦃(`` stands for two opening braces, ``⦃s`` for a
    dollar sign, and ``⦃⦃`` for ``⦃`` itself.
    """
    if argument == "{{$}}":
        return "{$}"
    if argument == "{$}":
        return "{⦃s}"
    text = argument.replace("⦃", "⦃⦃") if "⦃" in argument else argument
    text = text.replace("{{", "⦃(")
    return text.replace("$$", "⦃s⦃s").replace("$(", "⦃s(") if "$$" in text or _names_variable(text) else text


def _names_variable(text: str) -> bool:
    """Return whether Kubernetes would replace a variable, ``$(NAME)``.

    A shell's ``$(command -v pip)`` is not a variable, because it contains a space.
    """
    parts = text.split("$(")[1:]
    return any(part.partition(")")[0].replace("-", "_").replace(".", "_").isidentifier() for part in parts)


@cache
def launcher_text() -> str:
    """Return the launcher's text as a step's container gets it."""
    return Path(launcher.__file__).read_text(encoding="utf-8").partition(_LAUNCHER_START)[2].strip() + "\n\nmain()\n"


def from_wire(text: str) -> JSON:
    """Return the value of a wire JSON text."""
    return _LAUNCHER.decode(json.loads(text))
