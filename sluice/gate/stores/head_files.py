"""The head of the ledger in a second place: a file of the state folder, apart from the ledger.

An older copy of the ledger is complete in itself, and it may still contain the question by which the champion was promoted. Only
something outside the ledger can show that records are missing at its end.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sluice.gate.stores.folders import file_errors, replace_file

_HEAD = re.compile(r"sha256:[0-9a-f]{64}")


class HeadFile:
    """The head of the last document that was written from this state folder.

    Attributes:
        file: The file. It is created at the first write.
    """

    def __init__(self, file: Path) -> None:
        """Set the file. Nothing is read or written yet."""
        self.file = Path(file)

    def read(self) -> str:
        """Return the head; empty if none was written. If the file is damaged, return a text that no ledger contains.

        Raises:
            StateError: The file exists and cannot be read.
        """
        try:
            with file_errors(self.file, "read"):
                head = self.file.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return ""
        return head if _HEAD.fullmatch(head) else f"unreadable: {head[:80]}"

    def write(self, head: str) -> None:
        """Replace the head atomically.

        Raises:
            StateError: The file cannot be written.
        """
        draft = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        with file_errors(self.file, "written"):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.file, head.encode(), new=draft)
