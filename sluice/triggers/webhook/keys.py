"""The clients' keys. Each is a file, as in a mounted Secret. It is read for each message, so a rotation needs no restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project

LEAST_BYTES = 32
"""A key has at least as many bytes as SHA-256 returns, as RFC 2104 advises."""

_NEXT = ".next"
_MOST_BYTES = 4_096


def find_keys(project: Project) -> Path:
    """Return the folder with the keys.

    Raises:
        ConfigurationError: It is not set, or is no folder, or has no key.
    """
    name = project.settings.webhook.keys
    folder = project.path(name)
    if not name or not folder.is_dir():
        raise ConfigurationError(
            f"webhook.keys names no folder: {name!r}",
            hint="Mount a Secret with one key for each client, and name the folder in webhook.keys.",
        )
    clients = [file.name for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
    if not clients:
        raise ConfigurationError(f"{folder} has no key", hint="Add a file for each client. `openssl rand -hex 32` makes a key.")
    for client in clients:
        read_key(folder / client)
    return folder


def read_keys(folder: Path, client: str) -> tuple[bytes, ...]:
    """Return the keys of a client: the present one, and during a rotation the next one. A client without a key has none.

    Args:
        folder: The folder with the keys.
        client: Name of the client, which has no slash and no dot.

    Raises:
        DataError: A key is too short or cannot be read.
    """
    files = (folder / client, folder / f"{client}{_NEXT}")
    return tuple(read_key(file) for file in files if file.is_file())


def read_key(file: Path) -> bytes:
    """Read a key. Spaces and line breaks around it do not belong to it.

    Raises:
        DataError: The file cannot be read, or the key is too short.
    """
    try:
        with file.open("rb") as opened:
            key = opened.read(_MOST_BYTES).strip()
    except OSError as error:
        raise DataError(f"the key {file} cannot be read: {error.strerror}", hint="Check the file's permissions.") from error
    if len(key) < LEAST_BYTES:
        raise DataError(
            f"the key {file} has {len(key)} bytes, and at least {LEAST_BYTES} are needed",
            hint="Make a key with `openssl rand -hex 32`.",
        )
    return key
