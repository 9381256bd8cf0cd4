"""Imports of a release's own code from its verified sources, never from bytecode that lies beside them.

The digest covers the sources. A ``__pycache__`` folder is written by whoever imports, so it is outside the digest, and a ``.pyc``
file in it would be run in place of its source: here it is neither read nor written.

Standard library only.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.release.layer import CODE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class _VerifiedSource(SourceFileLoader):
    """Compiles the source at every import: a few modules, some milliseconds."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Say that there is no time to compare with, upon which the import system leaves bytecode alone."""
        raise OSError(path)


def import_from_layer(folder: Path) -> None:
    """Let imports find the packages of an unpacked, verified layer before any others of the same name.

    Args:
        folder: The layer, absolute; its ``code`` folder goes first on the path.

    Raises:
        ImportError: A package of that name was imported from elsewhere already, so the release would be mixed from two.
    """
    code = folder.resolve() / CODE_FOLDER
    for name in sorted(path.stem for path in code.iterdir()) if code.is_dir() else ():
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded and code not in Path(loaded).resolve().parents:
            raise ImportError(f"package {name!r} was imported from {loaded} before the release's own code", name=name)
    sys.path_hooks.insert(0, _hook_below(code))
    sys.path.insert(0, str(code))
    importlib.invalidate_caches()


def _hook_below(code: Path) -> Callable[[str], FileFinder]:
    def find(path: str) -> FileFinder:
        place = Path(path)
        if place != code and code not in place.parents:
            raise ImportError(path=path)
        return FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_VerifiedSource, SOURCE_SUFFIXES))

    return find
