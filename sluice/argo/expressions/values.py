"""Values on their way through a workflow, as expressions of Argo's that give wire JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sluice.argo.expressions.wire_json import NULL, Tag, dump, literal, safe, wire
from sluice.argo.refusals import InexpressibleError
from sluice.ir.graph import JSON, ParameterType
from sluice.ir.placeholders import InputParameter, Piece, RunField, describe_piece, read_text

TAG = "\\u0000#"
"""What a tagged number begins with (see `sluice.argo.launcher`), as it stands in a literal of Argo's expressions and in JSON."""

TRUE_TEXTS = "['1', 't', 'true']"


@dataclass(frozen=True, slots=True)
class Value:
    """A value.

    Attributes:
        expression: An expression that gives it as wire JSON.
        text: A field's text that becomes its wire JSON: a constant as it is, else the expression as a tag.
        maybe_null: Whether it can turn out to be null.
        is_constant: Whether it is known when compiling.
        native: A shorter expression of the value itself than parsing its wire JSON, where there is one.
        is_raw: Whether it is text that a person submitted or a container wrote, in which no number is tagged.
    """

    expression: str
    text: str
    maybe_null: bool = False
    is_constant: bool = False
    native: str = ""
    is_raw: bool = False

    @property
    def parsed(self) -> str:
        """An expression of the value itself: a string, a number, a list."""
        return self.native or f"fromJSON({self.expression})"

    @property
    def is_text(self) -> bool:
        """Whether `native` is known to be a string, whatever the value turns out to be."""
        return self.is_raw and bool(self.native) and not self.native.startswith("fromJSON(")

    @property
    def is_null(self) -> bool:
        """Whether it is known to be null."""
        return self.is_constant and self.text == NULL


def constant(value: JSON) -> Value:
    """A value known when compiling."""
    text = wire(value)
    return Value(literal(text), text, maybe_null=value is None, is_constant=True)


def dynamic(expression: str, *, maybe_null: bool = False, native: str = "") -> Value:
    """A value known only when running; `expression` gives wire JSON, `native` the value itself."""
    return Value(expression, str(Tag(expression)), maybe_null=maybe_null, native=native)


def raw(text: str, kind: ParameterType, *, maybe_null: bool = False) -> Value:
    """A value that is text as a container wrote it or a person submitted it; `text` is an expression."""
    native = ""
    if kind is ParameterType.STRING and not maybe_null:
        native = text
    elif kind in {ParameterType.LIST, ParameterType.STRUCT, ParameterType.INTEGER, ParameterType.DOUBLE}:
        native = f"fromJSON(trim({text}))"
    found = dynamic(from_text(text, kind, null_text=maybe_null), maybe_null=maybe_null, native=native)
    return replace(found, is_raw=True)


def from_text(text: str, kind: ParameterType, *, null_text: bool = False) -> str:
    """What a container without the launcher wrote, or a person submitted, as an expression of wire JSON.

    Args:
        text: Expression of the raw text.
        kind: Declared type.
        null_text: Whether the text ``null`` stands for no value, also where the type is STRING.
    """
    if kind is ParameterType.STRING:
        quoted = safe(f"toJson({text})")
        return f"({text} == 'null' ? 'null' : {quoted})" if null_text else quoted
    if kind is ParameterType.BOOLEAN:
        given = f"(lower(trim({text})) in {TRUE_TEXTS} ? 'true' : 'false')"
        return f"({text} == 'null' ? 'null' : {given})" if null_text else given
    if kind in {ParameterType.INTEGER, ParameterType.DOUBLE}:
        return f"trim({text})"
    return safe(f"trim({text})")


def select(value: Value, keys: tuple[str | int, ...]) -> Value:
    """A part of a structured value: an item's ``["a"]["b"]``."""
    part = value.parsed + "".join(f"[{key}]" if isinstance(key, int) else f"[{literal(key)}]" for key in keys)
    return dynamic(safe(f"toJson({part})"), maybe_null=True, native=part)


_FRAGILE = "^-?([0-9]{16,}|[0-9]+[.]0|[0-9.]+e[-+]?[0-9]+)$"
"""A number's text that Argo's JSON would change: more digits than a double has, 3.0, 1e+300. In a list it is tagged."""


def collect(aggregate: str, *, flatten: bool) -> str:
    """What Argo aggregates of a loop's iterations, as a wire JSON list; an iteration whose step did not run gives nothing to it.

    Argo embeds the outputs where all are objects or lists, and gives them as strings otherwise.

    Args:
        aggregate: Expression of Argo's aggregate.
        flatten: Whether each iteration gives a list of its own loop's, to be one list with the others.
    """
    number = f"# matches {literal(_FRAGILE)} ? '{TAG}' + #"
    items = f"map(fromJSON({aggregate}), {{type(#) == 'string' ? ({number} : fromJSON(#)) : #}})"
    items = f"filter({items}, {{# != nil}})"
    if flatten:
        items = f"reduce({items}, concat(#acc, #), [])"
    return safe(f"toJson({items})")


def to_items(value: Value) -> str:
    """A list as a list of strings, each the wire JSON of one item: what a loop runs over."""
    return f"toJson(map({value.parsed}, {{{safe('toJson(#)')}}}))"


_TAGGED = r'(^|[^\\])"\\u0000#([^"\\]*)"'
"""A tagged number inside wire JSON. A quote behind a backslash is part of a text, which only looks like one."""


def to_text(value: Value, kind: ParameterType) -> str:
    """A value as the text that KFP puts into a container's argument: strings bare, everything else as JSON, numbers untagged.

    Args:
        value: The value.
        kind: Its declared type. STRING says nothing of the value: KFP's compiler declares it for whatever a loop over a plain
            list gives, and for a field of an item.
    """
    if kind is ParameterType.BOOLEAN:
        return value.expression
    if kind in {ParameterType.INTEGER, ParameterType.DOUBLE}:
        return value.expression if value.is_raw else f"""trimPrefix(trim({value.expression}, '"'), '\\{TAG}')"""
    pattern = literal(_TAGGED)
    untagged = value.expression if value.is_raw else f"sprig.regexReplaceAll({pattern}, {value.expression}, '$1$2')"
    if kind is not ParameterType.STRING:
        return untagged
    if value.is_text:
        return value.native
    return f"(type({value.parsed}) == 'string' ? {untag(value.parsed)} : {untagged})"


def untag(parsed: str) -> str:
    """A text, or a tagged number's text, out of an expression of either."""
    return f"trimPrefix({parsed}, '{TAG}')"


RUN_FIELDS = {
    "pipeline_job_name": "workflow.name",
    "pipeline_job_resource_name": "workflow.name",
    "pipeline_job_uuid": "workflow.uid",
    "pipeline_job_create_time_utc": "workflow.creationTimestamp.RFC3339",
}
"""What a run knows of itself → Argo's variable."""

SCHEDULED = "workflow.scheduledTime"
WORKSPACE = "/kfp-workspace"


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of the run when compiling.

    Attributes:
        root: Where artifacts lie, as a URI.
        scheduled: Whether a CronWorkflow starts it.
    """

    root: str
    scheduled: bool = False

    def field(self, name: str, task: str) -> str:
        """One of KFP's run fields, as an expression of its text.

        Args:
            name: The field.
            task: Name of the task that asks.
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


def join(parts: list[str]) -> str:
    """Texts one after another."""
    return " + ".join(parts) if parts else "''"


def has_placeholder(value: JSON) -> bool:
    """Whether a constant holds a placeholder anywhere."""
    if isinstance(value, dict):
        return any(has_placeholder(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(has_placeholder(part) for part in value)
    return isinstance(value, str) and "{{$" in value


def pieces_expression(pieces: tuple[Piece, ...], inputs: dict[str, tuple[Value, ParameterType]], run: Run, task: str) -> str:
    """Pieces of a constant as an expression of its text.

    Raises:
        ValueError: A placeholder stands for something that a constant cannot hold; it names it.
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
                    f"the placeholder {describe_piece(piece)} in a constant",
                    "A constant may name the task's parameters and the run (its name, id, times); give artifacts as artifacts.",
                )
    return join(parts)


def filled(value: JSON, inputs: dict[str, tuple[Value, ParameterType]], run: Run, task: str) -> JSON | Tag:
    """A constant with its placeholders as tags, to be put into JSON with `sluice.argo.wire.dump`."""
    if isinstance(value, dict):
        return {filled(key, inputs, run, task): filled(part, inputs, run, task) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, inputs, run, task) for part in value]
    if not has_placeholder(value):
        return value
    return Tag(safe(f"toJson({pieces_expression(read_text(value).pieces, inputs, run, task)})"))


def constant_with_placeholders(value: JSON, inputs: dict[str, tuple[Value, ParameterType]], run: Run, task: str) -> Value:
    """A task's constant argument that holds placeholders."""
    content = filled(value, inputs, run, task)
    if isinstance(content, Tag):
        return dynamic(content.expression)
    return Value("", dump(content))
