"""A running supervisor for the tests of the laptop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from guards import GUARD_SECONDS

from sluice.rollout.platforms.laptop.supervisor import run_supervisor
from sluice.rollout.requests import outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollout_backends import Backends

    from sluice.project.projects import Project


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def reload() -> threading.Event:
    """What lets the supervisor read sluice.toml again, as SIGHUP does in a process of its own."""
    return threading.Event()


@pytest.fixture
def serving(project: Project, backends: Backends, lines: list[str], reload: threading.Event) -> Iterator[str]:
    """Run a supervisor in a thread of this process, and yield the URL of the proxy."""
    stop = threading.Event()
    thread = threading.Thread(
        target=run_supervisor,
        args=(project,),
        kwargs={"launcher": backends, "stop": stop, "notify": lines.append, "reload": reload},
    )
    thread.start()
    try:
        yield outcomes.wait_until_serving(project, GUARD_SECONDS)
    finally:
        stop.set()
        thread.join()
