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
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import SELDON_DEPLOYMENT, connect
from sluice.rollout.platforms.seldon.executors import Executors
from sluice.rollout.platforms.seldon.journal_annotations import SeldonJournal
from sluice.rollout.platforms.seldon.leases import LeaseLock, lease_name
from sluice.rollout.platforms.seldon.monitoring import serve_metrics
from sluice.rollout.platforms.seldon.platform import SeldonPlatform
from sluice.rollout.platforms.seldon.registry_tags import RegistryTags
from sluice.rollout.round import ControlLoop
from sluice.rollout.signals import end_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.project.projects import Project
    from sluice.rollout.platforms.seldon.api import Cluster
    from sluice.rollout.platforms.seldon.telemetry import Metrics

WATCH_SECONDS = 60
_PAUSE_SECONDS = 1.0
_AGAIN_SECONDS = 0.05


def run_controller(
    project: Project,
    *,
    port: int | None = None,
    notify: Callable[[str], object] = lambda _: None,
    stop: threading.Event | None = None,
) -> None:
    """Act on rollout requests until ctrl-C, SIGTERM or `stop`; traffic stays as it is.

    Args:
        project: Whose.
        port: Of ``/metrics`` and ``/healthz``; None for no server, 0 for a free one.
        notify: Told what happens, one line at a time.
        stop: Ends it when set.

    Raises:
        ServiceError: There is no cluster to talk to, or the port cannot be had.
    """
    ending, wake = stop or threading.Event(), threading.Event()
    cluster = connect(project.settings.seldon.namespace)
    journal = SeldonJournal(cluster, project.settings)
    holder = f"{os.environ.get('HOSTNAME') or socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    lock = LeaseLock(cluster, lease_name(journal.name), holder, project.settings.seldon.lease_seconds)
    tags = RegistryTags(plain_http=project.settings.serving.plain_http, notify=notify)
    platform, metrics = _build(project, cluster, journal, lock, notify)
    platform.tag = tags.follow
    loop = ControlLoop(platform, project.settings.rollout, notify)
    notify(f"{holder} looks after SeldonDeployment {journal.name} in {cluster.namespace}")
    with end_on_signals(ending, wake), serve_metrics(metrics, port, notify):
        journal.account = _learn_account(cluster, metrics, ending, notify)
        watcher = threading.Thread(target=_watch, args=(cluster, journal.name, ending, wake), daemon=True, name="watch")
        watcher.start()
        _run(loop, platform, metrics, ending, wake, notify)
    platform.executors.close()
    loop.shadow.close()
    tags.close()
    with contextlib.suppress(SluiceError):
        lock.release()
    notify("ending: another controller may take over")


def _build(
    project: Project, cluster: Cluster, journal: SeldonJournal, lock: LeaseLock, notify: Callable[[str], object]
) -> tuple[SeldonPlatform, Metrics]:
    from sluice.rollout.platforms.seldon.telemetry import Events, Metrics, report_transition  # noqa: PLC0415 - only a controller needs it

    metrics, events = Metrics(journal.name), Events(cluster, journal.name, lock.holder)

    record, executors = partial(report_transition, metrics, events), Executors(project.settings.rollout.slow_seconds)
    return SeldonPlatform(project.settings, cluster, journal, lock, notify, record, executors), metrics


def _run(
    loop: ControlLoop,
    platform: SeldonPlatform,
    metrics: Metrics,
    ending: threading.Event,
    wake: threading.Event,
    notify: Callable[[str], object],
) -> None:
    said, look, again = "", platform.settings.seldon.look_seconds, _AGAIN_SECONDS
    while not ending.is_set():
        wake.clear()
        started = time.monotonic()
        try:
            outcome = "acting" if loop.run_round() else "waiting"
            said = ""
        except ConflictError:
            outcome = "superseded"
        except Exception as error:  # noqa: BLE001 - whatever others wrote into the cluster: the next round looks anew
            outcome = "failed"
            what = str(error) if isinstance(error, SluiceError | OSError) else f"{type(error).__name__}: {error}"
            platform.status = platform.status | {"trouble": what}
            if what != said:
                notify(f"problem: {what}")
            said = what
        metrics.observe_round(time.monotonic() - started, outcome)
        if outcome != "waiting":
            metrics.observe_status(platform.status.get("state", "idle"), platform.status)
        # Somebody wrote meanwhile: decide anew at once, but not ever faster where that goes on.
        again = min(2 * again, look) if outcome == "superseded" else _AGAIN_SECONDS
        pause = again if outcome == "superseded" else look - (time.monotonic() - started)
        wake.wait(max(_AGAIN_SECONDS / 2, pause))


def _learn_account(cluster: Cluster, metrics: Metrics, ending: threading.Event, notify: Callable[[str], object]) -> str:
    """The controller's own name; one that starts while the API server is away waits, and is not started anew ever later."""
    said = ""
    while not ending.is_set():
        try:
            return cluster.whoami()
        except SluiceError as error:
            if str(error) != said:
                notify(f"problem: {error}")
            said = str(error)
        metrics.observe_round(0.0, "failed")
        ending.wait(_PAUSE_SECONDS)
    return ""


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
