"""The protocols of a server's process and of what starts it, so that tests can start other servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sluice.scoring.server_process import GRACE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


class ServerProcess(Protocol):
    """A server that was started."""

    @property
    def pid(self) -> int:
        """The process id."""

    @property
    def port(self) -> int:
        """The port on the loopback interface. It is final as soon as the server is ready."""

    @property
    def reader_url(self) -> str:
        """The URL with the token that gives access to the recent requests and the faults of this server."""

    @property
    def log(self) -> Path:
        """The file with the server's output."""

    @property
    def log_start(self) -> int:
        """The position in this file, in bytes, at which the output of this server begins."""

    def alive(self) -> bool:
        """Return whether the process runs."""

    def poll_ready(self) -> bool:
        """Return whether the server is ready, without waiting.

        Raises:
            ServiceError: The process has ended.
        """

    def count_misses(self, now: float) -> int:
        """Return how many liveness probes in a row the server has not answered, without waiting."""

    def read_memory(self) -> int:
        """Return the bytes of data of its largest process; 0 if they are not known."""

    def failure_reason(self) -> str:
        """Return the last message in the server's log."""

    def stop(self, *, grace: float = GRACE_SECONDS) -> None:
        """Stop the process and wait until it has ended. This is called once, from another thread.

        Args:
            grace: Seconds that the process gets to end by itself.
        """


class Launcher(Protocol):
    """Starts the servers of releases."""

    def prepare(self, release: str) -> Path:
        """Verify and unpack a release, which may take a while, and return its folder.

        Raises:
            SluiceError: The release cannot be read, or its bytes do not have its digest.
        """

    def spawn(self, release: str, folder: Path) -> ServerProcess:
        """Start the server of an unpacked release and return at once. The server ends when this process ends."""

    def move_tags(self, champion: str | None, previous: str | None) -> None:
        """Move the tags of the release store to the champion and N-1."""
