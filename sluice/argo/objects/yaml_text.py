"""Kubernetes objects as YAML text."""

from __future__ import annotations

import re
from typing import Any

import yaml

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_yaml(document: dict[str, Any]) -> str:
    """The object as YAML: keys in their order, long texts as blocks."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True, default_flow_style=False)
    return text


class _Dumper(_DUMPER):  # type: ignore[misc]
    """Texts of several lines as blocks; nothing as an alias."""

    def ignore_aliases(self, data: object) -> bool:
        """Repeat what is repeated: an alias would tell a reader less."""
        del data
        return True


_READ_OTHERWISE = re.compile(r"^([yYnN]|[-+.]?[0-9].*)$")
"""Plain texts that Kubernetes' YAML library takes for a boolean or a number and PyYAML does not."""


def _represent_text(dumper: Any, text: str) -> Any:  # noqa: ANN401 - PyYAML has no types for these
    style = "'" if _READ_OTHERWISE.match(text) else None
    if "\n" in text and not any(line.endswith((" ", "\t")) for line in text.split("\n")):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
