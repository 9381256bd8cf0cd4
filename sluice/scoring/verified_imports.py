"""Import a release's own code from its verified source files, never from bytecode beside them.

The release's digest covers the source files. Any process that imports them may write a ``__pycache__`` folder, so the digest does
not cover that folder. Python would run a ``.pyc`` file in it instead of the source. Therefore these imports neither read nor
write bytecode.

The sources are those bytes that were verified. A file that somebody replaces or adds afterwards is never run, even if the model
imports it much later. Compiled extension modules are the exception, because the system's loader reads them from their file.

This module needs only the standard library.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.release.model_layer import CODE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class _SourceOnlyLoader(SourceFileLoader):
    """Compiles the verified source at every import. For the few modules of a release this takes some milliseconds."""

    def __init__(self, name: str, path: str, files: Mapping[str, bytes]) -> None:
        super().__init__(name, path)
        self._files = files

    def get_data(self, path: str) -> bytes:
        """Return the verified bytes of a file.

        Raises:
            ImportError: The layer did not have this file when it was verified.
        """
        if path not in self._files:
            raise ImportError(f"{path} was not in the release when it was verified", name=self.name, path=path)
        return self._files[path]

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Raise an error, because without the source's modification time the import system does not use bytecode."""
        raise OSError(path)


def put_layer_first_on_path(folder: Path, verified: Mapping[str, bytes]) -> None:
    """Put the code of an unpacked, verified layer first on the path, so that imports find its packages before any others.

    Args:
        folder: The absolute path of the layer. Its ``code`` folder is put first on the path.
        verified: The bytes of the files in that folder, by their path relative to the layer
            (`sluice.release.model_layer.read_verified_files`).

    Raises:
        ImportError: A package of the layer was already imported from another folder. The release would run with two versions.
    """
    code = folder.resolve() / CODE_FOLDER
    for name in sorted(path.stem for path in code.iterdir()) if code.is_dir() else ():
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded and code not in Path(loaded).resolve().parents:
            raise ImportError(f"package {name!r} was imported from {loaded} before the release's own code", name=name)
    files = {str(code.parent / name): stored for name, stored in verified.items()}
    sys.path_hooks.insert(0, _make_path_hook(code, files))
    sys.path.insert(0, str(code))
    importlib.invalidate_caches()


def _make_path_hook(code: Path, files: Mapping[str, bytes]) -> Callable[[str], FileFinder]:
    """Return an import hook that uses the loader above for every folder inside the code folder."""

    def load(name: str, path: str) -> _SourceOnlyLoader:
        return _SourceOnlyLoader(name, path, files)

    def find(path: str) -> FileFinder:
        place = Path(path)
        if place != code and code not in place.parents:
            raise ImportError(path=path)
        details = ((ExtensionFileLoader, EXTENSION_SUFFIXES), (load, SOURCE_SUFFIXES))
        return FileFinder(path, *details)  # type: ignore[arg-type]  # a finder only calls its loaders

    return find
