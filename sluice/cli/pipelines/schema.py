"""`sluice schema`: the JSON Schema of sluice.toml."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from sluice.cli.options_and_output import Envelope, Format, OutputOption, show

if TYPE_CHECKING:
    from collections.abc import Iterator


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema")(schema)


def schema(output: OutputOption = Format.TABLE) -> None:
    """Print every key of sluice.toml with its type, default and meaning."""
    from rich.table import Table

    from sluice.project.settings import Settings

    document = Settings.model_json_schema()
    table = Table("key", "type", "default", "meaning", box=None, pad_edge=False)
    for row in list_keys(document):
        table.add_row(*row)
    show(output, Envelope(command="schema", outcome="done", data=document), table)


def list_keys(document: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield every key of sluice.toml from its JSON Schema: dotted name, type, default as JSON (or "required"), and meaning."""
    yield from _keys(document, document["properties"], set(document.get("required", [])), "")


def _keys(
    document: dict[str, Any], properties: dict[str, Any], required: set[str], prefix: str
) -> Iterator[tuple[str, str, str, str]]:
    for name, field in properties.items():
        reference = field.get("$ref") or next((part["$ref"] for part in field.get("allOf", []) if "$ref" in part), "")
        inner = document["$defs"].get(reference.rpartition("/")[2])
        if inner is not None and "properties" in inner:
            yield from _keys(document, inner["properties"], set(inner.get("required", [])), f"{prefix}{name}.")
        else:
            default = "[bold]required[/]" if name in required else json.dumps(field["default"])
            yield f"{prefix}{name}", str(field.get("type", "string or null")), default, field.get("description", "")
