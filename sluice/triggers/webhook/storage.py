"""What the webhook remembers over a restart: the messages that were sent, the runs that were started, and the first answers.

It is one SQLite file, which one process writes. Each change is on the disk before the message is answered.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.errors import DataError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluice.project.projects import Project

WEEK_SECONDS = 7 * 86_400.0

_KEPT_SECONDS = 30 * 86_400.0
"""How long a first answer is kept."""

_TABLES = """
CREATE TABLE IF NOT EXISTS messages (signature TEXT PRIMARY KEY, time REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS starts (
    client TEXT NOT NULL, key TEXT NOT NULL, message TEXT NOT NULL, time REAL NOT NULL, answer TEXT, PRIMARY KEY (client, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (only INTEGER PRIMARY KEY CHECK (only = 0), until REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class StoredStart:
    """A start under an idempotency key.

    Attributes:
        message: Digest of the path and the body.
        answer: The first answer; None if the process ended before the engine had answered.
    """

    message: str
    answer: dict[str, Any] | None


def find_store_file(project: Project) -> Path:
    """Return the path of the file."""
    name = project.settings.webhook.store
    return project.path(name) if name else project.state / "webhook.sqlite"


class Storage:
    """The file. Only one thread at a time may call its methods."""

    def __init__(self, path: Path) -> None:
        """Open the file, and create it if it is missing.

        Raises:
            DataError: The file is something else or is damaged.
            ServiceError: It cannot be opened.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise _cannot_use(path, error) from error
            raise DataError(
                f"{path} is not the webhook's store: {error}", hint="Name another file in webhook.store, or delete this one."
            ) from error
        except OSError as error:
            raise _cannot_use(path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def check(self) -> None:
        """Check that the file can be written.

        Raises:
            ServiceError: It cannot.
        """
        self._change(lambda _: None)

    def add_message(self, signature: str, time: float, *, oldest: float) -> bool:
        """Remember a message, and return whether it is new.

        Args:
            signature: The signature, which no other message has.
            time: When it was signed, in seconds since the epoch.
            oldest: Messages that were signed before this are too old to be accepted, and are forgotten. From then on they are
                refused, even if the clock is set back.

        Raises:
            ServiceError: The file cannot be written.
        """

        def add(base: sqlite3.Connection) -> bool:
            row = base.execute("SELECT until FROM forgotten").fetchone()
            until = max(oldest, row[0]) if row else oldest
            base.execute("INSERT INTO forgotten VALUES (0, ?) ON CONFLICT (only) DO UPDATE SET until = excluded.until", (until,))
            base.execute("DELETE FROM messages WHERE time < ?", (until,))
            if time < until:
                return False
            return base.execute("INSERT OR IGNORE INTO messages VALUES (?, ?)", (signature, time)).rowcount == 1

        return bool(self._change(add))

    def find_start(self, client: str, key: str) -> StoredStart | None:
        """Return the start under a key; None if there is none.

        Raises:
            ServiceError: The file cannot be read.
        """

        def find(base: sqlite3.Connection) -> Any:  # noqa: ANN401 - a row or None
            return base.execute("SELECT message, answer FROM starts WHERE client = ? AND key = ?", (client, key)).fetchone()

        row = self._change(find)
        return StoredStart(row[0], json.loads(row[1]) if row[1] else None) if row else None

    def list_starts(self, since: float) -> list[tuple[float, str]]:
        """Return time and client of each start since a time, oldest first.

        Raises:
            ServiceError: The file cannot be read.
        """

        def read(base: sqlite3.Connection) -> list[tuple[float, str]]:
            return base.execute("SELECT time, client FROM starts WHERE time > ? ORDER BY time", (since,)).fetchall()

        return list(self._change(read))

    def add_start(self, client: str, key: str, message: str, time: float) -> None:
        """Remember that a run is about to be started. It counts from now on.

        Raises:
            ServiceError: The file cannot be written.
        """

        def add(base: sqlite3.Connection) -> None:
            base.execute("DELETE FROM starts WHERE time < ?", (time - _KEPT_SECONDS,))
            base.execute("INSERT INTO starts VALUES (?, ?, ?, ?, NULL)", (client, key, message, time))

        self._change(add)

    def set_answer(self, client: str, key: str, answer: dict[str, Any]) -> None:
        """Remember the first answer.

        Raises:
            ServiceError: The file cannot be written.
        """

        def change(base: sqlite3.Connection) -> None:
            base.execute("UPDATE starts SET answer = ? WHERE client = ? AND key = ?", (json.dumps(answer), client, key))

        self._change(change)

    def remove_start(self, client: str, key: str) -> None:
        """Forget a start that failed, so that it does not count.

        Raises:
            ServiceError: The file cannot be written.
        """
        self._change(lambda base: base.execute("DELETE FROM starts WHERE client = ? AND key = ?", (client, key)))

    def _change(self, change: Callable[[sqlite3.Connection], Any]) -> Any:  # noqa: ANN401 - what the function returns
        """Call a function in one transaction."""
        try:
            with closing(self._base.cursor()):
                self._base.execute("BEGIN IMMEDIATE")
                try:
                    result = change(self._base)
                except BaseException:
                    self._base.execute("ROLLBACK")
                    raise
                self._base.execute("COMMIT")
                return result
        except sqlite3.DatabaseError as error:
            raise _cannot_use(self.path, error) from error


def _cannot_use(path: Path, error: Exception) -> ServiceError:
    return ServiceError(f"the webhook's store {path} cannot be used: {error}", hint="Check the free space and the permissions.")
