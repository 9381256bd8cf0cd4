"""Check the structure of the code: imports without cycles, small folders and files, module names that say something.

Run ``python tools/structure.py``. It prints each problem with what to do about it and exits with code 1. If there is none, it
prints one line that says what it checked. The limits and their exceptions are in `pyproject.toml`, `[tool.sluice.structure]`.

The tree decides what is checked. Each top-level folder with an `__init__.py` is a package, and grimp reads the imports of all of
them: those inside functions and those under `TYPE_CHECKING` too. Nothing is imported or run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

import grimp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a plain script finds only the modules beside it

from tools.import_cycles import check_module_cycles, check_package_cycles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Files: TypeAlias = Mapping[PurePosixPath, int]
    """Python file, relative to the project's root → its number of lines."""

ROOT = Path(__file__).resolve().parent.parent
TABLE = "[tool.sluice.structure]"
"""The rules' table in `pyproject.toml`."""

NOT_COUNTED = ("__init__.py", "conftest.py")
"""Files that do not count towards a folder's size: each folder needs its own."""


class StructureError(Exception):
    """The structure cannot be checked, because its settings or the tree are not as they must be."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """An exception from a size limit.

    Attributes:
        path: Folder (for a number of modules) or file (for a number of lines), relative to the project's root.
        limit: The limit that holds for this path instead of the general one.
        reason: Why the path may be larger.
    """

    path: PurePosixPath
    limit: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What `[tool.sluice.structure]` says.

    Attributes:
        modules_in_a_folder: Largest number of Python modules in one folder.
        lines_in_a_file: Largest number of lines in one Python file.
        not_packages: Top-level folders whose Python files are no package. Their sizes are checked, their imports are not.
        forbidden_names: Names of modules and packages that say nothing about what belongs there.
        names_checked_in: Packages in which no module may have such a name.
        allowances: Exceptions from the size limits.
    """

    modules_in_a_folder: int
    lines_in_a_file: int
    not_packages: tuple[str, ...] = ()
    forbidden_names: tuple[str, ...] = ()
    names_checked_in: tuple[str, ...] = ()
    allowances: tuple[Allowance, ...] = field(default=())


def read_rules(pyproject: Path) -> Rules:
    """Read the rules.

    Raises:
        StructureError: The table is missing or has an unknown key, or an exception has no reason.
    """
    document = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    table = document.get("tool", {}).get("sluice", {}).get("structure")
    if table is None:
        raise StructureError(f"{pyproject.name} has no table {TABLE}. Add it with the limits.")
    try:
        allowances = tuple(
            Allowance(PurePosixPath(entry["path"]), int(entry["limit"]), str(entry["reason"]).strip())
            for entry in table.get("exceptions", [])
        )
        lists = {key: tuple(table.get(key, ())) for key in ("not_packages", "forbidden_names", "names_checked_in")}
        rules = Rules(table["modules_in_a_folder"], table["lines_in_a_file"], **lists, allowances=allowances)
    except KeyError as error:
        raise StructureError(f"{TABLE} or one of its exceptions lacks the key {error}. Add it.") from error
    unknown = set(table) - {"modules_in_a_folder", "lines_in_a_file", "exceptions", *lists}
    if unknown:
        raise StructureError(f"{TABLE} has unknown keys: {', '.join(sorted(unknown))}. Remove or correct them.")
    for allowance in rules.allowances:
        if not allowance.reason:
            raise StructureError(f"The exception for {allowance.path} has no reason. Write down why it may be larger.")
    return rules


# --- Reading the tree ---------------------------------------------------------------------------------------------------------


def read_files(root: Path) -> dict[PurePosixPath, int]:
    """Return every Python file below `root` with its number of lines. Hidden folders and linked folders are left out.

    So are virtual environments, which are other people's code.
    """
    found = {}
    for name, folders, files in os.walk(root):
        folders[:] = sorted(
            folder
            for folder in folders
            if not folder.startswith(".") and folder != "__pycache__" and not Path(name, folder, "pyvenv.cfg").exists()
        )
        for file in files:
            if file.endswith(".py"):
                path = Path(name, file)
                found[PurePosixPath(path.relative_to(root))] = len(path.read_bytes().splitlines())
    return found


def find_packages(files: Iterable[PurePosixPath]) -> list[str]:
    """Return the names of the top-level packages: folders with an `__init__.py`."""
    return sorted(file.parts[0] for file in files if len(file.parts) == 2 and file.name == "__init__.py")  # noqa: PLR2004 - folder/file


def read_imports(root: Path, packages: Sequence[str]) -> dict[str, dict[str, int]]:
    """Read which module imports which, among all modules of the packages. Each module is a key, even if it imports nothing.

    Raises:
        StructureError: Python finds a package of that name outside `root`, so that another tree would be checked.
    """
    if not packages:
        return {}
    with _first_on_the_path(root):
        for package in packages:
            spec = find_spec(package)
            places = spec.submodule_search_locations if spec else None
            if not places or Path(next(iter(places))).resolve() != (root / package).resolve():
                raise StructureError(
                    f"Python finds the package {package} outside {root}. Run this script in a process of its own."
                )
        graph = grimp.build_graph(*packages, cache_dir=None)
    return {
        importer: {
            imported: graph.get_import_details(importer=importer, imported=imported)[0]["line_number"]
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
        }
        for importer in sorted(graph.modules)
    }


@contextmanager
def _first_on_the_path(root: Path) -> Iterator[None]:
    """Let Python look for packages in `root` first."""
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root))


# --- Sizes and names ----------------------------------------------------------------------------------------------------------


def count_modules(files: Iterable[PurePosixPath]) -> dict[PurePosixPath, int]:
    """Return each folder with the number of Python modules directly in it."""
    counts: dict[PurePosixPath, int] = {}
    for file in files:
        counts[file.parent] = counts.get(file.parent, 0) + (file.name not in NOT_COUNTED)
    return counts


def check_sizes(files: Files, rules: Rules) -> list[str]:
    """Return a problem for each folder and each file above its limit."""
    allowed = {allowance.path: allowance.limit for allowance in rules.allowances}
    problems = []
    for folder, count in sorted(count_modules(files).items()):
        limit = allowed.get(folder, rules.modules_in_a_folder)
        if count > limit:
            problems.append(
                f"The folder {folder} has {count} Python modules; the limit is {limit}. "
                "Group the modules that belong together into subfolders."
            )
    for file, lines in sorted(files.items()):
        limit = allowed.get(file, rules.lines_in_a_file)
        if lines > limit:
            problems.append(
                f"The file {file} has {lines} lines; the limit is {limit}. Split it into modules with one subject each."
            )
    return problems


def check_allowances(files: Files, rules: Rules) -> list[str]:
    """Return a problem for each exception that is no longer needed."""
    folders = count_modules(files)
    problems = []
    for allowance in rules.allowances:
        if allowance.path in files:
            size, limit, unit = files[allowance.path], rules.lines_in_a_file, "lines"
        elif allowance.path in folders:
            size, limit, unit = folders[allowance.path], rules.modules_in_a_folder, "Python modules"
        else:
            problems.append(f"An exception names {allowance.path}, where there is no Python code. Remove it from {TABLE}.")
            continue
        if size <= limit:
            problems.append(
                f"{allowance.path} has {size} {unit}, which is within the general limit of {limit}. "
                f"Its exception is no longer needed. Remove it from {TABLE}."
            )
    return problems


def check_names(files: Iterable[PurePosixPath], rules: Rules) -> list[str]:
    """Return a problem for each module and each package whose name says nothing about what belongs there."""
    named = {file.parent if file.name == "__init__.py" else file for file in files}
    return [
        f"The name of {path} does not say what belongs there. Name it after its contents ({path.stem} is in forbidden_names)."
        for path in sorted(named)
        if path.parts and path.parts[0] in rules.names_checked_in and path.stem in rules.forbidden_names
    ]


def check_coverage(files: Iterable[PurePosixPath], rules: Rules) -> list[str]:
    """Return a problem for each folder whose imports the checks cannot see, because it has modules but no `__init__.py`."""
    folders = {file.parent for file in files if file.parent.parts and file.parts[0] not in rules.not_packages}
    packages = {file.parent for file in files if file.name == "__init__.py"}
    return [
        f"The folder {folder} has Python modules but no __init__.py, so no check sees their imports. "
        f"Add an __init__.py that says what belongs there, or list the top-level folder under not_packages in {TABLE}."
        for folder in sorted(folders - packages)
    ]


# --- All of it ----------------------------------------------------------------------------------------------------------------


def check_structure(root: Path) -> tuple[list[str], str]:
    """Check the tree below `root`.

    Returns:
        The problems, and a line that says what was checked.

    Raises:
        StructureError: The structure cannot be checked.
    """
    rules = read_rules(root / "pyproject.toml")
    files = read_files(root)
    packages = [package for package in find_packages(files) if package not in rules.not_packages]
    imports = read_imports(root, packages)
    problems = [
        *check_coverage(files, rules),
        *check_module_cycles(imports),
        *check_package_cycles(imports),
        *check_sizes(files, rules),
        *check_allowances(files, rules),
        *check_names(files, rules),
    ]
    edges = sum(map(len, imports.values()))
    folders = len(count_modules(files))
    checked = f"{len(imports)} modules and {edges} imports in {len(packages)} packages, {len(files)} files in {folders} folders"
    return problems, checked


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the problems and return the exit code: 0 without problems, 1 with some, 2 if the check cannot run."""
    parser = argparse.ArgumentParser(description="Check imports for cycles, and the sizes and names of folders and files.")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's root")
    try:
        problems, checked = check_structure(parser.parse_args(arguments).root)
    except StructureError as error:
        sys.stderr.write(f"structure: {error}\n")
        return 2
    for problem in problems:
        sys.stdout.write(f"- {problem}\n")
    if problems:
        sys.stdout.write(f"structure: {len(problems)} problem{'s' if len(problems) > 1 else ''} ({checked}).\n")
        return 1
    sys.stdout.write(f"structure: no problem ({checked}).\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
