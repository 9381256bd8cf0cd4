"""The ledger on disk: counts every question to a holdout before it is answered, and keeps the gate-row scores of releases.

One document per holdout, ``<hex>.json``, replaced atomically if nobody else changed it since it was read (compare-and-swap
on its version, under a lock). Beside it ``<hex>.lock`` holds the last version that was written, so that a document that was
deleted or put back to an older copy is noticed: a ledger that forgets would let a holdout be asked without end.
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
from sluice.gate.uses import GateRule, LedgerDocument, LedgerEntry, Question, plan_answer, plan_use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from sluice.statistics.samples import Floats

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_PATIENCE_SECONDS = 30.0
_RETRY_SECONDS = 0.01


class Ledger:
    """The questions to each holdout, and the scores of releases on gate rows, in one folder.

    Any number of processes of one machine may use the same folder at once. Each method raises StateError when a file of the
    ledger is damaged, was deleted, or cannot be read or written; nothing is ever counted anew from zero.

    Attributes:
        folder: Where it lies; made at the first write.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is read or written yet."""
        self.folder = Path(folder)

    def uses(self, holdout: str) -> int:
        """How many questions this holdout was asked.

        Args:
            holdout: Its digest, ``sha256:…``.

        Raises:
            StateError: The ledger is unreadable.
            ValueError: `holdout` is not a digest.
        """
        return len(self._read(holdout).entries)

    def entries(self, holdout: str) -> tuple[LedgerEntry, ...]:
        """Every question this holdout was asked, in order.

        Raises:
            StateError: The ledger is unreadable.
            ValueError: `holdout` is not a digest.
        """
        return self._read(holdout).entries

    def record(self, holdout: str, *, challenger: str, champion: str | None, rule: GateRule | None = None) -> LedgerEntry:
        """Count a question. To be called before its answer is computed, so that no answer is ever given uncounted.

        Args:
            holdout: Digest of the holdout.
            challenger: Digest of the challenger.
            champion: Digest of the champion; None where there is none.
            rule: The gate's numbers; another margin is another question, another alpha or budget is refused.

        Returns:
            The question's entry. When it was asked before: the same entry, `repeated`, with the decision if one was saved;
            no use is counted.

        Raises:
            StateError: The ledger is unreadable or cannot be written, or the holdout was promised another alpha or budget.
            ValueError: `holdout` is not a digest.
        """
        question = Question(challenger=challenger, champion=champion, rule=rule)
        while True:
            before = self._read(holdout)
            after, entry = plan_use(before, question, now=time.time())
            if after is before or self._swap(before, after):
                return entry

    def save_decision(self, entry: LedgerEntry, decision: dict[str, Any]) -> None:
        """Keep the public answer to a question that was recorded; a later one does not replace it.

        Args:
            entry: What `record` returned.
            decision: JSON types, as of `GateDecision.to_public_dict`.

        Raises:
            StateError: The ledger is unreadable or cannot be written, or has no such question.
        """
        while True:
            before = self._read(entry.holdout)
            after = plan_answer(before, entry.question, decision)
            if after is before or self._swap(before, after):
                return

    def save_scores(self, release: str, holdout: str, scores: ArrayLike) -> None:
        """Keep a release's scores on a holdout's gate rows: the day its pickle no longer loads, they still can be compared with.

        Args:
            release: Digest of the release.
            holdout: Digest of the holdout.
            scores: Shape (gate rows,), in the order of the gate rows.

        Raises:
            StateError: They cannot be written.
            ValueError: Not digests.
        """
        file = self._scores_file(release, holdout)
        with _explained(file, "written"):
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
        """The scores that were kept, shape (gate rows,); None when there are none.

        Raises:
            StateError: They are there and cannot be read.
            ValueError: Not digests.
        """
        file = self._scores_file(release, holdout)
        try:
            with _explained(file, "read"), file.open("rb") as opened:
                return np.asarray(np.lib.format.read_array(opened, allow_pickle=False), dtype=np.float64)  # type: ignore[no-untyped-call]
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StateError(
                f"the scores in {file} are damaged: {error}",
                hint="Delete that file: the release will be scored again with its own code.",
            ) from error

    def _read(self, holdout: str) -> LedgerDocument:
        """The document as it is; the version in the lock file is read first, since that one never runs ahead."""
        file = self._file(holdout)
        written = self._read_written(file)
        try:
            with _explained(file, "read"):
                document = LedgerDocument.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            document = LedgerDocument(holdout=holdout)
        except ValidationError as error:
            fault = error.errors()[0]["msg"]
            raise _damaged(file, f"it is not a ledger: {fault}") from error
        if document.holdout != holdout:
            raise _damaged(file, f"it is the ledger of holdout {document.holdout}")
        if document.version < written:
            state = f"an older copy, version {document.version} of {written}" if document.version else "missing"
            raise _damaged(file, f"it is {state}")
        return document

    def _swap(self, before: LedgerDocument, after: LedgerDocument) -> bool:
        """Replace `before` by `after`; False when someone else was quicker."""
        file = self._file(before.holdout)
        with _explained(file, "written"):
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
            with _explained(lock, "read"):
                return int(lock.read_bytes() or b"0")
        except FileNotFoundError:
            return 0
        except ValueError as error:
            raise _damaged(file, f"{lock.name} beside it does not hold a version") from error

    def _file(self, holdout: str) -> Path:
        return self.folder / f"{_read_hex(holdout)}.json"

    def _scores_file(self, release: str, holdout: str) -> Path:
        return self.folder / "scores" / _read_hex(holdout) / f"{_read_hex(release)}.npy"


def _read_hex(digest: str) -> str:
    """The digits of a digest: they become a file's name, so nothing else may pass."""
    match = _DIGEST.fullmatch(digest)
    if not match:
        raise ValueError(f"not a digest of the form sha256:<64 hexadecimal digits>: {digest!r}")
    return match[1]


def _replace(file: Path, content: bytes) -> None:
    """Write beside and rename, through to the disk; the caller holds the lock, so the name is its own, also after a crash."""
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
    """Hold an exclusive lock on a file; the system frees it when the process ends, however it ends."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise StateError(
                    f"the ledger is locked: {file} has been held by another process for {_PATIENCE_SECONDS:g} s",
                    hint="Wait for the other run of the gate to end, or end it, then try again.",
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
def _explained(file: Path, what: str) -> Iterator[None]:
    """Turn the system's refusal into an error that names the file; that there is none to read stays an answer of its own."""
    try:
        yield
    except OSError as error:
        if what == "read" and isinstance(error, FileNotFoundError):
            raise
        raise StateError(
            f"{file} cannot be {what}: {error.strerror or error}",
            hint="Check the owner and the permissions of that folder and the space on its disk, then try again.",
        ) from error


def _damaged(file: Path, what: str) -> StateError:
    return StateError(
        f"the gate's ledger {file} cannot be trusted: {what}",
        hint="Restore it from a backup, or rotate the holdout; starting again from zero would let its rows be asked without end.",
    )
