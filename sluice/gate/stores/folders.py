"""The ledger in a folder of one machine.

The document ``ledger.json`` is replaced atomically, and only if no other process has changed it since it was read
(compare-and-swap under a lock). The file ``ledger.lock`` beside it stores the head of the last document that was written, so that
a deleted document or an older copy is noticed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.errors import StateError
from sluice.gate.stores.protocol import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT, LOCK = "ledger.json", "ledger.lock"
_EARLIER = re.compile(r"[0-9a-f]{64}")
_HEAD = re.compile(r"(sha256:[0-9a-f]{64})?")
_LOCK_TIMEOUT_SECONDS = 30.0
_RETRY_SECONDS = 0.01


class FolderStore:
    """A ledger in a folder. Any number of processes on one machine may use it at once.

    Attributes:
        folder: The folder. It is created at the first write.
    """

    def __init__(self, folder: Path) -> None:
        """Set the folder. Nothing is read or written yet."""
        self.folder = Path(folder)

    @property
    def place(self) -> str:
        """The path of the document."""
        return str(self.folder / DOCUMENT)

    def read(self) -> Stored:
        """Return the stored ledger. The lock file is read first, because it is written last and so is never ahead."""
        head = self._read_written_head()
        try:
            with file_errors(self.folder / DOCUMENT, "read"):
                text = (self.folder / DOCUMENT).read_bytes()
        except FileNotFoundError:
            return Stored(None, "", head)
        return Stored(text, hashlib.sha256(text).hexdigest(), head)

    def replace(self, before: Stored, text: bytes, head: str) -> bool:
        """Replace the ledger, if it is still the one that was read."""
        document = self.folder / DOCUMENT
        with file_errors(document, "written"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder / LOCK) as lock:
                if self.read().version != before.version:
                    return False
                # The lock is held, so no other process uses the new file's name, even after a crash.
                replace_file(document, text, new=document.with_suffix(".new"))
                os.pwrite(lock, head.encode(), 0)
                return True

    def read_earlier(self) -> tuple[bytes, ...]:
        """Return the documents of earlier versions: one for each file of a holdout, ``<hex digits of its digest>.json``."""
        names = {file.stem for file in self.folder.glob("*.*") if _EARLIER.fullmatch(file.stem)}
        found = []
        for name in sorted(names):
            file = self.folder / f"{name}.json"
            try:
                with file_errors(file, "read"):
                    found.append(file.read_bytes())
            except FileNotFoundError:
                raise StateError(
                    f"the gate's ledger {file} cannot be trusted: it is missing",
                    hint="Restore it from a backup. Do not delete what is left of it, because then the budget has no effect.",
                ) from None
        return tuple(found)

    def _read_written_head(self) -> str:
        lock = self.folder / LOCK
        try:
            with file_errors(lock, "read"):
                head = lock.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return ""
        return head if _HEAD.fullmatch(head) else f"unreadable: {head[:80]}"


def replace_file(file: Path, content: bytes, *, new: Path) -> None:
    """Replace a file atomically: write a new file beside it, flush it to the disk and rename it.

    Args:
        file: The file. Its folder exists.
        content: The new content.
        new: The new file, in the same folder. No other process may use its name at the same time.
    """
    with new.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """Hold an exclusive lock on a file. The system releases it when the process ends, even after a kill."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + _LOCK_TIMEOUT_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise StateError(
                    f"the ledger is locked: another process has held {file} for {_LOCK_TIMEOUT_SECONDS:g} s",
                    hint="Wait until the other run of the gate ends, or stop it. Then try again.",
                )
            time.sleep(_RETRY_SECONDS)
        yield lock
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def file_errors(file: Path, what: str) -> Iterator[None]:
    """Turn an OSError into a StateError that names the file. A missing file to read stays a FileNotFoundError.

    Args:
        file: The file.
        what: ``"read"`` or ``"written"``.
    """
    try:
        yield
    except OSError as error:
        if what == "read" and isinstance(error, FileNotFoundError):
            raise
        raise StateError(
            f"{file} cannot be {what}: {error.strerror or error}",
            hint="Check the owner and the permissions of that folder, and the free space on its disk. Then try again.",
        ) from error
