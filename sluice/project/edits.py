"""Change values in the text of sluice.toml, and keep its comments and its formatting.

Only the lines of the changed keys change. The result is parsed and compared with what it should be, so that a file in an unusual
form is refused and never damaged.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from sluice.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = re.compile(r"^\s*\[\s*(?P<name>[^\[\]]+?)\s*\]\s*(?:#.*)?$")
_COMMENT = re.compile(r"""^(?:"(?:\\.|[^"\\])*"|'[^']*'|[^#"'])*?(?P<comment>\s*#.*)$""")


def set_texts(text: str, table: str, values: Mapping[str, str]) -> str:
    """Set texts in one table of a TOML document.

    Args:
        text: The document.
        table: The name of the table, which must have its own header ``[table]``.
        values: Key → new text. A key that the table does not have is added after the key that comes before it in `values`.

    Returns:
        The changed document. Equal values change nothing.

    Raises:
        ConfigurationError: The table or the first key is not written in the usual form. The hint has the lines to write by hand.
    """
    wanted = tomllib.loads(text)
    wanted.setdefault(table, {}).update(values)
    lines = text.split("\n")
    place = -1
    for key, value in values.items():
        found = _find_key(lines, table, key)
        if found >= 0:
            place = found
            comment = _COMMENT.match(lines[place].partition("=")[2])
            lines[place] = f"{lines[place].partition('=')[0]}= {_write(value)}{comment['comment'] if comment else ''}"
        elif place >= 0:
            place += 1
            lines.insert(place, f"{key} = {_write(value)}")
    changed = "\n".join(lines)
    if _parse(changed) != wanted:
        by_hand = "\n".join(f"{key} = {_write(value)}" for key, value in values.items())
        raise ConfigurationError(
            f"the keys {', '.join(f'{table}.{key}' for key in values)} in sluice.toml cannot be changed automatically",
            hint=f"Write these lines into the table [{table}] yourself:\n{by_hand}",
        )
    return changed


def _find_key(lines: list[str], table: str, key: str) -> int:
    """Return the number of the line that sets a key; -1 if there is none."""
    inside = False
    for number, line in enumerate(lines):
        if header := _HEADER.match(line):
            inside = header["name"] == table
        elif inside and re.match(rf"\s*{re.escape(key)}\s*=", line):
            return number
    return -1


def _write(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parse(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
