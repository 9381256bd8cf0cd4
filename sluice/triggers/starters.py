"""Start a retraining on the project's engine. This is the only module of the triggers that knows the engines."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any, Protocol

from sluice.engines.local import LocalEngine
from sluice.errors import ConfigurationError, DataError, ServiceError
from sluice.rollout.platforms.laptop.atomic_files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluice.project.projects import Project

_LOCAL = "local"


class RetrainingStarter(Protocol):
    """What the services need of an engine."""

    def submit(self, pipeline: str, arguments: Mapping[str, Any], *, key: str = "") -> str:
        """Start a run and return its id. With a key that was used before, start nothing and return the id of that run.

        Raises:
            SluiceError: The run could not be started.
        """

    def close(self) -> None:
        """End what runs only as long as this process. Runs of an engine in a cluster continue."""


class LocalStarter:
    """Start runs on the local engine. A run ends with the process that started it."""

    def __init__(self, project: Project) -> None:
        """Start nothing yet."""
        self.project, self.engine = project, LocalEngine(project)
        self._runs: dict[Path, threading.Thread] = {}
        self._lock = threading.Lock()

    def submit(self, pipeline: str, arguments: Mapping[str, Any], *, key: str = "") -> str:
        """Start a run, and follow it in a thread so that its record becomes complete.

        Raises:
            ConfigurationError: sluice.toml has no pipeline of this name.
            DataError: The file that remembers the key is damaged.
            ServiceError: The key cannot be stored.
        """
        with self._lock:
            file = self.project.state / "started" / hashlib.sha256(key.encode()).hexdigest()
            if key and file.exists():
                return _read_run(file)
            folder = self.engine.submit(pipeline, arguments)
            thread = threading.Thread(target=self._follow, args=(folder,), daemon=True, name=f"run {folder.name}")
            self._runs[folder] = thread
            thread.start()
            if key:
                _write_run(file, folder.name)
            return folder.name

    def close(self) -> None:
        """End the runs that have not ended."""
        for folder, thread in self._runs.items():
            if thread.is_alive():
                self.engine.cancel(folder)
                thread.join()

    def _follow(self, folder: Path) -> None:
        for _ in self.engine.watch(folder):
            pass


def open_starter(project: Project, engine: str) -> RetrainingStarter:
    """Return what starts runs on an engine.

    Args:
        project: The project.
        engine: Name of the engine; empty for the default one of the project.

    Raises:
        ConfigurationError: There is no engine of this name.
    """
    if engine not in {"", _LOCAL}:
        raise ConfigurationError(f"there is no engine {engine!r}", hint=f"Choose {_LOCAL!r} in sluice.toml.")
    return LocalStarter(project)


def _read_run(file: Path) -> str:
    name = file.read_text(encoding="utf-8").strip()
    if not name:
        raise DataError(f"{file} names no run", hint="Delete the file, so that the run can be started again.")
    return name


def _write_run(file: Path, name: str) -> None:
    try:
        write_atomically(file, name.encode())
    except OSError as error:
        raise ServiceError(
            f"the key of run {name} cannot be stored: {error}",
            hint="Check the free space and the permissions of the state folder.",
        ) from error
