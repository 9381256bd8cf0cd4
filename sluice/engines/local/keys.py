"""Idempotency keys of local runs: one small file for each key, which names the run that the key started."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.project.projects import Project

FOLDER = "run-keys"


@dataclass(slots=True)
class KnownRun:
    """The run that a key has started; its id is empty if there is none yet."""

    run: str


@contextlib.contextmanager
def locked_key(project: Project, key: str) -> Iterator[KnownRun]:
    """Lock a key, and yield its run. A run that the caller sets is stored when the block ends without an error.

    The name of the file is a digest of the key, so that any text can be a key.
    """
    file = project.state / FOLDER / hashlib.sha256(key.encode()).hexdigest()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as stored:
        fcntl.flock(stored, fcntl.LOCK_EX)
        stored.seek(0)
        known = KnownRun(stored.read().strip())
        before = known.run
        yield known
        if known.run != before:
            stored.write(known.run + "\n")
            stored.flush()
