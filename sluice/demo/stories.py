"""The shape of a story, as `demo.story` of sluice.toml must give it: a project's own dataclasses fit it by their fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


class Edit(Protocol):
    """A change of one file: `old`, which is there exactly once, becomes `new`."""

    @property
    def path(self) -> str:
        """The file, relative to the project."""

    @property
    def old(self) -> str:
        """Text that is there exactly once."""

    @property
    def new(self) -> str:
        """Text in its place."""


class Act(Protocol):
    """One part of the story."""

    @property
    def name(self) -> str:
        """Short name."""

    @property
    def title(self) -> str:
        """One line for the screen and the report."""

    @property
    def message(self) -> str:
        """Commit message; empty for an act without a commit."""

    @property
    def edits(self) -> Sequence[Edit]:
        """What the commit changes."""

    @property
    def break_snapshot(self) -> str | None:
        """The fault that the act's own snapshot has; None for the story's good one."""

    @property
    def expect(self) -> str:
        """The run's outcome that the story is about: promoted, rolled_back, failed; restored for a rollback by hand."""


class Story(Protocol):
    """A story."""

    @property
    def acts(self) -> Sequence[Act]:
        """The acts in order; each builds on the ones before."""

    def prepare(self, folder: Path) -> None:
        """Write the data that sluice.toml names into `folder`, the project's data folder."""

    def break_data(self, fault: str, target: Path) -> None:
        """Write a snapshot with the fault of that name."""

    def live_rows(self, seed: int) -> Iterator[Mapping[str, Any]]:
        """Endless rows as production sends them."""
