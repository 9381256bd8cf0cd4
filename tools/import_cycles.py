"""Find import cycles in graphs of modules: between modules, and between the direct children of each package.

All functions are pure; `tools.structure` reads the graph.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    Imports: TypeAlias = Mapping[str, Mapping[str, int]]
    """Importing module → imported module → line of the first such import."""

    Edges: TypeAlias = Mapping[str, Collection[str]]
    """A directed graph: node → the nodes it points to."""


def find_cycles(edges: Edges) -> list[list[str]]:
    """Return one shortest cycle for each group of nodes that reach each other.

    A cycle begins with the node that comes first in the alphabet. The result is empty if there is no cycle. Once the shortest
    cycle of a group is resolved, the next call shows what is left.
    """
    cycles = []
    for group in _find_groups(edges):
        inside = {node: sorted(set(edges.get(node, ())) & group) for node in sorted(group)}
        shortest = min((_shortest_way_back(inside, node) for node in inside), key=lambda cycle: (len(cycle), cycle))
        first = shortest.index(min(shortest))
        cycles.append(shortest[first:] + shortest[:first])
    return sorted(cycles)


def _find_groups(edges: Edges) -> list[set[str]]:
    """Return the sets of two and more nodes that reach each other (strongly connected components, by Kosaraju's algorithm)."""
    backwards: dict[str, set[str]] = {}
    for node, targets in edges.items():
        for target in targets:
            backwards.setdefault(target, set()).add(node)
    finished: dict[str, None] = {}
    for start in sorted(edges):
        _visit(edges, start, finished)
    groups = []
    placed: dict[str, None] = {}
    for start in reversed(list(finished)):
        before = len(placed)
        _visit(backwards, start, placed)
        group = set(list(placed)[before:])
        if len(group) > 1:
            groups.append(group)
    return groups


def _visit(edges: Edges, start: str, finished: dict[str, None]) -> None:
    """Add to `finished` each new node that `start` reaches, in the order in which a depth-first search leaves it."""
    entered = set(finished)
    stack = [(start, False)]
    while stack:
        node, is_done = stack.pop()
        if is_done:
            finished[node] = None
        elif node not in entered:
            entered.add(node)
            stack.append((node, True))
            stack.extend((target, False) for target in sorted(edges.get(node, ()), reverse=True) if target not in entered)


def _shortest_way_back(edges: Edges, start: str) -> list[str]:
    """Return the nodes of a shortest cycle through `start`. The node must be on a cycle."""
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for target in edges.get(node, ()):
            if target == start:
                way = [node]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if target not in came_from:
                came_from[target] = node
                queue.append(target)
    raise ValueError(f"{start} is on no cycle")


def merge_into_children(imports: Imports, parent: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Return the graph of a package's direct children, into which their descendants are merged.

    Args:
        imports: The imports of all modules.
        parent: The package, or "" for the top level, whose children are the top-level packages.

    Returns:
        Child → child that it imports → one example: the importing and the imported module.
    """
    prefix = f"{parent}." if parent else ""

    def child(module: str) -> str | None:
        return prefix + module.removeprefix(prefix).split(".")[0] if module.startswith(prefix) else None

    merged: dict[str, dict[str, tuple[str, str]]] = {}
    for importer, targets in imports.items():
        source = child(importer)
        for imported in targets:
            target = child(imported)
            if source and target and source != target:
                merged.setdefault(source, {}).setdefault(target, (importer, imported))
    return merged


def check_module_cycles(imports: Imports) -> list[str]:
    """Return a problem for each group of modules that import each other."""
    problems = []
    for cycle in find_cycles(imports):
        steps = [f"{importer} imports {imported} (line {imports[importer][imported]})" for importer, imported in _pairs(cycle)]
        problems.append(
            f"Import cycle between {len(cycle)} modules: {_chain(cycle)}. {_join(steps)}. "
            "Move what they share into a module below them, or pass it as an argument."
        )
    return problems


def check_package_cycles(imports: Imports) -> list[str]:
    """Return a problem for each package whose direct children import each other.

    Each child stands for all modules below it. This function leaves out a cycle of plain modules, because `check_module_cycles`
    reports it.
    """
    packages = {module.rpartition(".")[0] for module in imports} - {""}
    problems = []
    for parent in ["", *sorted(packages)]:
        merged = merge_into_children(imports, parent)
        for cycle in find_cycles(merged):
            if packages.isdisjoint(cycle):
                continue
            examples = [merged[source][target] for source, target in _pairs(cycle)]
            steps = [f"{importer} imports {imported} (line {imports[importer][imported]})" for importer, imported in examples]
            where = f"inside {parent}" if parent else "between the top-level packages"
            problems.append(
                f"Package cycle {where}: {_chain(cycle)}. For example, {_join(steps)}. "
                "Decide which of them is the lower one, and move what it imports from above down into it."
            )
    return problems


def _pairs(cycle: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Return each node of a cycle with its successor."""
    return zip(cycle, [*cycle[1:], cycle[0]], strict=True)


def _chain(cycle: Sequence[str]) -> str:
    return " → ".join([*cycle, cycle[0]])


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
