"""A project: the folder with a sluice.toml, its settings, and the paths and objects that they name."""

from __future__ import annotations

import filecmp
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
EPHEMERAL_VARIABLE = "SLUICE_EPHEMERAL"
"""The step image sets this variable, because nothing that a step writes to the state folder outlives its pod."""


class Project:
    """The folder with a sluice.toml, its settings, and the paths and objects that they name.

    Attributes:
        root: Absolute path of the folder.
        settings: The checked contents of sluice.toml.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        """Bind the settings to the folder that they were read from."""
        self.root = root
        self.settings = settings

    @property
    def state(self) -> Path:
        """The folder for all local state: ``$SLUICE_STATE``, or else ``.sluice`` in the project."""
        return Path(os.environ.get(STATE_VARIABLE) or self.root / STATE_FOLDER).resolve()

    @property
    def ephemeral(self) -> bool:
        """Whether the state folder is lost when this process ends, as in the pod of a step: ``$SLUICE_EPHEMERAL`` says so."""
        return bool(os.environ.get(EPHEMERAL_VARIABLE))

    def path(self, name: str) -> Path:
        """Return a path of sluice.toml as an absolute path. A relative path starts at the project's root."""
        return self.root / name

    def locate(self, name: str) -> str:
        """Return a path or fsspec URL of sluice.toml. A path becomes absolute, and a URL stays as it is."""
        return name if "://" in name else str(self.path(name))

    def load_object(self, name: ObjectPath, *, key: str) -> Any:  # noqa: ANN401 - whatever the project made
        """Import ``module:name`` with the project's root first on the import path.

        Args:
            name: The object.
            key: The key of sluice.toml that names it, for the message.

        Raises:
            ConfigurationError: The module cannot be imported or does not have the name.
        """
        self.put_first_on_path()
        module_name, _, attribute = name.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise ConfigurationError(
                f"{FILE_NAME}: {key} names {name!r}, but module {module_name!r} cannot be imported: {error}",
                hint=f"Correct {key}, or run Sluice in an environment that has everything the module imports.",
            ) from error
        if not hasattr(module, attribute):
            raise ConfigurationError(
                f"{FILE_NAME}: {key} names {name!r}, but module {module_name!r} has no {attribute!r}",
                hint=f"Correct {key} in {self.root / FILE_NAME}.",
            )
        return getattr(module, attribute)

    def put_first_on_path(self) -> None:
        """Let imports find the project's own folders before other packages of the same name."""
        root = str(self.root)
        if root in sys.path:
            sys.path.remove(root)
        sys.path.insert(0, root)


def read_project(start: Path | None = None) -> Project:
    """Find, read and check sluice.toml.

    Raises:
        DataError: There is no sluice.toml.
        ConfigurationError: The file is not valid TOML, or a key is missing, unknown or has a wrong value, or the holdout is the
            training data. The message names the keys.
    """
    root = find_root(start)
    file = root / FILE_NAME
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{file} cannot be read as TOML: {error}", hint="Correct the file at that position.") from error
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise ConfigurationError(
            f"{file} is not valid: {_describe(error)}",
            hint="Correct these keys. `sluice schema` prints every key with its type and default.",
        ) from error
    require_separate_holdout(root, settings.data.snapshot, settings.data.holdout)
    return Project(root, settings)


def require_separate_holdout(root: Path, snapshot: str, holdout: str) -> None:
    """Refuse a holdout that is the training data: the same path or URL, a link to the same file, a copy of it, or a part of it.

    A copy is found by comparing the bytes of two files of equal size, up to the first difference. So different files cost
    nothing.

    Args:
        root: Folder of the project.
        snapshot: Path or URL of the training data. A pattern is checked when it is resolved.
        holdout: Path or URL of the holdout.

    Raises:
        ConfigurationError: They are the same, or the holdout is inside the folder of the training data.
    """
    names = (snapshot, holdout)
    one, other = (root / name for name in names)
    try:
        how = "are links to one file" if one.samefile(other) else ""
        if not how and one.is_file() and one.stat().st_size and filecmp.cmp(one, other, shallow=False):
            how = "have the same contents"
    except OSError:  # a URL, or a file that does not exist or cannot be read; the step that reads it says so
        how = ""
    if names[0] == names[1]:
        how = "are the same"
    elif snapshot and contains_file(root, snapshot, holdout):
        how = "are a folder and a file inside it"
    if how:
        raise ConfigurationError(
            f"{root / FILE_NAME} is not valid: data.snapshot {names[0]!r} and data.holdout {names[1]!r} {how}, so every "
            "model would be tested on the rows that it was trained on",
            hint=(
                "Set data.holdout to labelled rows that are not in data.snapshot. Neither the id nor the content may be the same."
            ),
        )


def contains_file(root: Path, folder: str, file: str) -> bool:
    """Return whether a location is a folder (a path, or a URL that ends with ``/``) that contains a file."""
    if "://" in folder or "://" in file:
        return folder.endswith("/") and file.startswith(folder)
    return (root / folder).is_dir() and (root / file).resolve().is_relative_to((root / folder).resolve())


def _describe(error: ValidationError) -> str:
    """Return each problem as ``key: problem``, for the person who wrote the file."""
    texts = {"extra_forbidden": "there is no such key", "missing": "this key is required"}
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        problems.append(f"{key}: {texts.get(problem['type']) or problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(problems)
