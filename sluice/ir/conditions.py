"""Parse the conditions that KFP's compiler writes, which are a subset of CEL (Common Expression Language)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<input>inputs\.parameter_values\[(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)")\])
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<identifier>[A-Za-z_]\w*)
      | (?P<operator>==|!=|<=|>=|&&|\|\||[<>!()])
    )""",
    re.VERBOSE,
)
_COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
_CASTS = {"int", "double", "string", "bool"}
_KEYWORDS = {"true": True, "false": False, "null": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"} | {
    character: character for character in "\\?\"'`"
}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|[xX]([0-9a-fA-F]{2})|([0-3][0-7]{2})|(.))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    value: str | float | bool | None


@dataclass(frozen=True, slots=True)
class Input:
    """An input parameter of the task that has the condition."""

    name: str


@dataclass(frozen=True, slots=True)
class Cast:
    """``int(…)``, ``double(…)``, ``string(…)`` or ``bool(…)``."""

    to: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Not:
    """The negation of a condition, ``!``."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """A comparison, ``&&`` or ``||``."""

    operator: str
    left: Expression
    right: Expression


Expression = Literal | Input | Cast | Not | Binary
"""A condition or a part of a condition."""


def read_condition(text: str) -> Expression:
    """Parse a condition.

    Raises:
        ValueError: The condition does not belong to the subset that KFP's compiler writes. The message says where.
    """
    reader = _Reader(text)
    try:
        expression = reader.disjunction()
    except RecursionError as error:
        raise ValueError(f"the condition {text[:40]!r}… is nested too deeply") from error
    if reader.peek() is not None:
        raise ValueError(f"the condition {text!r} contains {reader.peek()!r} at a wrong position")
    return expression


class _Reader:
    """A recursive-descent parser over the tokens of a condition."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.position = 0

    def peek(self) -> str | None:
        """Return the text of the next token, or None at the end."""
        return self.tokens[self.position][1] if self.position < len(self.tokens) else None

    def take(self) -> tuple[str, str]:
        """Consume the next token and return its kind and its text."""
        if self.position >= len(self.tokens):
            raise ValueError(f"the condition {self.text!r} ends too early")
        self.position += 1
        return self.tokens[self.position - 1]

    def disjunction(self) -> Expression:
        left = self.conjunction()
        while self.peek() == "||":
            self.take()
            left = Binary("||", left, self.conjunction())
        return left

    def conjunction(self) -> Expression:
        left = self.comparison()
        while self.peek() == "&&":
            self.take()
            left = Binary("&&", left, self.comparison())
        return left

    def comparison(self) -> Expression:
        left = self.unary()
        if self.peek() in _COMPARISONS:
            return Binary(self.take()[1], left, self.unary())
        return left

    def unary(self) -> Expression:
        if self.peek() == "!":
            self.take()
            return Not(self.unary())
        return self.operand()

    def operand(self) -> Expression:
        kind, text = self.take()
        if kind == "operator" and text == "(":
            return self.parenthesised()
        if kind == "input":
            return Input(text)
        if kind == "number":
            return Literal(float(text) if re.search("[.eE]", text) else int(text))
        if kind == "text":
            return Literal(_ESCAPE.sub(self.escaped, text[1:-1]))
        if kind == "identifier" and text in _KEYWORDS:
            return Literal(_KEYWORDS[text])
        if kind == "identifier" and text in _CASTS and self.take()[1] == "(":
            return Cast(text, self.parenthesised())
        raise ValueError(f"the condition {self.text!r} contains {text!r} at a wrong position")

    def escaped(self, match: re.Match[str]) -> str:
        """Return the character for an escape sequence of CEL."""
        code = match[1] or match[2] or match[3]
        if code or match[4]:
            return chr(int(code, 16) if code else int(match[4], 8))
        if match[5] not in _ESCAPES:
            raise ValueError(f"the condition {self.text!r} contains {match[0]!r}, which is not an escape sequence of CEL")
        return _ESCAPES[match[5]]

    def parenthesised(self) -> Expression:
        inner = self.disjunction()
        if self.take()[1] != ")":
            raise ValueError(f"the condition {self.text!r} has a parenthesis that is not closed")
        return inner


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if not match:
            raise ValueError(f"the part {text[position:]!r} of the condition {text!r} cannot be read")
        kind = next(k for k in ("input", "number", "text", "identifier", "operator") if match[k] is not None)
        tokens.append((kind, (match["single"] or match["double"] or "") if kind == "input" else match[kind]))
        position = match.end()
    return tokens


def inputs_of(expression: Expression) -> list[str]:
    """Return the names of the inputs that a condition reads, in order and without repetitions."""
    match expression:
        case Input(name):
            return [name]
        case Cast(_, operand) | Not(operand):
            return inputs_of(operand)
        case Binary(_, left, right):
            return list(dict.fromkeys([*inputs_of(left), *inputs_of(right)]))
        case _:
            return []
