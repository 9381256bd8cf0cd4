"""The tree behind the flat list of nodes in a run that the KFP API returns. Pure functions.

KFP runs a pipeline as an Argo Workflow, and its API lists the workflow's nodes (``run_details.task_details``). Their names are
not unique: each attempt of a retried step, each driver and each container is a node too. A node lists the ids of the nodes that
come next, inside it or after it, but the API does not tell a node's own id. An id is the name of the workflow and the FNV-1a hash
of the node's full name, though, and a full name is that of the enclosing node and the node's own. So the tree follows from the
names. Seen with KFP 2.17.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_ATTEMPT = re.compile(r"\(\d+\)")
_OFFSET, _PRIME = 2166136261, 16777619


@dataclass(slots=True)
class Node:
    """A node of a run.

    Attributes:
        id: Its id in the workflow: the workflow's name and a number.
        name: The name that the API shows.
        full_name: The names from the root to it.
        fields: What the API says about it.
        children: The nodes inside it.
        suffix: The end of its name that tells attempts and items of a loop apart, for example ``(0)``; empty if there is none.
    """

    id: str
    name: str
    full_name: str
    suffix: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    @property
    def attempts(self) -> list[Node]:
        """The attempts of a step that may be retried, in their order; empty if it may not."""
        return [child for child in self.children if _ATTEMPT.fullmatch(child.suffix)]

    @property
    def parts(self) -> list[Node]:
        """The nodes inside it: those of its last attempt, if it may be retried."""
        return self.attempts[-1].parts if self.attempts else self.children

    def walk(self) -> Iterator[Node]:
        """Yield the node and all nodes inside it, of attempts only what is inside the last one."""
        yield self
        for part in self.parts:
            yield from part.walk()


def build_tree(details: Sequence[Mapping[str, Any]]) -> Node | None:
    """Build the tree of a run's nodes.

    Args:
        details: The nodes as the API returns them, with ``display_name`` and ``child_tasks``.

    Returns:
        The root; None if the list has none, as before the run has begun.
    """
    next_ids = {child for node in details for child in _next_of(node)}
    names = {str(node.get("display_name") or "") for node in details} - {""}
    workflow = next((name for name in names if any(child.rpartition("-")[0] == name for child in next_ids)), "")
    if not workflow:
        return None
    nodes = {workflow: Node(id=workflow, name=workflow, full_name=workflow)}
    _find_below(nodes[workflow], workflow, _hash(workflow.encode()), sorted(names), next_ids, nodes)
    _assign(details, list(nodes.values()))
    return nodes[workflow]


def _find_below(node: Node, workflow: str, hashed: int, names: Iterable[str], ids: set[str], nodes: dict[str, Node]) -> None:
    """Find the nodes inside a node: those whose full name has an id that the run has."""
    for name in names:
        rest = name.removeprefix(node.name) if name != node.name else ""
        suffix = rest if rest != name and rest.startswith("(") and rest.endswith(")") else ""
        for end, own in (("." + name, ""), (suffix, suffix)):
            if not end:
                continue
            below = _hash(end.encode(), hashed)
            found = f"{workflow}-{below}"
            if found in ids and found not in nodes:
                nodes[found] = Node(id=found, name=name, full_name=node.full_name + end, suffix=own)
                node.children.append(nodes[found])
                _find_below(nodes[found], workflow, below, names, ids, nodes)


def _assign(details: Sequence[Mapping[str, Any]], nodes: Sequence[Node]) -> None:
    """Give each node what the API says about it, and sort the parts of each node by their start.

    Of several nodes with one name, the nodes that come next say which is which. Nodes without any are the pods of steps that have
    the same name, and they are assigned in order.
    """
    full_names = {node.id: node.full_name for node in nodes}
    left = list(nodes)
    ordered = sorted(details, key=lambda one: (not _next_of(one), str(one.get("start_time") or "")))
    for fields in ordered:
        followers = [full_names[child] for child in _next_of(fields) if child in full_names]
        named = [node for node in left if node.name == fields.get("display_name")]
        fitting = [node for node in named if all(_may_follow(node.full_name, each) for each in followers)]
        if chosen := next(iter(fitting), None):
            chosen.fields = fields
            left.remove(chosen)
    for node in nodes:
        node.children.sort(key=lambda child: (str(child.fields.get("start_time") or "~"), len(child.suffix), child.suffix))


def _may_follow(full_name: str, follower: str) -> bool:
    """Return whether a node may be the next one: it is inside the other, or beside it."""
    inside = follower.startswith((full_name + ".", full_name + "("))
    return inside or follower.rpartition(".")[0] == full_name.rpartition(".")[0]


def _next_of(fields: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(child.get("pod_name")) for child in fields.get("child_tasks") or ())


def _hash(text: bytes, state: int = _OFFSET) -> int:
    """Return the 32-bit FNV-1a hash of a text, or of a longer one whose beginning has the hash `state`."""
    for byte in text:
        state = ((state ^ byte) * _PRIME) & 0xFFFFFFFF
    return state
