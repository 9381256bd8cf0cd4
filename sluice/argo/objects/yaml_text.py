"""Kubernetes objects as YAML text."""

from __future__ import annotations

import re
from typing import Any

import yaml

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_yaml(document: dict[str, Any]) -> str:
    """Return an object as YAML. The keys keep their order, and texts of several lines are blocks."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True, default_flow_style=False)
    return text


class _Dumper(_DUMPER):  # type: ignore[misc]
    """Writes texts of several lines as blocks, and writes no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        """Write a repeated value again instead of an alias, because a person can read that more easily."""
        del data
        return True


_AMBIGUOUS = re.compile(r"^([yYnN]|[-+.]?[0-9].*)$")
"""Texts that Kubernetes' YAML library would read as a boolean or a number, although PyYAML writes them without quotes."""


def _represent_text(dumper: Any, text: str) -> Any:  # noqa: ANN401 - PyYAML has no types for these
    style = "'" if _AMBIGUOUS.match(text) else None
    if "\n" in text and not any(line.endswith((" ", "\t")) for line in text.split("\n")):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
