"""The faults of a chaos run. Each one begins, lasts for a while, and ends; then everything is as before."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kube import ISTIO, SELDON, RefusedError

from sluice.errors import SluiceError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from deployments_under_test import Controller, DeploymentUnderTest
    from rollout_namespaces import RolloutNamespace


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that was injected.

    Attributes:
        kind: Its kind.
        start, end: When it began and when it was over, in seconds since the epoch.
    """

    kind: str
    start: float
    end: float


@dataclass
class Chaos:
    """Injects faults into one deployment with two controllers, one after the other.

    Attributes:
        deployment: The deployment.
        namespace: Its namespace, whose operator is stopped sometimes.
        generator: Chooses the faults, so that a seed repeats their order.
        seconds: Scale of the faults' durations.
        faults: What was injected so far.
        errors: Errors of the injection itself.
    """

    deployment: DeploymentUnderTest
    namespace: RolloutNamespace
    generator: random.Random
    seconds: float = 4.0
    faults: list[Fault] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: tuple[str, float] | None = None

    def __post_init__(self) -> None:
        self.kinds: dict[str, Callable[[float], None]] = {
            "kill one controller": self.kill_one,
            "kill both controllers": self.kill_both,
            "freeze the acting controller": self.freeze,
            "API server refuses": lambda seconds: self.interrupt("refused", seconds),
            "API server is silent": lambda seconds: self.interrupt("silent", seconds),
            "full disk": self.fill_disk,
            "writes conflict": self.conflict,
            "clock step": self.step_clock,
            "weights edited": self.edit_weights,
            "predictor edited": self.edit_predictor,
            "routes deleted": self.delete_routes,
            "operator stopped": self.stop_operator,
        }

    def run(self) -> None:
        """Inject faults until `stop` is called.

        Only the main thread may call this: a fault starts the operator again, which ends with the thread that started it.
        """
        order: list[str] = []
        while not self._stop.is_set():
            if not order:  # each kind as often as the others
                order = self.generator.sample(sorted(self.kinds), len(self.kinds))
            kind, start = order.pop(), time.time()
            self._running = kind, start
            try:
                self.kinds[kind](self.generator.uniform(0.25, 1.0) * self.seconds)
            except (SluiceError, RefusedError, OSError, LookupError) as error:
                self.errors.append(f"{kind}: {error!r}")
            self.faults.append(Fault(kind, start, time.time()))
            self._running = None
            self._stop.wait(self.generator.uniform(0.25, 2.5) * self.seconds)

    def stop(self) -> None:
        """End the fault that is active, and inject no more."""
        self._stop.set()

    def count(self) -> Counter[str]:
        """Return how often each kind of fault was injected."""
        return Counter(one.kind for one in self.faults)

    def overlaps(self, start: float, end: float) -> list[Fault]:
        """Return the faults that were active at some moment from `start` to `end`."""
        running = self._running
        now = [Fault(running[0], running[1], time.time())] if running else []
        return [one for one in [*self.faults, *now] if one.start <= end and one.end >= start]

    # --- controllers

    def kill_one(self, seconds: float) -> None:
        """Kill one of the controllers, the acting one or the other."""
        self._kill([self.generator.choice(self._alive())], seconds)

    def kill_both(self, seconds: float) -> None:
        """Kill all controllers at once."""
        self._kill(self._alive(), seconds / 2)

    def _kill(self, controllers: list[Controller], seconds: float) -> None:
        for one in controllers:
            one.kill()
        self._stop.wait(seconds)
        started = [self.deployment.start_controller() for _ in controllers]
        deadline = time.monotonic() + 60
        while not all("controls ModelRollout" in one.log.read_text() for one in started) and time.monotonic() < deadline:
            time.sleep(0.1)

    def freeze(self, seconds: float) -> None:
        """Freeze a controller, and let it continue after others have taken over."""
        frozen = self.generator.choice(self._alive())
        frozen.process.send_signal(signal.SIGSTOP)
        self._stop.wait(2 * seconds)
        frozen.process.send_signal(signal.SIGCONT)

    def _alive(self) -> list[Controller]:
        return [one for one in self.deployment.controllers if one.process.poll() is None]

    # --- the API server and time

    def interrupt(self, how: str, seconds: float) -> None:
        """Let the API server refuse connections, or answer nothing."""
        self.deployment.proxy.interrupt(how)
        self._stop.wait(seconds)
        self.deployment.proxy.restore()

    def fill_disk(self, seconds: float) -> None:
        """Let the API server store no status, so that no decision can be written."""
        self.deployment.proxy.full = True
        self._stop.wait(2 * seconds)
        self.deployment.proxy.full = False

    def conflict(self, seconds: float) -> None:
        """Change each object right before every second write to it."""
        self.deployment.proxy.conflicts = True
        self._stop.wait(2 * seconds)
        self.deployment.proxy.conflicts = False

    def step_clock(self, seconds: float) -> None:
        """Shift the clock of the controllers' machine by up to two hours."""
        self.deployment.clock.write_text(str(self.generator.uniform(-7200.0, 7200.0)))
        self._stop.wait(seconds)
        self.deployment.clock.write_text("0")

    # --- changes by others

    def edit_weights(self, seconds: float) -> None:
        """Give all the traffic to the first destination of each route, as somebody might do by hand. It is the champion's.

        The controller must give the canary its share back. Nothing is lost, because stable answers.
        """
        champion = self.deployment.read_journal().champion or ""
        names = {one["annotations"]["sluice.dev/release"]: one["name"] for one in self._read_predictors()}
        service = self.deployment.read_virtual_service()
        for route in service.get("spec", {}).get("http", []):
            for target in route.get("route", []):
                at_champion = names.get(champion, "?") in target["destination"]["host"]
                target["weight"] = 100 if at_champion else 0
        if service:
            self.namespace.kube.merge(self._path(ISTIO, "virtualservices"), {"spec": {"http": service["spec"]["http"]}})
        self._stop.wait(seconds / 4)

    def edit_predictor(self, seconds: float) -> None:
        """Put a sidecar into a predictor that has no traffic, or set its traffic to 0."""
        predictors = self._read_predictors()
        idle = [one for one in predictors if not one.get("traffic")] or predictors
        self.generator.choice(idle)["traffic"] = 0
        idle[0].setdefault("labels", {})["edited"] = str(self.generator.random())
        self.namespace.kube.merge(self._path(SELDON, "seldondeployments"), {"spec": {"predictors": predictors}})
        self._stop.wait(seconds / 4)

    def delete_routes(self, seconds: float) -> None:
        """Delete the VirtualService."""
        with contextlib.suppress(RefusedError):
            self.namespace.kube.delete(self._path(ISTIO, "virtualservices"))
        self._stop.wait(seconds / 2)

    def stop_operator(self, seconds: float) -> None:
        """Stop Seldon's operator for a while."""
        self.namespace.stop_operator()
        self._stop.wait(seconds)
        self.namespace.start_operator()

    def _path(self, root: str, plural: str) -> str:
        return self.namespace.path(root, plural, self.deployment.name)

    def _read_predictors(self) -> list[dict[str, Any]]:
        return list(self.deployment.read_seldon_deployment().get("spec", {}).get("predictors", []))
