"""Write docs/modelrollout.md from the schemas in manifests/crds: `python tools/kinds_reference.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "modelrollout.md"
KINDS = ("modelrollouts", "rolloutapprovals")
BEGINNING = """# ModelRollout and RolloutApproval

These are the two kinds of `manifests/crds`. [rollout.md](rollout.md#requests-and-approvals) explains how they are used, and
[cluster.md](cluster.md#who-may-approve) who may write what. This page is made from the schemas by
`python tools/kinds_reference.py`.
"""


def build_page() -> str:
    """Return the whole page as Markdown."""
    return BEGINNING + "".join(_describe_kind(name) for name in KINDS)


def _describe_kind(name: str) -> str:
    definition = yaml.safe_load((ROOT / "manifests" / "crds" / f"{name}.yaml").read_text(encoding="utf-8"))["spec"]
    (version,) = definition["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    columns = ", ".join(column["name"] for column in version["additionalPrinterColumns"])
    lines = [
        f"\n## {definition['names']['kind']}\n",
        f"`{definition['group']}/{version['name']}`, short name `{definition['names']['shortNames'][0]}`.\n",
        f"{schema['description']}\n",
        f"`kubectl get {name}` prints these columns: {columns} (those with priority 1 with `-o wide`).\n",
        "| field | type | meaning |",
        "|---|---|---|",
        *(_describe_field(path, found, required=required) for path, found, required in _list_fields(schema, "")),
    ]
    rules = list(_list_rules(schema))
    lines += ["\nThe API server also checks:\n", *(f"- {rule[0].upper()}{rule[1:]}." for rule in rules)] if rules else []
    return "\n".join(lines) + "\n"


def _list_fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield each field below spec and status with its path, its schema, and whether it is required."""
    for name, found in schema.get("properties", {}).items():
        if not path and name not in {"spec", "status"}:
            continue
        own = f"{path}.{name}" if path else name
        yield own, found, name in schema.get("required", [])
        yield from _list_fields(found, own)
        yield from _list_fields(found.get("items", {}), f"{own}[]")


def _describe_field(path: str, found: dict[str, Any], *, required: bool) -> str:
    kind = found["type"] + (f" of {found['items']['type']}s" if "items" in found else "")
    limits = [f"{word} {found[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in found]
    limits += [f"at most {found['maxLength']} characters"] if "maxLength" in found else []
    limits += ["one of " + ", ".join(map(str, found["enum"]))] if "enum" in found else []
    limits += ["required"] if required else []
    text = " ".join(str(found.get("description", "")).split())
    return f"| `{path}` | {kind} | {text}{' (' + '; '.join(limits) + ')' if limits else ''} |"


def _list_rules(schema: dict[str, Any]) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", []):
        yield rule["message"]
    for found in schema.get("properties", {}).values():
        yield from _list_rules(found)


if __name__ == "__main__":
    PAGE.write_text(build_page(), encoding="utf-8")
