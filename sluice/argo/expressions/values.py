"""The values of a workflow, as Argo expressions that give wire JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sluice.argo.expressions.wire_json import NULL, Tag, as_wire_json, json_with_tags, literal, to_wire
from sluice.argo.refusals import InexpressibleError
from sluice.ir.graph import JSON, ParameterType
from sluice.ir.placeholders import InputParameter, Piece, RunField, describe_piece, read_text

NUMBER_MARK = "\\u0000#"
"""The beginning of a marked number, as it is written in a literal of Argo's expression language and in JSON.

A marked number is a string that holds a number which Argo's own JSON would change (see `sluice.argo.launcher`).
"""

TRUE_TEXTS = "['1', 't', 'true']"


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a workflow.

    Attributes:
        expression: An expression that gives the value as wire JSON.
        text: The text of a field that becomes the value's wire JSON: the JSON of a constant, otherwise the expression as a tag.
        maybe_null: Whether the value may be null in a run.
        is_constant: Whether the value is known when compiling.
        native: An expression that gives the value itself and is shorter than parsing its wire JSON; empty if there is none.
        is_raw: Whether the value is text that a person submitted or a container wrote. No number in it is marked.
    """

    expression: str
    text: str
    maybe_null: bool = False
    is_constant: bool = False
    native: str = ""
    is_raw: bool = False

    @property
    def parsed(self) -> str:
        """An expression that gives the value itself, for example a string, a number or a list."""
        return self.native or f"fromJSON({self.expression})"

    @property
    def is_text(self) -> bool:
        """Whether `native` gives a string for every possible value."""
        return self.is_raw and bool(self.native) and not self.native.startswith("fromJSON(")

    @property
    def is_null(self) -> bool:
        """Whether the value is known to be null when compiling."""
        return self.is_constant and self.text == NULL


def constant_value(value: JSON) -> Value:
    """Return a value that is known when compiling."""
    text = to_wire(value)
    return Value(literal(text), text, maybe_null=value is None, is_constant=True)


def runtime_value(expression: str, *, maybe_null: bool = False, native: str = "") -> Value:
    """Return a value that only the run knows.

    Args:
        expression: An expression that gives the value as wire JSON.
        maybe_null: Whether the value may be null.
        native: An expression that gives the value itself; empty if there is no short one.
    """
    return Value(expression, str(Tag(expression)), maybe_null=maybe_null, native=native)


def raw_value(text: str, kind: ParameterType, *, maybe_null: bool = False) -> Value:
    """Return a value that a container without the launcher wrote as text, or that a person submitted.

    Args:
        text: An expression that gives the text.
        kind: Declared type of the value.
        maybe_null: Whether the text may be ``null``, which stands for no value.
    """
    native = ""
    if kind is ParameterType.STRING and not maybe_null:
        native = text
    elif kind in {ParameterType.LIST, ParameterType.STRUCT, ParameterType.INTEGER, ParameterType.DOUBLE}:
        native = f"fromJSON(trim({text}))"
    found = runtime_value(wire_from_text(text, kind, null_text=maybe_null), maybe_null=maybe_null, native=native)
    return replace(found, is_raw=True)


def wire_from_text(text: str, kind: ParameterType, *, null_text: bool = False) -> str:
    """Return an expression that turns raw text into wire JSON.

    A container without the launcher writes raw text, and a person submits raw text.

    Args:
        text: An expression that gives the raw text.
        kind: Declared type of the value.
        null_text: Whether the text ``null`` stands for no value, also if the type is STRING.
    """
    if kind is ParameterType.STRING:
        quoted = as_wire_json(f"toJson({text})")
        return f"({text} == 'null' ? 'null' : {quoted})" if null_text else quoted
    if kind is ParameterType.BOOLEAN:
        given = f"(lower(trim({text})) in {TRUE_TEXTS} ? 'true' : 'false')"
        return f"({text} == 'null' ? 'null' : {given})" if null_text else given
    if kind in {ParameterType.INTEGER, ParameterType.DOUBLE}:
        return f"trim({text})"
    return as_wire_json(f"trim({text})")


def selected_part(value: Value, keys: tuple[str | int, ...]) -> Value:
    """Return a part of a structured value, for example ``["a"]["b"]`` of a loop's item."""
    part = value.parsed + "".join(f"[{key}]" if isinstance(key, int) else f"[{literal(key)}]" for key in keys)
    return runtime_value(as_wire_json(f"toJson({part})"), maybe_null=True, native=part)


_FRAGILE = "^-?([0-9]{16,}|[0-9]+[.]0|[0-9.]+e[-+]?[0-9]+)$"
"""The texts of numbers that Argo's JSON would change: more digits than a double holds, 3.0, 1e+300. In a list they are marked."""


def collected_list(aggregate: str, *, flatten: bool) -> str:
    """Return an expression that gives the outputs of a loop's iterations as one list in wire JSON.

    An iteration whose step did not run adds nothing to the list. Argo aggregates the outputs itself: it embeds them as JSON if
    all of them are objects or lists, and otherwise it gives each of them as a string.

    Args:
        aggregate: An expression that gives Argo's aggregate.
        flatten: Whether each iteration gives a list of an inner loop, and all these lists become one list.
    """
    number = f"# matches {literal(_FRAGILE)} ? '{NUMBER_MARK}' + #"
    items = f"map(fromJSON({aggregate}), {{type(#) == 'string' ? ({number} : fromJSON(#)) : #}})"
    items = f"filter({items}, {{# != nil}})"
    if flatten:
        items = f"reduce({items}, concat(#acc, #), [])"
    return as_wire_json(f"toJson({items})")


def to_items(value: Value) -> str:
    """Return an expression for ``withParam``: a list of strings, each the wire JSON of one item."""
    return f"toJson(map({value.parsed}, {{{as_wire_json('toJson(#)')}}}))"


_MARKED_NUMBER = r'(^|[^\\])"\\u0000#([^"\\]*)"'
"""A marked number inside wire JSON. A quote after a backslash belongs to a text that only looks like a marked number."""


def to_text(value: Value, kind: ParameterType) -> str:
    """Return an expression that gives the text which KFP puts into a container's argument.

    A string is itself, and every other value is JSON. Numbers have no mark.

    Args:
        value: The value.
        kind: Declared type of the value. A value of type STRING can be of any type, because KFP's compiler declares STRING for
            the items of a loop over a plain list and for the fields of an item.
    """
    if kind is ParameterType.BOOLEAN:
        return value.expression
    if kind in {ParameterType.INTEGER, ParameterType.DOUBLE}:
        return value.expression if value.is_raw else f"""trimPrefix(trim({value.expression}, '"'), '\\{NUMBER_MARK}')"""
    pattern = literal(_MARKED_NUMBER)
    unmarked = value.expression if value.is_raw else f"sprig.regexReplaceAll({pattern}, {value.expression}, '$1$2')"
    if kind is not ParameterType.STRING:
        return unmarked
    if value.is_text:
        return value.native
    return f"(type({value.parsed}) == 'string' ? {without_mark(value.parsed)} : {unmarked})"


def without_mark(parsed: str) -> str:
    """Return an expression that removes the mark from a marked number. Any other text stays as it is."""
    return f"trimPrefix({parsed}, '{NUMBER_MARK}')"


RUN_FIELDS = {
    "pipeline_job_name": "workflow.name",
    "pipeline_job_resource_name": "workflow.name",
    "pipeline_job_uuid": "workflow.uid",
    "pipeline_job_create_time_utc": "workflow.creationTimestamp.RFC3339",
}
"""Field of a run, as KFP names it → Argo's variable."""

SCHEDULED = "workflow.scheduledTime"
WORKSPACE = "/kfp-workspace"


@dataclass(frozen=True, slots=True)
class Run:
    """The facts about a run that are known when compiling.

    Attributes:
        root: URI under which the artifacts are stored.
        scheduled: Whether a CronWorkflow starts the run.
    """

    root: str
    scheduled: bool = False

    def field(self, name: str, task: str) -> str:
        """Return an expression that gives one of KFP's run fields as text.

        Args:
            name: The field, for example ``pipeline_job_name``.
            task: Name of the task that uses the field.
        """
        if name == "pipeline_task_name":
            return literal(task)
        if name == "pipeline_task_uuid":
            return f"workflow.uid + {literal('-' + task)}"
        if name == "pipeline_root":
            return literal(self.root)
        if name == "workspace_path":
            return literal(WORKSPACE)
        if name == "pipeline_job_schedule_time_utc":
            return SCHEDULED if self.scheduled else RUN_FIELDS["pipeline_job_create_time_utc"]
        return RUN_FIELDS[name]


def join_texts(parts: list[str]) -> str:
    """Return an expression that concatenates texts."""
    return " + ".join(parts) if parts else "''"


def has_placeholder(value: JSON) -> bool:
    """Return whether a constant contains a placeholder, at any depth."""
    if isinstance(value, dict):
        return any(has_placeholder(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(has_placeholder(part) for part in value)
    return isinstance(value, str) and "{{$" in value


def pieces_expression(pieces: tuple[Piece, ...], inputs: dict[str, tuple[Value, ParameterType]], run: Run, task: str) -> str:
    """Return an expression that gives the text of a constant with placeholders.

    Args:
        pieces: The texts and placeholders of the constant.
        inputs: Input parameter of the task → its value and its declared type.
        run: The facts about the run.
        task: Name of the task.

    Raises:
        InexpressibleError: The constant contains a placeholder that a constant must not contain. The message names it.
    """
    parts = []
    for piece in pieces:
        match piece:
            case str():
                parts.append(literal(piece))
            case InputParameter(name) if name in inputs:
                value, kind = inputs[name]
                parts.append(to_text(value, kind))
            case RunField(name):
                parts.append(run.field(name, task))
            case _:
                raise InexpressibleError(
                    "inputs",
                    f"a constant contains the placeholder {describe_piece(piece)}",
                    "Refer only to the task's parameters and to the run (its name, id, times). Pass artifacts as artifacts.",
                )
    return join_texts(parts)


def fill_placeholders(value: JSON, inputs: dict[str, tuple[Value, ParameterType]], run: Run, task: str) -> JSON | Tag:
    """Return a constant in which tags replace the placeholders, for `sluice.argo.expressions.wire_json.json_with_tags`."""
    if isinstance(value, dict):
        return {
            fill_placeholders(key, inputs, run, task): fill_placeholders(part, inputs, run, task) for key, part in value.items()
        }
    if isinstance(value, list):
        return [fill_placeholders(part, inputs, run, task) for part in value]
    if not has_placeholder(value):
        return value
    return Tag(as_wire_json(f"toJson({pieces_expression(read_text(value).pieces, inputs, run, task)})"))


def constant_with_placeholders(value: JSON, inputs: dict[str, tuple[Value, ParameterType]], run: Run, task: str) -> Value:
    """Return the value of a task's constant argument that contains placeholders."""
    content = fill_placeholders(value, inputs, run, task)
    if isinstance(content, Tag):
        return runtime_value(content.expression)
    return Value("", json_with_tags(content))
