"""What a place for the ledger does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """The stored ledger.

    Attributes:
        text: The document as JSON; None if there is none.
        version: Names this state of the document, so that `LedgerStore.replace` notices another writer.
        written_head: The head of the last document that was written, as the store remembers it apart from the document. Empty if
            it remembers none.
    """

    text: bytes | None
    version: str
    written_head: str = ""


class LedgerStore(Protocol):
    """A place that holds one ledger."""

    @property
    def place(self) -> str:
        """Where the ledger is, for messages."""

    def read(self) -> Stored:
        """Return the stored ledger.

        Raises:
            StateError: It exists and cannot be read.
            ServiceError: The service that holds it does not answer, or refuses.
        """

    def replace(self, before: Stored, text: bytes, head: str) -> bool:
        """Replace the ledger, and return True. Return False if it is no longer the one that `read` returned.

        Args:
            before: What `read` returned.
            text: The new document.
            head: The head of the new document.

        Raises:
            StateError: It cannot be written.
            ServiceError: The service that holds it does not answer, or refuses.
        """

    def read_earlier(self) -> tuple[bytes, ...]:
        """Return the documents of earlier versions, each as JSON, in a fixed order.

        Raises:
            StateError: One of them is missing or cannot be read.
        """
