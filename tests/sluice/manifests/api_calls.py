"""Read from the source code which API calls the rollout on Seldon makes."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import sluice.rollout.platforms.seldon
from sluice import kubernetes_calls
from sluice.rollout.platforms.seldon import api

KINDS = {name: kind for name, kind in (vars(kubernetes_calls) | vars(api)).items() if isinstance(kind, api.Kind)}
VERBS = {
    "get": "get",
    "list": "list",
    "create": "create",
    "merge": "patch",
    "replace": "update",
    "replace_status": "update",
    "delete": "delete",
    "scale": "patch",
    "watch": "watch",
}
"""Method of `api.Cluster` → verb of the API server."""

_SUBRESOURCES = {"replace_status": "/status", "scale": "/scale"}


@dataclass(frozen=True, order=True)
class Call:
    """One API call: the function that makes it, and the verb, group and resource that the API server sees."""

    function: str
    verb: str
    group: str
    plural: str

    @property
    def rule(self) -> tuple[str, str, str]:
        return (self.group, self.plural, self.verb)


def read_calls() -> list[Call]:
    """Return all calls in `sluice/rollout/platforms/seldon/`, except those in `api` itself."""
    found: list[Call] = []
    for path in sorted(Path(sluice.rollout.platforms.seldon.__path__[0]).rglob("*.py")):
        if path.stem == "api":
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                found += _calls_in(f"{path.stem}.{function.name}", function)
    return sorted(set(found))


def _calls_in(name: str, function: ast.FunctionDef) -> list[Call]:
    loops = {
        node.target.id: [each.id for each in node.iter.elts if isinstance(each, ast.Name)]
        for node in ast.walk(function)
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name) and isinstance(node.iter, ast.Tuple)
    }
    found = []
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS):
            continue
        if not (_is_cluster(node.func.value) and node.args and isinstance(node.args[0], ast.Name)):
            continue
        for kind in loops.get(node.args[0].id, [node.args[0].id]):
            assert kind in KINDS, f"{name}: {ast.unparse(node)} uses a kind that this test cannot read"
            resource = KINDS[kind].plural + _SUBRESOURCES.get(node.func.attr, "")
            found.append(Call(name, VERBS[node.func.attr], KINDS[kind].group, resource))
    return found


def _is_cluster(node: ast.expr) -> bool:
    """Return whether an expression is `cluster` or ends with `.cluster`."""
    return (isinstance(node, ast.Name) and node.id == "cluster") or (isinstance(node, ast.Attribute) and node.attr == "cluster")
