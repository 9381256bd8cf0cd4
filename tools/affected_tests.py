"""Select the test files that say most about a change: a pure function of the changed files and of who imports what.

The order of the selection is the order of its use: the changed tests, then the tests of exactly the changed module, then its
neighbours' tests.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias

Imports: TypeAlias = Mapping[str, Collection[str]]
"""Module → the modules that it imports."""

TestImports: TypeAlias = Mapping[PurePosixPath, Collection[str]]
"""Python file below the tests' folders, helpers and conftest.py included → the modules (or paths of helpers) that it imports."""

FEW = 5
"""A mirrored folder with at most so many test files is run as a whole."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The test files for a change.

    Attributes:
        chosen: Files to run, the most telling first.
        left_out: Files that also have to do with the change, but would take too long.
    """

    chosen: tuple[PurePosixPath, ...]
    left_out: tuple[PurePosixPath, ...]


def select_tests(changed: Collection[PurePosixPath], imports: Imports, test_imports: TestImports, most: int) -> Selection:
    """Select the test files for the changed files.

    Args:
        changed: Changed, new and deleted files, relative to the project's root.
        imports: The imports of all modules outside the tests.
        test_imports: The imports of all Python files below the tests' folders.
        most: Largest number of files to choose. Changed test files are chosen in any case.
    """
    tests = sorted(file for file in test_imports if is_test(file))
    uses = {test: set(test_imports[test]) for test in tests}
    with_helpers = {test: _with_helpers(test, test_imports) for test in tests}
    modules = {name for file in changed if (name := module_name(file))}
    importers = {importer for importer, imported in imports.items() if modules & set(imported)}
    helpers = {file for file in changed if file in test_imports and not is_test(file)}

    own = [test for test in tests if test in changed]
    namesakes = [test for test in tests if any(_is_namesake(test, file) for file in changed)]
    direct = [test for test in tests if modules & uses[test]]
    through_helpers = [test for test in tests if (modules | {str(helper) for helper in helpers}) & with_helpers[test]]
    through_conftest = [
        test for test in tests if any(file.name == "conftest.py" and file.parent in test.parents for file in helpers)
    ]
    near: set[PurePosixPath] = set()
    neighbours: list[PurePosixPath] = []
    for file in sorted(changed):
        mirrored = mirrored_tests(file, tests)
        near.update(mirrored)
        is_whole_folder = len(mirrored) <= FEW or file.suffix != ".py"
        neighbours += mirrored if is_whole_folder else [test for test in mirrored if importers & with_helpers[test]]

    near_first = sorted(direct, key=lambda test: (test not in near, len(uses[test] & set(imports))))
    ranked = tuple(dict.fromkeys([*own, *namesakes, *near_first, *through_helpers, *through_conftest, *neighbours]))
    most = max(most, len(own))
    return Selection(ranked[:most], ranked[most:])


def is_test(file: PurePosixPath) -> bool:
    """Return whether pytest collects the file."""
    return file.name.startswith("test_") and file.suffix == ".py"


def module_name(file: PurePosixPath) -> str | None:
    """Return the name of the module in a Python file, or None if the file is no module of a package."""
    if file.suffix != ".py" or file.parts[0] == "tests" or len(file.parts) == 1:
        return None
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def mirrored_tests(file: PurePosixPath, tests: Collection[PurePosixPath]) -> list[PurePosixPath]:
    """Return the test files in the folder that mirrors the file's folder, or the nearest folder above it that has a mirror.

    `tests/sluice/a/` mirrors `sluice/a/`, and `tests/churn/` mirrors `churn/`. Folders without a mirror of that kind may have one
    below `tests/sluice/`, for example `manifests/`.
    """
    if file.parts[0] == "tests":
        return []
    for folder in list(file.parents)[:-1]:
        for mirror in (PurePosixPath("tests") / folder, PurePosixPath("tests/sluice") / folder):
            if found := [test for test in tests if test.parent == mirror]:
                return found
    return []


def read_test_imports(files: Mapping[PurePosixPath, str], modules: Collection[str]) -> dict[PurePosixPath, set[str]]:
    """Read what the tests' files import.

    Args:
        files: Python file below the tests' folders → its text.
        modules: The modules outside the tests.

    Returns:
        File → names of modules, and for a helper beside the tests its path. A file that is no valid Python imports nothing.
    """
    return {file: {_resolve(name, file, files, modules) for name in _imported_names(text)} for file, text in files.items()}


def _imported_names(text: str) -> set[str]:
    """Return each imported name with dots: `from a import b` gives `a.b`."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:
        return set()
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {
        f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def _resolve(name: str, file: PurePosixPath, files: Collection[PurePosixPath], modules: Collection[str]) -> str:
    """Return the module that an imported name stands for: a module, the module that holds a function, or a helper's path."""
    if name in modules:
        return name
    parent = name.rpartition(".")[0]
    if parent in modules:
        return parent
    helper = f"{name.partition('.')[0]}.py"
    found = sorted((other for other in files if other.name == helper), key=lambda other: other.parent != file.parent)
    return str(found[0]) if found else parent or name


def _with_helpers(test: PurePosixPath, test_imports: TestImports) -> set[str]:
    """Return what a test file imports, and what the helpers that it imports import."""
    found: set[str] = set()
    waiting = [str(test)]
    while waiting:
        names = set(test_imports.get(PurePosixPath(waiting.pop()), ())) - found
        found |= names
        waiting.extend(names)
    return found


def _is_namesake(test: PurePosixPath, file: PurePosixPath) -> bool:
    """Return whether `test` is `test_c.py` in the folder that mirrors the folder of `c.py`."""
    return file.suffix == ".py" and test == PurePosixPath("tests") / file.parent / f"test_{file.name}"
