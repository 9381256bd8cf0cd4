"""One SeldonDeployment of the tests with its controllers, its releases and what is asked of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from api_proxy import ApiProxy
from kube import ISTIO, SELDON

from sluice.errors import SluiceError
from sluice.project.projects import Project, read_project
from sluice.rollout.platforms.seldon.api import POD, connect
from sluice.rollout.platforms.seldon.journal_annotations import SeldonJournal
from sluice.rollout.platforms.seldon.objects.routes import read_weights
from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod, read_pod
from sluice.rollout.requests import approvals, commands, starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from places import Place

    from sluice.rollout.decisions.states import Journal, Transition

ENDS = {"promoted", "rolled_back", "aborted", "rejected"}
HERE = Path(__file__).parent
STAND_INS = HERE / "stand_ins"
CLOCK = HERE / "clock"
IMAGES: dict[str, tuple[int, str]] = {}
"""Number and image of each release; what ``requests`` would push and ask the registry."""

_TOML = """
[project]
name = "{name}"
[data]
snapshot = "s"
holdout = "h"
load = "m:f"
label = "l"
id = "i"
[model]
build = "m:f"
[serving]
start_timeout_seconds = {start_timeout}
plain_http = true
[rollout]
splitter = "seldon"
steps = {steps}
margin = 0.1
first_look = 60
bake_seconds = 5.0
deadline_seconds = {deadline}
request_timeout_seconds = {request_timeout}
{arms}
[seldon]
namespace = "{namespace}"
requests = {{cpu = "5m", memory = "32Mi"}}
drain_seconds = {drain}
look_seconds = 0.5
lease_seconds = 4.0
url = "{url}"
"""


def wait_for(condition: Callable[[], Any], seconds: float = 60.0, what: str = "it") -> Any:
    """Poll until it is true; gives what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (SluiceError, httpx.HTTPError, OSError) as error:
            what = f"{what} ({error})" if "(" not in what else what
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds:g} s"
        time.sleep(0.1)


@dataclass
class Controller:
    """A `sluice rollout controller` of its own process."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """As a machine that loses its power."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As Kubernetes would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class Lane:
    """One SeldonDeployment.

    Attributes:
        place: Its namespace.
        name: Its name.
        entry: URL of the proxy, without a path.
        steps, deadline, start_timeout, drain, request_timeout: As in sluice.toml.
        arms: More of the table rollout: a shadow, a holdback.
        direct: Whether its controllers speak to the API server without a proxy of the tests between.
    """

    place: Place
    name: str
    entry: str
    steps: tuple[int, ...] = (20, 50, 100)
    deadline: float = 300.0
    start_timeout: float = 60.0
    drain: float = 2.0
    direct: bool = False
    request_timeout: float = 1.5
    arms: str = ""
    controllers: list[Controller] = field(default_factory=list)
    _numbers: int = 0

    def __post_init__(self) -> None:
        self.folder = self.place.folder / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        url = f"{self.entry}/seldon/{self.place.namespace}/{self.name}"
        text = _TOML.format(
            name=self.name,
            steps=list(self.steps),
            deadline=self.deadline,
            start_timeout=self.start_timeout,
            drain=self.drain,
            request_timeout=self.request_timeout,
            arms=self.arms,
            namespace=self.place.namespace,
            url=url,
        )
        (self.folder / "sluice.toml").write_text(text)
        self.url = url
        self.project: Project = read_project(self.folder)
        self.cluster = connect(self.place.namespace)
        self.journal = SeldonJournal(self.cluster, self.project.settings)
        self.proxy = ApiProxy(self.place.kube)
        self.clock = self.folder / "clock"

    # --- controllers

    def start(self) -> Controller:
        """Start a controller, whose way to the API server is `proxy` unless it is `direct`."""
        config = self.proxy.write_kubeconfig(self.folder / "kubeconfig", self.place.namespace)
        environment = os.environ | {"PYTHONPATH": str(CLOCK), "SLUICE_TEST_CLOCK": str(self.clock)}
        if not self.direct:
            environment["KUBECONFIG"] = str(config)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode it takes seconds to start
        log = self.folder / f"controller-{len(self.controllers)}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "sluice", "rollout", "controller"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.controllers.append(Controller(process, log))
        return self.controllers[-1]

    @property
    def controller(self) -> Controller:
        """The one that was started last."""
        return self.controllers[-1]

    def restart(self) -> None:
        """Kill -9 and start another."""
        self.controller.kill()
        self.start()

    def ensure(self) -> None:
        """One controller, an honest proxy and clock, and no rollout under way."""
        self.proxy.come_back()
        self.proxy.conflicts = False
        self.clock.write_text("0")
        if not self.controllers or self.controller.process.poll() is not None:
            self.start()
        wait_for(self.journal.is_supervised, what="a controller")
        if self.read().target:
            commands.abort(self.project, by="the next test")
            wait_for(lambda: self.read().target is None, what="the end of the last test's rollout")

    def close(self) -> None:
        """End everything."""
        for one in self.controllers:
            one.stop()
        self.proxy.close()
        self.place.kube.delete(self.place.path(SELDON, "seldondeployments", self.name))

    def last_words(self) -> str:
        """Of the controllers."""
        return "\n".join(f"{one.log.name}: {one.log.read_text()[-1500:]}" for one in self.controllers[-2:])

    # --- what is asked

    def name_release(self, image: str = "", digest: str = "") -> str:
        """A new release, of the stand-in's image."""
        digest = digest or f"sha256:{uuid.uuid4().hex}{uuid.uuid4().hex}"
        self._numbers += 1
        IMAGES[digest] = (self._numbers, image or self.place.model)
        return digest

    def begin(self, image: str = "", *, approved: bool = True) -> str:
        """Ask for a new release; gives it."""
        digest = self.name_release(image)
        starts.request_rollout(self.project, digest, by="bob")
        if approved:
            approvals.approve(self.project, digest, by="ann")
        return digest

    def first(self) -> str:
        """Have a champion."""
        self.ensure()
        return self.serve(self.read().champion or self.begin())

    def serve(self, champion: str) -> str:
        """Wait until a release is champion and the proxy sends to it."""
        wait_for(lambda: self.read().champion == champion, what=f"{self.name}'s champion")
        url = f"{self.url}/api/v1.0/predictions"
        wait_for(lambda: httpx.post(url, json={}, trust_env=False).is_success, what=f"{self.name}'s route")
        return champion

    # --- what is seen

    def read(self) -> Journal:
        """The journal."""
        return self.journal.read()

    def wait_state(self, *names: str, seconds: float = 90.0) -> str:
        """Wait for one of these states."""
        return str(wait_for(lambda: (now := self.read().state.name) in names and now, seconds, f"{self.name} at {names}"))

    def wait_end(self, digest: str, seconds: float = 120.0) -> str:
        """Wait for the end of a rollout; gives its outcome."""
        wait_for(lambda: (now := self.read()).target != digest and now, seconds, f"the end of {self.name}'s rollout")
        return next(one.outcome.value for one in reversed(self.read().rollouts) if one.release == digest)

    def pods(self, digest: str) -> list[ServingPod]:
        """A release's Pods that stay."""
        found = [read_pod(pod) for pod in self.cluster.list(POD, f"seldon-deployment-id={self.name}")]
        return [pod for pod in found if pod.release == digest and not pod.terminating]

    def fault(self, digest: str, *, port: int = 9000, **fault: object) -> None:
        """Switch the faults of a release's model server, or of its executor at port 8000."""
        for pod in self.pods(digest):
            httpx.post(f"http://{pod.ip}:{port}/fault", json=fault, trust_env=False, timeout=5)

    def service(self) -> dict[str, Any]:
        """The VirtualService."""
        return self.place.kube.find(self.place.path(ISTIO, "virtualservices", self.name)) or {}

    def deployment(self) -> dict[str, Any]:
        """The SeldonDeployment."""
        return self.place.kube.find(self.place.path(SELDON, "seldondeployments", self.name)) or {}

    def seen(self) -> dict[str, int]:
        """Weights of the VirtualService by release."""
        hosts = {}
        for one in self.deployment()["spec"]["predictors"]:
            host = f"{self.name}-{one['name']}.{self.place.namespace}.svc.cluster.local"
            hosts[host] = one["annotations"]["sluice.dev/release"]
        return read_weights(self.service(), hosts) or {}

    def transitions(self, digest: str) -> list[Transition]:
        """Of a release's rollout."""
        return [one for one in self.read().transitions if one.release == digest]

    def wait_applied(self, digest: str) -> float:
        """When the last weights of a release's rollout were seen to hold."""
        return float(wait_for(lambda: self.transitions(digest)[-1].applied_at, 10, "the note of when it held"))

    # --- what must hold

    def check_converged(self) -> None:
        """Nothing is under way, and SeldonDeployment, VirtualService and journal agree."""
        journal = self.read()
        assert journal.request is None
        assert journal.command is None
        assert journal.desired_weights == {journal.champion: 100}
        wait_for(
            lambda: self.seen() == journal.desired_weights,
            10,
            f"the routes of {self.name}: {self.seen()}, not {journal.desired_weights}",
        )
        traffic = {
            one["annotations"]["sluice.dev/release"]: one["traffic"]
            for one in self.deployment()["spec"]["predictors"]
            if one["traffic"]
        }
        assert traffic == journal.desired_weights

    def check_evidence(self, digest: str) -> None:
        """Each advance rests on an interim look that passed, or on a command."""
        for one in self.transitions(digest):
            if one.to_state not in {"step-2", "baking", "promoted"} or one.from_state == "awaiting_approval":
                continue
            if "by the command of" in one.reason or "promoted by" in one.reason:
                continue
            assert one.evidence["looked"] >= 60, one
            assert one.evidence["upper_bound"] <= 0.1, one
