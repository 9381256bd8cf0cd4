"""The ledger on disk: it stores every question to a holdout before it is answered, and the releases' scores on the gate rows.

Each holdout has one document, ``<hex>.json``. It is replaced atomically, and only if no other process has changed it since it was
read (compare-and-swap on its version, under a lock). The file ``<hex>.lock`` beside it stores the last version that was written,
so that a deleted document or an older copy is noticed. Otherwise the count could be reset, and a holdout could be asked without
limit.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from sluice.errors import StateError
from sluice.gate.ledger_documents import GateRule, LedgerDocument, LedgerEntry, Question, plan_answer, plan_question

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from sluice.statistics.samples import Floats

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_LOCK_TIMEOUT_SECONDS = 30.0
_RETRY_SECONDS = 0.01


class Ledger:
    """The questions to each holdout, and the scores of releases on gate rows, in one folder.

    Any number of processes on one machine may use the same folder at once. Each method raises StateError if a file of the
    ledger is damaged, was deleted, or cannot be read or written. The count never starts again from zero.

    Attributes:
        folder: The ledger's folder. It is created at the first write.
    """

    def __init__(self, folder: Path) -> None:
        """Set the folder. Nothing is read or written yet."""
        self.folder = Path(folder)

    def count_questions(self, holdout: str) -> int:
        """Return how many questions this holdout was asked.

        Args:
            holdout: The holdout's digest, ``sha256:…``.

        Raises:
            StateError: The ledger is unreadable.
            ValueError: `holdout` is not a digest.
        """
        return len(self._read(holdout).entries)

    def entries(self, holdout: str) -> tuple[LedgerEntry, ...]:
        """Return every question that this holdout was asked, in order.

        Raises:
            StateError: The ledger is unreadable.
            ValueError: `holdout` is not a digest.
        """
        return self._read(holdout).entries

    def record(self, holdout: str, *, challenger: str, champion: str | None, rule: GateRule | None = None) -> LedgerEntry:
        """Count a question. Call this before the answer is computed, so that every answer is counted.

        Args:
            holdout: The digest of the holdout.
            challenger: The digest of the challenger.
            champion: The digest of the champion. None if there is no champion.
            rule: The gate's numbers. Another margin makes another question. Another alpha or budget is an error.

        Returns:
            The question's entry. If the question was asked before, it is the same entry, marked as `repeated`, with the decision
            if one was saved, and nothing is counted.

        Raises:
            StateError: The ledger is unreadable or cannot be written, or earlier questions used another alpha or budget.
            ValueError: `holdout` is not a digest.
        """
        question = Question(challenger=challenger, champion=champion, rule=rule)
        while True:
            before = self._read(holdout)
            after, entry = plan_question(before, question, now=time.time())
            if after is before or self._compare_and_swap(before, after):
                return entry

    def save_decision(self, entry: LedgerEntry, decision: dict[str, Any]) -> None:
        """Store the public answer to a recorded question. A later answer does not replace it.

        Args:
            entry: The entry that `record` returned.
            decision: The decision as JSON types, from `GateDecision.to_public_dict`.

        Raises:
            StateError: The ledger is unreadable or cannot be written, or has no such question.
        """
        while True:
            before = self._read(entry.holdout)
            after = plan_answer(before, entry.question, decision)
            if after is before or self._compare_and_swap(before, after):
                return

    def save_scores(self, release: str, holdout: str, scores: ArrayLike) -> None:
        """Store a release's scores on a holdout's gate rows. They can still be compared when its pickle no longer loads.

        Args:
            release: The digest of the release.
            holdout: The digest of the holdout.
            scores: The scores in the order of the gate rows, shape (gate rows,).

        Raises:
            StateError: The scores cannot be written.
            ValueError: `release` or `holdout` is not a digest.
        """
        file = self._scores_file(release, holdout)
        with _file_errors(file, "written"):
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".new-", delete=False) as new:
                try:
                    np.save(new, np.asarray(scores, dtype=np.float64), allow_pickle=False)
                    new.flush()
                    os.fsync(new.fileno())
                    Path(new.name).replace(file)
                except BaseException:
                    Path(new.name).unlink(missing_ok=True)
                    raise

    def load_scores(self, release: str, holdout: str) -> Floats | None:
        """Return the stored scores, shape (gate rows,), or None if there are none.

        Raises:
            StateError: The scores exist and cannot be read.
            ValueError: `release` or `holdout` is not a digest.
        """
        file = self._scores_file(release, holdout)
        try:
            with _file_errors(file, "read"), file.open("rb") as opened:
                return np.asarray(np.lib.format.read_array(opened, allow_pickle=False), dtype=np.float64)  # type: ignore[no-untyped-call]
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StateError(
                f"the scores in {file} are damaged: {error}",
                hint="Delete that file. The release is then scored again with its own code.",
            ) from error

    def _read(self, holdout: str) -> LedgerDocument:
        """Read the document. The lock file's version is read first, because it is written last and so is never ahead."""
        file = self._file(holdout)
        written = self._read_written(file)
        try:
            with _file_errors(file, "read"):
                document = LedgerDocument.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            document = LedgerDocument(holdout=holdout)
        except ValidationError as error:
            fault = error.errors()[0]["msg"]
            raise _untrusted(file, f"it is not a ledger: {fault}") from error
        if document.holdout != holdout:
            raise _untrusted(file, f"it is the ledger of another holdout, {document.holdout}")
        if document.version < written:
            if document.version:
                raise _untrusted(file, f"it is an older copy, because its version is {document.version} and not {written}")
            raise _untrusted(file, "it is missing")
        return document

    def _compare_and_swap(self, before: LedgerDocument, after: LedgerDocument) -> bool:
        """Replace `before` with `after`, and return True. Return False if another process has changed the document."""
        file = self._file(before.holdout)
        with _file_errors(file, "written"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(file.with_suffix(".lock")) as lock:
                if self._read(before.holdout).version != before.version:
                    return False
                _replace(file, after.model_dump_json(indent=1).encode())
                os.pwrite(lock, str(after.version).encode(), 0)
                return True

    def _read_written(self, file: Path) -> int:
        lock = file.with_suffix(".lock")
        try:
            with _file_errors(lock, "read"):
                return int(lock.read_bytes() or b"0")
        except FileNotFoundError:
            return 0
        except ValueError as error:
            raise _untrusted(file, f"{lock.name} beside it does not contain a version") from error

    def _file(self, holdout: str) -> Path:
        return self.folder / f"{_read_hex(holdout)}.json"

    def _scores_file(self, release: str, holdout: str) -> Path:
        return self.folder / "scores" / _read_hex(holdout) / f"{_read_hex(release)}.npy"


def _read_hex(digest: str) -> str:
    """Return the hexadecimal digits of a digest. They become a file's name, so no other characters may pass."""
    match = _DIGEST.fullmatch(digest)
    if not match:
        raise ValueError(f"not a digest of the form sha256:<64 hexadecimal digits>: {digest!r}")
    return match[1]


def _replace(file: Path, content: bytes) -> None:
    """Replace a file atomically: write a new file beside it, flush it to the disk and rename it.

    The caller holds the lock, so no other process uses the new file's name, even after a crash.
    """
    new = file.with_suffix(".new")
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
def _file_errors(file: Path, what: str) -> Iterator[None]:
    """Turn an OSError into a StateError that names the file. A missing file to read stays a FileNotFoundError."""
    try:
        yield
    except OSError as error:
        if what == "read" and isinstance(error, FileNotFoundError):
            raise
        raise StateError(
            f"{file} cannot be {what}: {error.strerror or error}",
            hint="Check the owner and the permissions of that folder, and the free space on its disk. Then try again.",
        ) from error


def _untrusted(file: Path, what: str) -> StateError:
    return StateError(
        f"the gate's ledger {file} cannot be trusted: {what}",
        hint="Restore it from a backup, or replace the holdout. Do not delete it, because then the budget would have no effect.",
    )
