"""The process behind `sluice rollout controller`. It runs the control rounds in a cluster.

A control round runs at a fixed interval, and at once when another process changes the ModelRollout or the SeldonDeployment.
Several controllers may run: only the holder of the lease acts. A controller may be killed at any point: the next one reads the
journal and continues.
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
from sluice.rollout.platforms.seldon.api import DESTINATION_RULE, MODEL_ROLLOUT, SELDON_DEPLOYMENT, VIRTUAL_SERVICE, connect
from sluice.rollout.platforms.seldon.counters.counting import make_counters
from sluice.rollout.platforms.seldon.leases.lease_locks import LeaseLock, lease_name
from sluice.rollout.platforms.seldon.leases.lease_renewals import LeaseRenewal
from sluice.rollout.platforms.seldon.metrics_server import serve_metrics
from sluice.rollout.platforms.seldon.platform import SeldonPlatform
from sluice.rollout.platforms.seldon.registry_tags import RegistryTags
from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal
from sluice.rollout.round import ControlLoop
from sluice.rollout.signals import set_on_signals
from sluice.rollout.verifications import verify_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluice.project.projects import Project
    from sluice.rollout.platforms.seldon.api import Cluster
    from sluice.rollout.platforms.seldon.telemetry import Metrics

WATCH_SECONDS = 60
NO_KEYS = "[trust] names no keys, so no release is verified: whoever may request a rollout chooses the image of its server"
_PAUSE_SECONDS = 1.0
_RETRY_SECONDS = 0.05


def run_controller(
    project: Project,
    *,
    port: int | None = None,
    notify: Callable[[str], object] = lambda _: None,
    stop: threading.Event | None = None,
) -> None:
    """Run control rounds until ctrl-C, SIGTERM or `stop`. The traffic stays as it is when the controller ends.

    Args:
        project: The project whose releases are served.
        port: Port of ``/metrics`` and ``/healthz``. None starts no HTTP server; 0 chooses a free port.
        notify: Called with each event, one line of text.
        stop: Ends the controller when it is set.

    Raises:
        ConfigurationError: A key of ``[trust]`` cannot be used.
        ServiceError: No cluster can be reached, or the port cannot be used.
    """
    stopping, wake = stop or threading.Event(), threading.Event()
    # A round must not wait for an API server that cannot answer now, because the next round tries again.
    cluster = connect(project.settings.seldon.namespace, patience_seconds=0.0)
    journal = SeldonJournal(cluster, project.settings, cluster.clock)
    holder = f"{os.environ.get('HOSTNAME') or socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    seconds = project.settings.seldon.lease_seconds
    leases = connect(cluster.namespace, patience_seconds=0.0, limit_seconds=seconds / 3)
    lock = LeaseLock(leases, lease_name(journal.name), holder, seconds, cluster.clock)
    tags = RegistryTags(plain_http=project.settings.serving.plain_http, notify=notify)
    platform, metrics = _build_platform(project, cluster, journal, lock, notify)
    verifier = verify_images(project, cluster.clock)
    platform.tag, platform.verify = tags.move_tags, verifier.verify
    loop = ControlLoop(platform, project.settings.rollout, notify, cluster.clock)
    notify(f"controller {holder} controls ModelRollout {journal.name} in namespace {cluster.namespace}")
    if not verifier.keys:
        notify(NO_KEYS)
    with set_on_signals(stopping, wake), serve_metrics(metrics, port, notify):
        journal.account = _read_account(cluster, metrics, stopping, notify)
        if not verifier.keys:
            platform.warn("NotVerified", NO_KEYS)
        cluster.may_write = platform.tenure.may_write
        for watch, on_deletion in (
            (lambda: cluster.watch(MODEL_ROLLOUT, journal.name, WATCH_SECONDS), None),
            (lambda: cluster.watch(SELDON_DEPLOYMENT, journal.name, WATCH_SECONDS), None),
            (lambda: cluster.watch(VIRTUAL_SERVICE, journal.name, WATCH_SECONDS), platform.restore_deleted_routes),
            (lambda: cluster.watch(DESTINATION_RULE, "", WATCH_SECONDS), None),
        ):
            arguments = (watch, stopping, wake, on_deletion)
            threading.Thread(target=_wake_on_changes, args=arguments, daemon=True, name="watch").start()
        renewal = LeaseRenewal(lock, platform.build_annotations, wake.set, notify)
        renewal.start()
        try:
            _run_rounds(loop, platform, metrics, stopping, wake, notify)
        finally:
            renewal.stop()
    platform.counters.close()
    loop.shadow.close()
    loop.faults.close()
    tags.close()
    with contextlib.suppress(SluiceError):
        lock.release()
    notify("stopping; another controller may take over")


def _build_platform(
    project: Project, cluster: Cluster, journal: SeldonJournal, lock: LeaseLock, notify: Callable[[str], object]
) -> tuple[SeldonPlatform, Metrics]:
    from sluice.rollout.platforms.seldon.telemetry import Events, Metrics, report_transition  # noqa: PLC0415 - only a controller needs it

    metrics, events = Metrics(journal.name), Events(cluster, journal.name, lock.holder)

    record, counters = partial(report_transition, metrics, events), make_counters(project.settings, cluster.clock)
    platform = SeldonPlatform(project.settings, cluster, journal, lock, notify, counters, record, clock=cluster.clock)
    platform.warn = events.warn
    return platform, metrics


def _run_rounds(
    loop: ControlLoop,
    platform: SeldonPlatform,
    metrics: Metrics,
    stopping: threading.Event,
    wake: threading.Event,
    notify: Callable[[str], object],
) -> None:
    """Run control rounds until `stopping` is set. Each error is reported once, and the next round tries again."""
    last_problem, interval, retry_pause = "", platform.settings.seldon.look_seconds, _RETRY_SECONDS
    while not stopping.is_set():
        wake.clear()
        started = time.monotonic()
        try:
            outcome = "acting" if loop.run_round() else "waiting"
            last_problem = ""
        except ConflictError:
            outcome = "superseded"
        except Exception as error:  # noqa: BLE001 - the controller must survive whatever others wrote into the cluster
            outcome = "failed"
            problem = str(error) if isinstance(error, SluiceError | OSError) else f"{type(error).__name__}: {error}"
            platform.status = platform.status | {"trouble": problem}
            if problem != last_problem:
                notify(f"problem: {problem}")
            last_problem = problem
        metrics.observe_round(time.monotonic() - started, outcome)
        if outcome != "waiting":
            metrics.observe_status(platform.status.get("state", "idle"), platform.status)
        # After a conflict the next round follows at once. The pauses grow if the conflicts go on.
        retry_pause = min(2 * retry_pause, interval) if outcome == "superseded" else _RETRY_SECONDS
        pause = retry_pause if outcome == "superseded" else interval - (time.monotonic() - started)
        wake.wait(max(_RETRY_SECONDS / 2, pause))


def _read_account(cluster: Cluster, metrics: Metrics, stopping: threading.Event, notify: Callable[[str], object]) -> str:
    """Return the controller's own account. While the API server does not answer, wait, so that the Pod does not restart."""
    last_problem = ""
    while not stopping.is_set():
        try:
            return cluster.whoami()
        except SluiceError as error:
            if str(error) != last_problem:
                notify(f"problem: {error}")
            last_problem = str(error)
        metrics.observe_round(0.0, "failed")
        stopping.wait(_PAUSE_SECONDS)
    return ""


def _wake_on_changes(
    watch: Callable[[], Iterator[str]], stopping: threading.Event, wake: threading.Event, on_deletion: Callable[[], object] | None
) -> None:
    """Start a round whenever an object changes. If it cannot be watched, the rounds run at their interval only."""
    while not stopping.is_set():
        try:
            for change in watch():
                if change == "DELETED" and on_deletion is not None:
                    on_deletion()
                wake.set()
                if stopping.is_set():
                    return
        except SluiceError:
            stopping.wait(_PAUSE_SECONDS)
