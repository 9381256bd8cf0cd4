"""Questions about this machine: Python, the locked libraries, the serving environment, disk space and the proxy's port."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from sluice.doctor.findings import FAIL, NOTE, PASS, Finding, ask
from sluice.errors import ConfigurationError
from sluice.rollout.requests.statuses import read_status

if TYPE_CHECKING:
    from sluice.project.projects import Project

LEAST_FREE_BYTES = 2 * 10**9
"""Free space below which a run may fail: a snapshot, a model and a release take some hundred MB in a large project."""

SUPPORTED = ((3, 11), (3, 12), (3, 13))
"""The versions of Python that the locks are for."""

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_SECONDS = 60


def check_machine(project: Project, *, serves_here: bool = True) -> list[Finding]:
    """Return the findings about this machine.

    Args:
        project: The project.
        serves_here: Whether releases are tested or served on this machine. If not, a missing serving environment is only a note.
    """
    return [
        check_python(),
        check_lock(project),
        check_serving(project, serves_here=serves_here),
        check_disk(project),
        check_port(project),
    ]


def check_python() -> Finding:
    """Compare the version of Python with those of the locks."""
    found = f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if sys.version_info[:2] in SUPPORTED:
        return Finding("Python", PASS, found)
    versions = ", ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
    return Finding(
        "Python", NOTE, f"{found}, but the locks are for {versions}", "Use one of these: `make setup PYTHON=python3.11`."
    )


def check_lock(project: Project) -> Finding:
    """Compare the installed libraries with those that the project's lock names."""
    lock = project.path("locks/tool.txt")
    try:
        pinned = dict(_PINNED.findall(lock.read_text(encoding="utf-8")))
    except OSError:
        return Finding(
            "locked libraries", NOTE, f"{lock} does not exist", "Keep a lock, so that every machine has the same libraries."
        )
    different = compare_versions(pinned)
    if not different:
        return Finding(
            "locked libraries", PASS, f"all {len(pinned)} libraries are as {lock.name} says, as far as they are installed"
        )
    return Finding(
        "locked libraries",
        FAIL,
        f"{len(different)} of {len(pinned)} libraries differ: {', '.join(different[:5])}",
        "Run `make setup`.",
    )


def compare_versions(pinned: dict[str, str]) -> list[str]:
    """Return each installed library with another version than the pinned one, as ``name 1.0 (locked: 1.1)``."""
    different = []
    for name, wanted in sorted(pinned.items()):
        try:
            found = version(name)
        except PackageNotFoundError:  # a library of another platform
            continue
        if found != wanted:
            different.append(f"{name} {found} (locked: {wanted})")
    return different


def check_serving(project: Project, *, serves_here: bool) -> Finding:
    """Start the serving environment. Without it, this machine cannot test or serve a release, but Pods can."""
    found = ask("serving environment", lambda: describe_serving(project))
    if found.outcome == PASS or serves_here:
        return found
    return Finding(
        found.subject, NOTE, found.detail, f"{found.fix} Only `sluice run` and `sluice serve` on this machine need it."
    )


def describe_serving(project: Project) -> str:
    """Return the version of Python and of seldon-core in the serving environment.

    Raises:
        ConfigurationError: It cannot be started, or has no seldon-core.
    """
    python = project.path(project.settings.serving.python)
    script = (
        "import sys, importlib.metadata as m; print('Python', sys.version.split()[0] + ', seldon-core', m.version('seldon-core'))"
    )
    try:
        done = subprocess.run([str(python), "-c", script], capture_output=True, text=True, check=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        last = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
        raise ConfigurationError(
            f"serving.python is {python}, which does not work: {''.join(last)}",
            hint="Run `make setup`, or correct serving.python.",
        ) from error
    return done.stdout.strip()


def check_disk(project: Project) -> Finding:
    """Compare the free space at the state folder with what a run needs."""
    folder = next(each for each in (project.state, *project.state.parents) if each.is_dir())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB are free at {folder}"
    if free >= LEAST_FREE_BYTES:
        return Finding("disk space", PASS, text)
    return Finding("disk space", FAIL, text, f"Free {LEAST_FREE_BYTES / 1e9:.0f} GB, or set $SLUICE_STATE to another disk.")


def check_port(project: Project) -> Finding:
    """Look whether the proxy's port is free, or in use by this project's own proxy."""
    port = project.settings.serving.port
    if project.settings.rollout.in_cluster or port == 0:
        return Finding("port of the proxy", PASS, "no fixed port is needed")
    if (status := read_status(project)).url:
        return Finding("port of the proxy", PASS, f"`sluice serve` of this project answers at {status.url}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Finding(
                "port of the proxy",
                FAIL,
                f"port {port} cannot be used: {error.strerror}",
                "Set serving.port to another port, or to 0.",
            )
    return Finding("port of the proxy", PASS, f"port {port} is free")
