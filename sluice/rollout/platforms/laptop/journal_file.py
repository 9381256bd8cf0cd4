"""The journal on disk, and the records beside it: every write is compare-and-swap under a lock, and atomic.

``journal.json`` is the truth. ``evidence.json`` is the running evidence (losing its last write costs a tenth of a
second of counts), ``supervisor.json`` says who serves and where, ``samples.jsonl`` is what the report draws.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluice.errors import DataError
from sluice.rollout.decisions.evidence import Checkpoint
from sluice.rollout.decisions.states import Journal
from sluice.rollout.journals import CHECKPOINT, JOURNAL, ConflictError, dump_checkpoint, plan_document
from sluice.rollout.platforms.laptop.atomic_files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sluice.project.projects import Project

MOST_SAMPLE_BYTES = 32 * 1024 * 1024
"""Size at which the samples are moved aside, once: a supervisor may run for months."""


class JournalFile:
    """The journal of one project and the records beside it.

    Args:
        folder: ``rollout`` below the project's state; made on the first write.
    """

    poll_seconds, absence_seconds = 0.05, 30.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "journal.json"
        self.samples_path = folder / "samples.jsonl"
        self.status_path = folder / "supervisor.json"
        self.lock_path = folder / "supervisor.lock"
        self.alive_path = folder / "supervisor.alive"
        self._checkpoint_path = folder / "evidence.json"

    def read(self) -> Journal:
        """The journal; an empty one where nothing was ever written.

        Raises:
            DataError: The file is not a journal.
        """
        try:
            return JOURNAL.validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return Journal()
        except (ValidationError, OSError) as error:
            raise DataError(
                f"{self.path} cannot be read as a rollout journal: {error}",
                hint="Restore it from a backup; without it nobody knows which release is champion.",
            ) from error

    def update(self, change: Callable[[Journal], Journal]) -> Journal:
        """Read, change and write as one; `change` may raise to refuse, and gives back what it got to change nothing."""
        with self._locked():
            journal = self.read()
            changed = change(journal)
            return journal if changed is journal else self._write(changed, journal.version)

    def replace(self, journal: Journal) -> Journal:
        """Write what was derived from ``journal.version``.

        Raises:
            ConflictError: That is no longer the version on disk.
        """
        with self._locked():
            found = self.read().version
            if found != journal.version:
                raise ConflictError(
                    f"the journal is at version {found}, not {journal.version}", hint="Read it again and decide anew."
                )
            return self._write(journal, found)

    def read_checkpoint(self) -> Checkpoint:
        """The last checkpoint; an empty one where there is none that can be read, since evidence can be gathered anew."""
        try:
            return CHECKPOINT.validate_json(self._checkpoint_path.read_bytes())
        except (OSError, ValidationError):
            return Checkpoint()

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep the evidence. Not synced to the disk: it survives the process, which is what it is for."""
        write_atomically(self._checkpoint_path, dump_checkpoint(checkpoint), durable=False)

    def append_sample(self, sample: Mapping[str, Any]) -> None:
        """Add a line to the samples; a file that has grown too large is moved aside first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if self.samples_path.stat().st_size > MOST_SAMPLE_BYTES:
                self.samples_path.replace(self.samples_path.with_suffix(".1.jsonl"))
        with self.samples_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(sample, allow_nan=False) + "\n")

    def read_samples(self, start: float, end: float) -> list[dict[str, Any]]:
        """The samples between two times, oldest first; a line that was cut off is left aside."""
        samples = []
        for path in (self.samples_path.with_suffix(".1.jsonl"), self.samples_path):
            with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
                for line in file:
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        sample = json.loads(line)
                        if start <= sample["time"] <= end:
                            samples.append(sample)
        return samples

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Say who serves and where."""
        write_atomically(self.status_path, json.dumps(status, indent=1).encode(), durable=False)

    def read_status(self) -> dict[str, Any]:
        """What the supervisor last said; empty where it said nothing."""
        try:
            document: dict[str, Any] = json.loads(self.status_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return document

    def is_supervised(self) -> bool:
        """Whether a supervisor is running, so that the status is its own and not a dead predecessor's.

        It holds this lock for as long as it lives, however it ends, and takes it after it has cleared the status.
        """
        try:
            with self.alive_path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _write(self, journal: Journal, found: int) -> Journal:
        written = dataclasses.replace(journal, version=found + 1)
        write_atomically(self.path, json.dumps(plan_document(written), indent=1, allow_nan=False).encode())
        return written

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "journal.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def open_journal_file(project: Project) -> JournalFile:
    """Return the journal of a project on this machine."""
    return JournalFile(project.state / "rollout")
