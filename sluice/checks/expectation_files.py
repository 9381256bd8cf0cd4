"""Write proposed expectations as a Python module, for a person to review. Nothing runs it until a test calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.checks.expectation_proposals import Proposal, propose_expectations
from sluice.data.holdout import SNAPSHOT_FOLDER
from sluice.data.labelled_rows import read_frame
from sluice.data.locations import locate_snapshot
from sluice.data.snapshots import check_readable, pin_for_reading
from sluice.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluice.data.snapshots import Snapshot
    from sluice.project.projects import Project

FILE_NAME = "proposed_expectations.py"

_HEAD = '''\
"""Proposed expectations about the snapshot. Review every line before you use them.

`sluice init-expectations` wrote this file from one snapshot. It cannot know whether that snapshot was right. For each line, the
comment above it says what was seen. Change bounds that are too narrow or too wide, and delete what is only a coincidence. Then
call the function from a test of this folder:

    from {module} import expect_snapshot
    from sluice.checks.expectations import run_expectations


    def test_the_snapshot_meets_the_expectations(snapshot, verify):
        verify(run_expectations(snapshot.frame, expect_snapshot(), name="snapshot"))
"""

import great_expectations.expectations as gxe

# Snapshot: {source}
# Digest: {digest}


def expect_snapshot():
    """Return the expectations. They are not bound to data."""
    return [
'''


@dataclass(frozen=True, slots=True)
class ProposedSuite:
    """Proposed expectations with the module that contains them.

    Attributes:
        file: Where the module belongs.
        source: The text of the module.
        proposals: The proposals, and the reasons why there is none for a column.
        snapshot: The data that they come from.
    """

    file: Path
    source: str
    proposals: Sequence[Proposal]
    snapshot: Snapshot

    @property
    def count(self) -> int:
        """How many expectations are proposed."""
        return sum(bool(proposal.kind) for proposal in self.proposals)


def propose_suite(project: Project, *, snapshot: str = "", file: Path | None = None) -> ProposedSuite:
    """Read a snapshot with the project's loader, and propose a suite. Nothing is written.

    Args:
        project: The project.
        snapshot: Path or URL of the data; empty for what sluice.toml names.
        file: Where the module belongs; None for `FILE_NAME` in the data suite.

    Raises:
        ConfigurationError: ``data.load`` does not name a loader.
        DataError: The snapshot is missing, or the loader rejects it.
    """
    settings = project.settings
    pinned = pin_for_reading(locate_snapshot(project, snapshot), project.state / SNAPSHOT_FOLDER)
    check_readable(pinned)
    frame = read_frame(project, pinned.path)
    proposals = propose_expectations(frame, label=settings.data.label, key=settings.data.id)
    target = file or _suite_folder(project) / FILE_NAME
    source = write_module(proposals, source=pinned.source, digest=pinned.digest, module=target.stem)
    return ProposedSuite(target, source, proposals, pinned)


def write_suite(suite: ProposedSuite, *, force: bool) -> None:
    """Write the module.

    Raises:
        UsageError: The file exists, and `force` is False. A person may have edited it.
    """
    if suite.file.exists() and not force:
        raise UsageError(
            f"{suite.file} exists already",
            hint="Review and rename that file, name another one with --file, or overwrite it with --force.",
        )
    suite.file.parent.mkdir(parents=True, exist_ok=True)
    suite.file.write_text(suite.source, encoding="utf-8")


def write_module(proposals: Sequence[Proposal], *, source: str, digest: str, module: str) -> str:
    """Return the text of a module with the proposals. Values from the data are only in literals and comments, never in code."""
    lines = [_HEAD.format(module=module, source=_comment(source), digest=_comment(digest))]
    for proposal in proposals:
        lines.append(f"        # {_comment(proposal.evidence)}\n")
        if proposal.kind:
            arguments = ", ".join(f"{name}={_plain(value)!r}" for name, value in proposal.arguments.items())
            lines.append(f"        gxe.{proposal.kind}({arguments}),\n")
    return "".join([*lines, "    ]\n"])


def _suite_folder(project: Project) -> Path:
    suite = project.path(project.settings.tests.data)
    return suite.parent if suite.suffix == ".py" else suite


def _plain(value: Any) -> Any:  # noqa: ANN401 - a literal
    """Return a value whose `repr` is a literal."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


def _comment(text: str) -> str:
    """Return a text as one line that cannot end the comment."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)
