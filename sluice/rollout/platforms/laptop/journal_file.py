"""The journal on disk, and the files beside it. Every write of the journal happens under a lock and is atomic.

- ``journal.json`` decides what is true.
- ``evidence.json`` is the checkpoint. If its last write is lost, a tenth of a second of counts is lost.
- ``supervisor.json`` is the supervisor's status: the servers, the addresses and what the rollout waits for.
- ``samples.jsonl`` contains the counts and weights over time that reports draw.
- ``clock.json`` is the reference by which all processes of one boot read the same time, even if the system's clock is set.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from sluice.errors import DataError
from sluice.rollout.clocks import Clock, TimeReference, choose_reference
from sluice.rollout.decisions.evidence import Checkpoint
from sluice.rollout.decisions.states import Journal
from sluice.rollout.journals import CHECKPOINT, JOURNAL, ConflictError, build_document, dump_checkpoint, find_newest_time
from sluice.rollout.platforms.laptop.atomic_files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sluice.project.projects import Project

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Unlike CLOCK_MONOTONIC, Linux's CLOCK_BOOTTIME goes on while the machine is suspended, so the time stays that of the day."""

_REFERENCE: TypeAdapter[TimeReference] = TypeAdapter(TimeReference)

MAX_SAMPLE_BYTES = 32 * 1024 * 1024
"""Above this size the file of samples is renamed, and a new one begins, because a supervisor may run for months."""


def read_steady() -> float:
    """Return the seconds of the steady clock that all processes of this boot share."""
    return time.clock_gettime(_STEADY_CLOCK)


def read_boot_id() -> str:
    """Return the id of the present boot; empty on a system that has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class ClockFile:
    """The time that all processes of one boot share. A system clock that is set does not change it.

    Args:
        path: The file with the reference.
        find_newest: Returns the newest time in the journal, before which the time never is.
    """

    def __init__(self, path: Path, find_newest: Callable[[], float]) -> None:
        self.path, self._find_newest = path, find_newest
        self._reference: TimeReference | None = None
        self._shared = False

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        steady = read_steady()
        if self._reference is None:
            newest, boot = self._find_newest(), read_boot_id()
            self._reference = choose_reference(self._read(), boot=boot, steady=steady, system=time.time(), newest=newest)
        return self._reference.read(steady)

    def keep(self) -> None:
        """Share the time with the other processes, and store it, so that it does not go back after a reboot.

        If another process was the first to share the time of this boot, its time counts from now on.

        Raises:
            OSError: The file cannot be written. The time of this process goes on.
        """
        if self._shared:
            self._write()
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now, steady = self.now(), read_steady()
            self._reference = choose_reference(self._read(), boot=read_boot_id(), steady=steady, system=now)
            self._write()
            self._shared = True

    def _write(self) -> None:
        now, steady = self.now(), read_steady()
        write_atomically(self.path, _REFERENCE.dump_json(TimeReference(read_boot_id(), steady, now)), durable=False)

    def _read(self) -> TimeReference | None:
        """Return the stored reference; None if there is none, or if the file has anything else in it."""
        try:
            found = _REFERENCE.validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return None
        return found if math.isfinite(found.time) and math.isfinite(found.steady) else None


class JournalFile:
    """The journal of one project and the files beside it.

    Args:
        folder: ``rollout`` below the project's state folder. The first write creates it.

    Attributes:
        clock: The time that the supervisor and all commands share.
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
        self._time = ClockFile(folder / "clock.json", lambda: find_newest_time(self.read()))
        self.clock = Clock(now=self._time.now)

    def read(self) -> Journal:
        """Return the journal; an empty one if none was ever written.

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
                hint="Restore it from a backup. Without it, Sluice does not know which release is the champion.",
            ) from error

    def update(self, change: Callable[[Journal], Journal]) -> Journal:
        """Read, change and write the journal in one step.

        Args:
            change: Returns the changed journal. It returns its argument to change nothing, and raises an error to refuse.
        """
        with self._locked():
            journal = self.read()
            changed = change(journal)
            return journal if changed is journal else self._write(changed, journal.version)

    def replace(self, journal: Journal) -> Journal:
        """Write a journal that was derived from the version that ``journal.version`` names.

        Raises:
            ConflictError: The file is at another version by now.
        """
        with self._locked():
            found = self.read().version
            if found != journal.version:
                raise ConflictError(
                    f"the journal is at version {found} by now, not {journal.version}",
                    hint="Read the journal again, and decide on what it contains now.",
                )
            return self._write(journal, found)

    def read_checkpoint(self) -> Checkpoint:
        """Return the last checkpoint; an empty one if none can be read, because evidence can be collected again."""
        try:
            return CHECKPOINT.validate_json(self._checkpoint_path.read_bytes())
        except (OSError, ValidationError):
            return Checkpoint()

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint. It has to survive this process and not a power failure, so it is not synchronised to the disk."""
        write_atomically(self._checkpoint_path, dump_checkpoint(checkpoint), durable=False)

    def append_sample(self, sample: Mapping[str, Any]) -> None:
        """Append one sample. If the file has grown too large, it is first renamed to ``samples.1.jsonl``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if self.samples_path.stat().st_size > MAX_SAMPLE_BYTES:
                self.samples_path.replace(self.samples_path.with_suffix(".1.jsonl"))
        with self.samples_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(sample, allow_nan=False) + "\n")

    def read_samples(self, start: float, end: float) -> list[dict[str, Any]]:
        """Return the samples between two times, oldest first. A line that was cut off is skipped."""
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
        """Write the supervisor's status."""
        write_atomically(self.status_path, json.dumps(status, indent=1).encode(), durable=False)

    def read_status(self) -> dict[str, Any]:
        """Return the status that the supervisor wrote last; empty if there is none."""
        try:
            document: dict[str, Any] = json.loads(self.status_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return document

    def identify(self, by: str) -> str:
        """Return the name that the person states, because a laptop has nothing to check it with."""
        return by

    def keep_time(self) -> None:
        """Share the time of this process with all others. If that cannot be written, this process goes on with its time."""
        with contextlib.suppress(OSError):
            self._time.keep()

    def is_supervised(self) -> bool:
        """Return whether a supervisor is running. If none is, the status was left behind by an earlier one.

        A supervisor holds a lock for its whole life. It takes the lock after it has replaced the status, and the kernel frees the
        lock however the supervisor ends.
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
        self.keep_time()
        written = dataclasses.replace(journal, version=found + 1)
        write_atomically(self.path, json.dumps(build_document(written), indent=1, allow_nan=False).encode())
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
