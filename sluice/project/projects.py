"""A project: the folder of a sluice.toml, with its settings and the objects that they name."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluice.errors import ConfigurationError
from sluice.project.roots import FILE_NAME, find_root
from sluice.project.settings import Settings

if TYPE_CHECKING:
    from sluice.project.base import ObjectPath

STATE_VARIABLE = "SLUICE_STATE"
STATE_FOLDER = ".sluice"


class Project:
    """A folder with a sluice.toml: its settings and the paths and objects that they name.

    Attributes:
        root: Absolute path of the folder.
        settings: The checked contents of sluice.toml.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        """Bind settings to the folder they were read from."""
        self.root = root
        self.settings = settings

    @property
    def state(self) -> Path:
        """The folder of everything local: ``$SLUICE_STATE``, else ``.sluice`` in the project."""
        return Path(os.environ.get(STATE_VARIABLE) or self.root / STATE_FOLDER).resolve()

    def path(self, name: str) -> Path:
        """A path of sluice.toml made absolute: relative ones start at the project's root."""
        return self.root / name

    def locate(self, name: str) -> str:
        """A path or fsspec URL of sluice.toml: URLs stay, paths become absolute."""
        return name if "://" in name else str(self.path(name))

    def load_object(self, name: ObjectPath, *, key: str) -> Any:  # noqa: ANN401 - whatever the project made
        """Import ``module:name`` with the project's root first on the path.

        Args:
            name: The object.
            key: Key of sluice.toml that named it, for the message.

        Raises:
            ConfigurationError: There is no such module or name in it.
        """
        self.put_first_on_path()
        module_name, _, attribute = name.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise ConfigurationError(
                f"{FILE_NAME}: {key} names {name!r}, but module {module_name!r} cannot be imported: {error}",
                hint=f"Correct {key}, or run from the environment that has what the module imports.",
            ) from error
        if not hasattr(module, attribute):
            raise ConfigurationError(
                f"{FILE_NAME}: {key} names {name!r}, but module {module_name!r} has no {attribute!r}",
                hint=f"Correct {key} in {self.root / FILE_NAME}.",
            )
        return getattr(module, attribute)

    def put_first_on_path(self) -> None:
        """Let imports find the project's own folders before any other of the same name."""
        root = str(self.root)
        if root in sys.path:
            sys.path.remove(root)
        sys.path.insert(0, root)


def read_project(start: Path | None = None) -> Project:
    """Find, read and check sluice.toml.

    Raises:
        DataError: There is no such file.
        ConfigurationError: It is not TOML, lacks a key, has one too many or a value that does not fit; it names the keys.
    """
    root = find_root(start)
    file = root / FILE_NAME
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{file} cannot be read as TOML: {error}", hint="Correct the file at that place.") from error
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise ConfigurationError(
            f"{file} is not valid: {_describe(error)}",
            hint="`sluice schema` prints every key, its type and its default.",
        ) from error
    return Project(root, settings)


def _describe(error: ValidationError) -> str:
    """Each fault as ``key: what``, in the words of a person who wrote the file."""
    words = {"extra_forbidden": "there is no such key", "missing": "this key is required"}
    faults = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        faults.append(f"{key}: {words.get(fault['type']) or fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(faults)
