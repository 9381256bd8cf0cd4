"""The libraries that a model's process can load: those that the project's code imports, and everything that they require.

A process of the serving environment can load only what that environment contains. So what its lock does not name is left out,
for example a library that only the project's loader of training data imports.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement

from sluice.release.fingerprint import LIBRARIES, normalize_name, read_fingerprint
from sluice.release.model_libraries.imports import find_external_imports

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sluice.project.projects import Project

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\\n]+))?", re.MULTILINE)


def read_training_fingerprint(project: Project) -> dict[str, Any]:
    """Read the fingerprint of this environment, with every library that the project's model can load where it is served.

    Its form is that of `sluice.release.fingerprint.read_fingerprint`.
    """
    return read_fingerprint(find_model_libraries(project))


def find_model_libraries(project: Project) -> list[str]:
    """Return the names of the libraries that the model's process can load, sorted.

    They are `LIBRARIES`, those that the module of ``model.build`` and the modules of the project below it import, and all that
    these require, as far as the serving lock names them.
    """
    module = project.settings.model.build.partition(":")[0]
    imported = find_external_imports(project.root, module)
    owners = _list_owners()
    roots = {owner for top in imported for owner in owners.get(top, ())}
    locked = read_locked_versions(project)
    return sorted({*LIBRARIES, *(name for name in complete_requirements({*LIBRARIES, *roots}) if name in locked)})


def complete_requirements(names: Iterable[str]) -> set[str]:
    """Return libraries with everything that they require in this environment. Extras do not count."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _list_requirements(name)
    return found


def read_locked_versions(project: Project) -> dict[str, str]:
    """Return the versions that the serving lock names for this Python and this system; nothing if there is no such file."""
    try:
        text = project.path(project.settings.serving.lock).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return parse_locked_versions(text)


def parse_locked_versions(text: str) -> dict[str, str]:
    """Return the versions in the text of a lock. Pure, except that this environment decides about the markers."""
    return {normalize_name(name): version for name, version, marker in _PINNED.findall(text) if _applies(marker)}


def compare_with_lock(libraries: Mapping[str, str], locked: Mapping[str, str]) -> list[str]:
    """Return the libraries whose version differs from the serving lock's, one sentence each. Pure.

    Args:
        libraries: The versions in the fingerprint of the training environment.
        locked: The versions in the serving lock. What it does not name is not compared.
    """
    return [
        f"{name} is {version}, but the serving lock has {locked[name]}"
        for name, version in sorted(libraries.items())
        if locked.get(name, version) != version
    ]


def _applies(marker: str) -> bool:
    try:
        return not marker.strip() or Marker(marker.strip()).evaluate()
    except InvalidMarker:
        return True


@cache
def _list_owners() -> dict[str, list[str]]:
    """Return top-level package → the names of the libraries that contain it."""
    return {top: [normalize_name(name) for name in names] for top, names in metadata.packages_distributions().items()}


@cache
def _list_requirements(name: str) -> tuple[str, ...]:
    try:
        texts = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return ()
    return tuple(normalize_name(required) for text in texts if (required := _read_requirement(text)))


def _read_requirement(text: str) -> str:
    """Return the name of a required library; empty if it is not required here."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return ""
    return requirement.name if requirement.marker is None or requirement.marker.evaluate({"extra": ""}) else ""
