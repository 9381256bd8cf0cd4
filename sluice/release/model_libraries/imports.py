"""The imports of a project's own code, read from its source files without running them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def find_external_imports(root: Path, module: str) -> set[str]:
    """Return the top-level names of everything outside a folder that a module imports, itself or through others of the folder.

    Imports inside functions count, because they may run at the first request. Imports for type checkers do not. A file that
    cannot be parsed counts as one without imports, because loading the model shows its error.

    Args:
        root: The project's folder.
        module: The dotted name of a module in it.
    """
    external: set[str] = set()
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file = _find_file(root, name)
        if file is not None:
            parent = name.rpartition(".")[0]
            package = name if file.name == "__init__.py" else parent
            waiting += [*_read_imports(file, package), *([parent] if parent else [])]
        elif not _is_inside(root, name):
            external.add(name.partition(".")[0])
    return external


def _find_file(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split("."))
    for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if file.is_file():
            return file
    return None


def _is_inside(root: Path, name: str) -> bool:
    """Return whether a name that is no module is something in a module of the folder, or a folder without ``__init__.py``."""
    top = name.partition(".")[0]
    return _find_file(root, top) is not None or (root / top).is_dir()


def _read_imports(file: Path, package: str) -> Iterator[str]:
    """Yield the full names of what a file imports. A name that is imported from a module may itself be a module."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in _walk_executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _resolve(node, package)
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _resolve(node: ast.ImportFrom, package: str) -> str:
    """Return the full name of the module that something is imported from; empty if it lies above the folder."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    kept = parts[: len(parts) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])]) if kept and kept[0] else ""


def _walk_executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every node below, except those in the bodies of ``if TYPE_CHECKING:``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for other in child.orelse:
                yield other
                yield from _walk_executed(other)
            continue
        yield child
        yield from _walk_executed(child)
