"""A rollback on a disk that is full: it is ordered, carried out and recorded, even while another process fills the disk on."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from laptop_rollouts import make_champion, start_canary
from rollout_backends import name_release, wait_for
from rollout_traffic import Traffic

from sluice.project.projects import Project
from sluice.rollout.platforms.laptop.disk_reserves import RESERVE, RESERVED_BYTES, hold_reserve
from sluice.rollout.platforms.laptop.journal_file import open_journal_file
from sluice.rollout.requests import commands, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluice.project.settings import Settings

pytestmark = pytest.mark.usefixtures("gate_passed")

A, B = (name_release(letter) for letter in "ab")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a small disk of its own, which only an administrator can do."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a disk of 24 MB cannot be mounted: {mounted.stderr.decode()[:200]}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def project(project: Project, disk: Path) -> Project:
    """The quick project, with its state on the small disk."""
    settings: Settings = project.settings
    return Project(disk / "project", settings)


def fill(disk: Path, name: str = "filler") -> None:
    """Write until the disk is full."""
    with (disk / name).open("ab", buffering=0) as file:
        for size in (65536, 1024, 1):
            while True:
                try:
                    file.write(os.urandom(size))
                except OSError:
                    break


class Filler:
    """Takes every byte that becomes free, as a process that writes logs does."""

    def __init__(self, disk: Path) -> None:
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(disk,))

    def _run(self, disk: Path) -> None:
        while not self.stop.is_set():
            fill(disk, "log")

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()


def test_a_champion_is_rolled_back_on_a_full_disk_and_the_rollback_is_recorded(
    project: Project, disk: Path, serving: str
) -> None:
    make_champion(project, A)
    make_champion(project, B)
    wait_for((project.state / "rollout" / RESERVE).exists)
    with Traffic(serving) as traffic:
        fill(disk)
        done = commands.rollback(project, by="kim")
        wait_for(lambda: traffic.answers and traffic.answers[-1][2] == A)
    assert (done["to"], done["left"]) == (A, B)
    assert statuses.read_status(project).champion == A
    assert not traffic.failed()
    (disk / "filler").unlink()
    wait_for((project.state / "rollout" / RESERVE).exists)


@pytest.mark.slow
def test_the_traffic_of_a_rollback_moves_although_another_process_takes_every_byte_that_becomes_free(
    project: Project, disk: Path, serving: str
) -> None:
    make_champion(project, A)
    make_champion(project, B)
    wait_for((project.state / "rollout" / RESERVE).exists)
    fill(disk)
    ordered = threading.Thread(target=commands.rollback, args=(project,), kwargs={"by": "kim"})
    with Traffic(serving) as traffic:
        ordered.start()
        wait_for(lambda: open_journal_file(project).read().command is not None or statuses.read_status(project).champion == A)
        with Filler(disk):
            wait_for(lambda: traffic.answers and traffic.answers[-1][2] == A)
        for path in (disk / "filler", disk / "log"):
            path.unlink(missing_ok=True)
        ordered.join(60)
        assert not ordered.is_alive()
    assert statuses.read_status(project).champion == A
    assert not traffic.failed()


def test_a_canary_is_aborted_on_a_full_disk(project: Project, disk: Path, serving: str) -> None:
    make_champion(project, A)
    start_canary(project, B)
    wait_for(lambda: statuses.read_status(project).state == "step-1")
    wait_for((project.state / "rollout" / RESERVE).exists)
    with Traffic(serving) as traffic:
        fill(disk)
        commands.abort(project, by="kim")
        wait_for(lambda: open_journal_file(project).read().request is None)
    assert not traffic.failed()


def test_a_reserve_is_not_made_on_a_disk_that_is_almost_full(disk: Path) -> None:
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 24 * 1024 * 1024 - 2 * RESERVED_BYTES + 65536)
    hold_reserve(disk)
    assert not (disk / RESERVE).exists()
    (disk / "filler").unlink()
    hold_reserve(disk)
    assert (disk / RESERVE).stat().st_size == RESERVED_BYTES
    assert not (disk / f"{RESERVE}.new").exists()
