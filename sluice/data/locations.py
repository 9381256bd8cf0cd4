"""Where the newest snapshot is: ``data.snapshot`` as a path, a URL or a pattern, or what ``data.snapshot_command`` prints.

A pattern names immutable files, or folders of Parquet files. The newest is the last one in the natural order of the names. The
time of a file's last change never counts, because a copy or a restored backup has another one.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shlex
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.data.external_errors import describe_error, external_call
from sluice.data.snapshots import is_url, strip_credentials
from sluice.errors import ConfigurationError, DataError
from sluice.project.projects import contains_file, require_separate_holdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.project.projects import Project

_WILDCARDS = re.compile(r"[*?\[]")
_WEB_QUERY = re.compile(r"[?#].*$", re.DOTALL)
_QUERY = re.compile(r"\?[^/?=*\[]+=.*$", re.DOTALL)
_COMMAND_HINT = (
    "Run the command in the project's folder. The last line that it prints must be the path or URL of the newest snapshot, and "
    "its exit code must be 0. Correct data.snapshot_command in sluice.toml."
)


@dataclass(frozen=True, slots=True)
class SnapshotLocation:
    """A concrete location.

    Attributes:
        name: A path as sluice.toml would name it (relative to the project, or absolute), or an fsspec URL. It is no pattern.
        origin: What led to it, for people: the pattern and the number of matches, or the command; empty if it was named itself.
        configured: Whether sluice.toml names it, and not an argument.
    """

    name: str
    origin: str = ""
    configured: bool = False


def resolve_snapshot(project: Project, location: str = "") -> SnapshotLocation:
    """Return where the newest snapshot is now. A second call may have another answer, so a run asks once and pins it.

    Args:
        project: The project.
        location: Path, URL or pattern; empty for what sluice.toml names.

    Raises:
        ConfigurationError: A pattern is in a chained URL, it also matches the holdout, or the newest snapshot is the holdout.
        DataError: Nothing matches the pattern, or the command fails, prints nothing, prints no existing path, or takes too long.
    """
    settings = project.settings.data
    if not location and settings.snapshot_command:
        name = _run_command(project, settings.snapshot_command, seconds=settings.snapshot_command_seconds)
        require_separate_holdout(project.root, name, settings.holdout)
        return SnapshotLocation(name, origin=f"data.snapshot_command ({shlex.join(settings.snapshot_command)})", configured=True)
    name = location or settings.snapshot
    if not is_pattern(name) or (not is_url(name) and project.path(name).exists()):
        return SnapshotLocation(name, configured=not location)
    matches = _find_matches(project, name)
    newest = pick_newest(matches)
    require_separate_holdout(project.root, newest, settings.holdout)
    found = f"the last of {len(matches):,} that match" if len(matches) > 1 else "the only one that matches"
    return SnapshotLocation(newest, origin=f"{found} {strip_credentials(name)}", configured=not location)


def locate_snapshot(project: Project, location: str = "") -> str:
    """Return the absolute path or the URL of the newest snapshot.

    Raises:
        ConfigurationError: As for `resolve_snapshot`.
        DataError: As for `resolve_snapshot`.
    """
    return project.locate(resolve_snapshot(project, location).name)


def is_pattern(location: str) -> bool:
    """Return whether a path or URL has a wildcard (``*``, ``?``, ``[…]``). The query of a URL has none.

    >>> [is_pattern(name) for name in ("data/a-*.csv", "s3://b/a.csv?versionId=3", "s3://b/a-?.csv", "https://host/a.csv?x=*")]
    [True, False, True, False]
    """
    if is_url(location):
        location = (_WEB_QUERY if location.startswith(("http://", "https://")) else _QUERY).sub("", location)
    return bool(_WILDCARDS.search(location))


def pick_newest(names: Sequence[str]) -> str:
    """Return the last name in natural order: folder by folder, and numbers compare as numbers.

    >>> pick_newest(["data/v9.parquet", "data/v10.parquet", "data/v2.parquet"])
    'data/v10.parquet'
    """
    return max(names, key=_order_naturally)


def _order_naturally(name: str) -> tuple[list[list[tuple[int, int, str]]], str]:
    folders = [re.findall(r"[0-9]+|[^0-9]+", part) for part in name.split("/")]
    # A number comes before a text at the same place. Two spellings of a number (1 and 01) are told apart by the whole name.
    return [[(0, int(piece), "") if piece[0] in "0123456789" else (1, 0, piece) for piece in part] for part in folders], name


def _find_matches(project: Project, pattern: str) -> list[str]:
    """Return what matches a pattern, as sluice.toml would name it: files, or folders if no file does.

    The holdout must be neither among them nor in one of the folders.
    """
    shown = strip_credentials(pattern)
    files, folders = (_find_urls if is_url(pattern) else _find_paths)(project, pattern)
    matches = [name for name in files if not _is_marker(name, pattern)] or [
        name for name in folders if not _is_marker(name, pattern)
    ]
    if not matches:
        raise DataError(
            f"the pattern {shown} matches no file and no folder",
            hint="Check the path and the wildcards of data.snapshot or of the argument, and that an export has arrived.",
        )
    holdout = project.settings.data.holdout
    if any(_is_same(project, name, holdout) or contains_file(project.root, name, holdout) for name in matches):
        raise ConfigurationError(
            f"the pattern {shown} also matches the holdout {strip_credentials(holdout)}, so a model could be trained on the rows "
            "that it is tested on",
            hint="Make the pattern narrower, or move the holdout to another folder and set data.holdout.",
        )
    return matches


def _is_marker(name: str, pattern: str) -> bool:
    """Return whether a name begins with ``_`` or ``.``, as markers of other tools do, and the pattern does not ask for it."""
    last, asked = (text.rstrip("/").rpartition("/")[2] for text in (name, pattern))
    return last.startswith(("_", ".")) and not asked.startswith(("_", "."))


def _find_paths(project: Project, pattern: str) -> tuple[list[str], list[str]]:
    """Return the files and the folders that match a path pattern."""
    with external_call(f"cannot look for {pattern}", hint="Check the pattern, and check that you may read the folder."):
        found = glob.glob(pattern, root_dir=project.root, recursive=True)  # noqa: PTH207 - the pattern may be absolute
    files = [name for name in found if project.path(name).is_file()]
    return files, [name for name in found if project.path(name).is_dir()]


def _find_urls(project: Project, pattern: str) -> tuple[list[str], list[str]]:
    """Return the objects and the folders that match a URL pattern. The URL of a folder ends with ``/``."""
    del project
    shown = strip_credentials(pattern)
    if "::" in pattern:
        raise ConfigurationError(
            f"the chained URL {shown} contains a wildcard, and Sluice cannot look inside an archive or a cache for files",
            hint="Name one file, or let data.snapshot_command print the URL of the newest one.",
        )
    import fsspec  # noqa: PLC0415 - it takes 0.1 s, and local files do not need it

    hint = "Check the URL and your credentials. Some protocols need another library: s3fs for s3://, gcsfs for gs://, adlfs for abfs://."
    with external_call(f"cannot look for {shown}", hint=hint):
        system, path = fsspec.core.url_to_fs(pattern.rstrip("/"))
        found = system.glob(path, detail=True)
    # The user, the host and the spelling of the protocol stay as they were given: fsspec's own inverse loses them.
    start = pattern.rstrip("/").removesuffix(path) if pattern.rstrip("/").endswith(path) else None
    urls = {name: system.unstrip_protocol(name) if start is None else f"{start}{name}" for name in found}
    files = [urls[name] for name, details in found.items() if details["type"] == "file"]
    return files, [f"{urls[name]}/" for name, details in found.items() if details["type"] == "directory"]


def _is_same(project: Project, name: str, holdout: str) -> bool:
    """Return whether two locations are one file. A link to the holdout is the holdout."""
    name, holdout = (text.removeprefix("file://") for text in (name, holdout))
    if is_url(name) or is_url(holdout):
        return name == holdout
    with contextlib.suppress(OSError):
        return project.path(name).samefile(project.path(holdout))
    return False


def _run_command(project: Project, command: Sequence[str], *, seconds: float) -> str:
    """Run the command in the project's folder, and return the last line that it prints."""
    shown = f"data.snapshot_command ({shlex.join(command)})"
    try:
        process = subprocess.Popen(
            list(command),
            cwd=project.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # so that the time limit also ends what the command has started
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{shown} cannot be started: {describe_error(error)}", hint=_COMMAND_HINT) from error
    try:
        printed, problems = process.communicate(timeout=seconds)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        hint = "Let the command name a snapshot and not make one, or raise data.snapshot_command_seconds."
        raise DataError(f"{shown} did not end within {seconds:g} s", hint=hint) from error
    if process.returncode:
        reason = _last_line(problems) or _last_line(printed) or "it printed nothing"
        raise DataError(f"{shown} failed with exit code {process.returncode}: {reason}", hint=_COMMAND_HINT)
    name = _last_line(printed)
    if not name:
        raise DataError(f"{shown} printed nothing", hint=_COMMAND_HINT)
    if not is_url(name) and not Path(project.locate(name)).exists():
        raise DataError(f"{shown} printed {name!r}, but there is no such file", hint=_COMMAND_HINT)
    return name


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
