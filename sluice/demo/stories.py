"""The protocols of a story. The object that `demo.story` in sluice.toml names must have these attributes and methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


class Edit(Protocol):
    """A change of one file: the text `old` is replaced by `new`."""

    @property
    def path(self) -> str:
        """The file, relative to the project's folder."""

    @property
    def old(self) -> str:
        """The text to replace. The file must contain it exactly once."""

    @property
    def new(self) -> str:
        """The text that replaces it."""


class Act(Protocol):
    """One act of a story."""

    @property
    def name(self) -> str:
        """A short name."""

    @property
    def title(self) -> str:
        """A title of one line, for the terminal and the report."""

    @property
    def message(self) -> str:
        """The commit message; empty for an act without a commit."""

    @property
    def edits(self) -> Sequence[Edit]:
        """The changes of the commit."""

    @property
    def break_snapshot(self) -> str | None:
        """The fault in the snapshot that this act uses; None for the snapshot without faults."""

    @property
    def expect(self) -> str:
        """The outcome that the act should have: promoted, rolled_back or failed; restored for a rollback by a person."""


class Story(Protocol):
    """A story for `sluice demo`."""

    @property
    def acts(self) -> Sequence[Act]:
        """The acts in their order. Each act builds on the acts before it."""

    def prepare(self, folder: Path) -> None:
        """Write the data that sluice.toml names to `folder`, the project's data folder."""

    def break_data(self, fault: str, target: Path) -> None:
        """Write a snapshot with the named fault to `target`."""

    def live_rows(self, seed: int) -> Iterator[Mapping[str, Any]]:
        """Yield rows without end, as production sends them."""
