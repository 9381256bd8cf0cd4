"""Start the small HTTP servers of ``rollout_backend.py``, alone or as the supervisor's launcher."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from sluice.errors import IntegrityError, ServiceError
from sluice.rollout.platforms.laptop.child_processes import end_child, read_last_lines, start_child
from sluice.scoring.health_probes import HealthProbe, LivenessProbe
from sluice.scoring.resources.server_limits import read_memory

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

SCRIPT = Path(__file__).with_name("rollout_backend.py")


def name_release(letter: str) -> str:
    return "sha256:" + letter * 64


def wait_for(condition: Callable[[], object], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Return whether a process runs. A zombie that init has not reaped yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it ended before the file was opened, or before it was read
        return False


@dataclass
class Backend:
    release: str
    folder: Path
    process: subprocess.Popen[bytes]
    log_start: int
    liveness: LivenessProbe | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        address = self.folder / f"address-{self.process.pid}"
        return int(address.read_text()) if address.exists() else 0

    @property
    def reader_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def alive(self) -> bool:
        return self.process.poll() is None

    def poll_ready(self) -> bool:
        if not self.port:
            return False
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health/status", trust_env=False, timeout=1.0).is_success
        except httpx.HTTPError:
            return False

    def count_misses(self, now: float) -> int:
        if self.liveness is None:
            self.liveness = LivenessProbe(HealthProbe(self.port, "/health/status"))
        return self.liveness.poll(now)

    def read_memory(self) -> int:
        return read_memory(self.pid)

    def failure_reason(self) -> str:
        return read_last_lines(self.log) or "it wrote nothing"

    def stop(self, *, grace: float = 5.0) -> None:
        end_child(self.process, grace=grace)


@dataclass
class Backends:
    """A launcher whose servers behave as the tests say: a test writes the mode of each release into a file."""

    folder: Path
    broken: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    tag_moves: list[tuple[str | None, str | None]] = field(default_factory=list)

    def set_mode(self, release: str, **mode: object) -> None:
        folder = self.folder / release[-1]
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / "mode.draft"
        draft.write_text(json.dumps(mode))
        draft.replace(folder / "mode")

    def prepare(self, release: str) -> Path:
        if release in self.altered:
            raise IntegrityError("a blob does not have its digest", hint="Restore it.")
        if release in self.broken:
            raise ServiceError("the release cannot be unpacked")
        folder = self.folder / release[-1]
        if not (folder / "mode").exists():
            self.set_mode(release)
        return folder

    def spawn(self, release: str, folder: Path) -> Backend:
        # `exec` keeps the shell's pid, so that the pid names the file with the address of each start.
        script = f'exec {sys.executable} "{SCRIPT}" {release} "{folder}/address-$$" "{folder}/mode"'
        log = folder / "log"
        start = log.stat().st_size if log.exists() else 0
        return Backend(release, folder, start_child(["/bin/sh", "-c", script], log=log), start)

    def move_tags(self, champion: str | None, previous: str | None) -> None:
        self.tag_moves.append((champion, previous))
