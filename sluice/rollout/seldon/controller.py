"""`sluice rollout controller`: rounds for as long as it lives, a round at once when somebody writes the journal.

Several may run; the lease lets one act. Killed at any point, the next one goes on from the journal.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING

from sluice.errors import SluiceError
from sluice.rollout.journal import ConflictError
from sluice.rollout.seldon.api import SELDON_DEPLOYMENT, connect
from sluice.rollout.seldon.control import SeldonControl
from sluice.rollout.seldon.executors import Executors
from sluice.rollout.seldon.journal import SeldonJournal
from sluice.rollout.seldon.leases import LeaseLock, lease_name
from sluice.rollout.seldon.tags import RegistryTags
from sluice.rollout.signals import end_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluice.project import Project
    from sluice.rollout.seldon.api import Cluster
    from sluice.rollout.seldon.telemetry import Metrics

WATCH_SECONDS = 60
_PAUSE_SECONDS = 1.0
_AGAIN_SECONDS = 0.05


def run_controller(
    project: Project,
    *,
    port: int | None = None,
    say: Callable[[str], object] = lambda _: None,
    stop: threading.Event | None = None,
) -> None:
    """Act on rollout requests until ctrl-C, SIGTERM or `stop`; traffic stays as it is.

    Args:
        project: Whose.
        port: Of ``/metrics``; None for no server, 0 for a free one.
        say: Told what happens, one line at a time.
        stop: Ends it when set.

    Raises:
        ServiceError: There is no cluster to talk to, or the port cannot be had.
    """
    ending, wake = stop or threading.Event(), threading.Event()
    cluster = connect(project.settings.seldon.namespace)
    journal = SeldonJournal(cluster, project.settings)
    journal.account = cluster.whoami()
    holder = f"{os.environ.get('HOSTNAME') or socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    lock = LeaseLock(cluster, lease_name(journal.name), holder, project.settings.seldon.lease_seconds)
    tags = RegistryTags(plain_http=project.settings.serving.plain_http, say=say)
    control, metrics = _build(project, cluster, journal, lock, say)
    control.mark = tags.follow
    say(f"{holder} looks after SeldonDeployment {journal.name} in {cluster.namespace}")
    with end_on_signals(ending, wake), _serve_metrics(metrics, port, say):
        watcher = threading.Thread(target=_watch, args=(cluster, journal.name, ending, wake), daemon=True, name="watch")
        watcher.start()
        _run(control, metrics, ending, wake, say)
    control.executors.close()
    tags.close()
    with contextlib.suppress(SluiceError):
        lock.release()
    say("ending: another controller may take over")


def _build(
    project: Project, cluster: Cluster, journal: SeldonJournal, lock: LeaseLock, say: Callable[[str], object]
) -> tuple[SeldonControl, Metrics]:
    from sluice.rollout.seldon.telemetry import Events, Metrics, report_transition  # noqa: PLC0415 - only a controller needs it

    metrics, events = Metrics(journal.name), Events(cluster, journal.name, lock.holder)

    record, executors = partial(report_transition, metrics, events), Executors(project.settings.rollout.slow_seconds)
    return SeldonControl(project.settings, cluster, journal, lock, say, record, executors), metrics


def _run(
    control: SeldonControl, metrics: Metrics, ending: threading.Event, wake: threading.Event, say: Callable[[str], object]
) -> None:
    said, look, again = "", control.settings.seldon.look_seconds, _AGAIN_SECONDS
    while not ending.is_set():
        wake.clear()
        started = time.monotonic()
        try:
            outcome = "acting" if control.tick() else "waiting"
            said = ""
        except ConflictError:
            outcome = "superseded"
        except (SluiceError, OSError) as error:
            outcome = "failed"
            control.status = control.status | {"trouble": str(error)}
            if str(error) != said:
                say(f"trouble: {error}")
            said = str(error)
        metrics.observe_round(time.monotonic() - started, outcome)
        if outcome != "waiting":
            metrics.observe_status(control.status.get("state", "idle"), control.status)
        # Somebody wrote meanwhile: decide anew at once, but not ever faster where that goes on.
        again = min(2 * again, look) if outcome == "superseded" else _AGAIN_SECONDS
        pause = again if outcome == "superseded" else look - (time.monotonic() - started)
        wake.wait(max(_AGAIN_SECONDS / 2, pause))


def _watch(cluster: Cluster, name: str, ending: threading.Event, wake: threading.Event) -> None:
    """Wake the rounds whenever the SeldonDeployment changes; where that cannot be watched, they look anyway."""
    while not ending.is_set():
        try:
            for _ in cluster.watch(SELDON_DEPLOYMENT, name, WATCH_SECONDS):
                wake.set()
                if ending.is_set():
                    return
        except SluiceError:
            ending.wait(_PAUSE_SECONDS)


@contextlib.contextmanager
def _serve_metrics(metrics: Metrics, port: int | None, say: Callable[[str], object]) -> Iterator[None]:
    if port is None:
        yield
        return
    from prometheus_client import start_http_server  # noqa: PLC0415 - only a controller needs it

    from sluice.errors import PortInUseError  # noqa: PLC0415

    try:
        server, thread = start_http_server(port, registry=metrics.registry)
    except OSError as error:
        raise PortInUseError(f"port {port} cannot be had: {error}", hint="Choose another with --port.") from error
    say(f"metrics on port {server.server_port}")
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
