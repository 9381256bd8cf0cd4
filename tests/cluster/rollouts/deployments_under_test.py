"""A SeldonDeployment that a test works with: its project, its controllers, its releases and its state in the cluster."""

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
from kube import ISTIO, SELDON, SLUICE

from sluice.errors import SluiceError
from sluice.kubernetes_calls import POD
from sluice.project.projects import Project, read_project
from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT, connect
from sluice.rollout.platforms.seldon.objects.routes import read_weights
from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod, read_pod
from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal
from sluice.rollout.requests import approvals, commands, starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollout_namespaces import RolloutNamespace

    from sluice.rollout.decisions.states import Journal, Transition

HERE = Path(__file__).parent
STAND_INS = HERE / "stand_ins"
CLOCK = HERE / "clock"
IMAGES: dict[str, tuple[int, str]] = {}
"""Release → its number and image. A fixture replaces `publish_release`, which would push the image, by a look-up in this dict."""

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
bake_seconds = 10.0
deadline_seconds = {deadline}
request_timeout_seconds = {request_timeout}
{rollout_settings}
[seldon]
namespace = "{namespace}"
requests = {{cpu = "5m", memory = "32Mi"}}
drain_seconds = {drain}
look_seconds = 0.5
url = "{url}"
gateway_metrics = "{gateway_metrics}"
{seldon_settings}
"""


def wait_for(condition: Callable[[], Any], seconds: float = 60.0, what: str = "the condition") -> Any:
    """Poll until a condition is true, and return its value.

    Errors of Sluice, of HTTP and of the operating system count as "not yet true". The last message names the first of them.

    Raises:
        AssertionError: The condition did not become true in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (SluiceError, httpx.HTTPError, OSError) as error:
            what = f"{what} ({error})" if "(" not in what else what
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for: {what}"
        time.sleep(0.1)


@dataclass
class Controller:
    """A process that runs `sluice rollout controller`.

    Attributes:
        process: The process.
        log: File with its output.
    """

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """Kill the process with SIGKILL, as if its machine lost power."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop the process as Kubernetes does: SIGTERM, and SIGKILL after 10 s."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class DeploymentUnderTest:
    """One SeldonDeployment with its project and its controllers.

    Attributes:
        namespace: Its namespace.
        name: The name of the project and of the SeldonDeployment.
        proxy_url: URL of the data plane, without a path.
        steps, deadline, start_timeout, drain, request_timeout: Settings in sluice.toml, with times in seconds.
        rollout_settings: Further lines of the table `rollout`, for example for a shadow or a holdback.
        seldon_settings: Further lines of the table `seldon`.
        direct: Whether its controllers connect to the API server directly and not through the tests' `ApiProxy`.
        controllers: All controllers that were started, in this order.
    """

    namespace: RolloutNamespace
    name: str
    proxy_url: str
    steps: tuple[int, ...] = (20, 50, 100)
    deadline: float = 300.0
    start_timeout: float = 60.0
    drain: float = 2.0
    direct: bool = False
    request_timeout: float = 1.5
    rollout_settings: str = ""
    seldon_settings: str = ""
    controllers: list[Controller] = field(default_factory=list)
    _numbers: int = 0

    def __post_init__(self) -> None:
        self.folder = self.namespace.folder / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        url = f"{self.proxy_url}/seldon/{self.namespace.name}/{self.name}"
        text = _TOML.format(
            name=self.name,
            steps=list(self.steps),
            deadline=self.deadline,
            start_timeout=self.start_timeout,
            drain=self.drain,
            request_timeout=self.request_timeout,
            rollout_settings=self.rollout_settings,
            namespace=self.namespace.name,
            url=url,
            gateway_metrics=self.namespace.gateway_metrics,
            seldon_settings=self.seldon_settings,
        )
        (self.folder / "sluice.toml").write_text(text)
        self.url = url
        self.project: Project = read_project(self.folder)
        self.cluster = connect(self.namespace.name)
        self.journal = SeldonJournal(self.cluster, self.project.settings, self.cluster.clock)
        self.proxy = ApiProxy(self.namespace.kube)
        self.clock = self.folder / "clock"

    # --- controllers

    def start_controller(self) -> Controller:
        """Start a controller. It reaches the API server through `proxy`, unless the deployment is `direct`."""
        config = self.proxy.write_kubeconfig(self.folder / "kubeconfig", self.namespace.name)
        path = os.pathsep.join([str(CLOCK), str(HERE.parents[2])])  # the code of this checkout
        environment = os.environ | {"PYTHONPATH": path, "SLUICE_TEST_CLOCK": str(self.clock)}
        if not self.direct:
            environment["KUBECONFIG"] = str(config)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # Without bytecode, a controller takes seconds to start.
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
        """The controller that was started last."""
        return self.controllers[-1]

    def restart_controller(self) -> None:
        """Kill the last controller with SIGKILL, and start another one."""
        self.controller.kill()
        self.start_controller()

    def ensure_ready(self) -> None:
        """Make sure that a controller runs, that API server and clock are without faults, and that no rollout is running."""
        self.proxy.restore()
        self.proxy.conflicts = False
        self.clock.write_text("0")
        if not self.controllers or self.controller.process.poll() is not None:
            self.start_controller()
        wait_for(self.journal.is_supervised, what="a controller")
        if self.read_journal().target:
            commands.abort(self.project, by="the next test")
            wait_for(lambda: self.read_journal().target is None, what="the end of the previous test's rollout")

    def close(self) -> None:
        """Stop the controllers, and delete the ModelRollout and the SeldonDeployment."""
        for one in self.controllers:
            one.stop()
        self.proxy.close()
        self.namespace.kube.delete(self.namespace.path(SLUICE, "modelrollouts", self.name))
        self.namespace.kube.delete(self.namespace.path(SELDON, "seldondeployments", self.name))

    def read_logs(self) -> str:
        """Return the ends of the logs of the last two controllers."""
        return "\n".join(f"{one.log.name}: {one.log.read_text()[-1500:]}" for one in self.controllers[-2:])

    # --- requests

    def name_release(self, image: str = "", digest: str = "") -> str:
        """Return the digest of a new release. Its image is the stand-in model unless another one is given."""
        digest = digest or f"sha256:{uuid.uuid4().hex}{uuid.uuid4().hex}"
        self._numbers += 1
        IMAGES[digest] = (self._numbers, image or self.namespace.model_image)
        return digest

    def start_rollout(self, image: str = "", *, approved: bool = True) -> str:
        """Request the rollout of a new release, approve it if `approved` is true, and return its digest."""
        digest = self.name_release(image)
        starts.request_rollout(self.project, digest, by="bob")
        if approved:
            approvals.approve(self.project, digest, by="ann")
        return digest

    def ensure_champion(self) -> str:
        """Make sure that a champion answers requests and that no rollout is running. Return the champion."""
        self.ensure_ready()
        return self.wait_serving(self.read_journal().champion or self.start_rollout())

    def wait_serving(self, champion: str) -> str:
        """Wait until a release is champion and the data plane answers requests. Return the release."""
        wait_for(lambda: self.read_journal().champion == champion, what=f"{self.name}'s champion")
        url = f"{self.url}/api/v1.0/predictions"
        wait_for(lambda: httpx.post(url, json={}, trust_env=False).is_success, what=f"{self.name}'s route")
        return champion

    # --- state

    def read_journal(self) -> Journal:
        """Read the journal from the ModelRollout."""
        return self.journal.read()

    def wait_state(self, *names: str, seconds: float = 90.0) -> str:
        """Wait until the rollout is in one of these states, and return the state."""
        return str(
            wait_for(
                lambda: (now := self.read_journal().state.name) in names and now,
                seconds,
                f"{self.name} in the state {' or '.join(names)}",
            )
        )

    def wait_accepted(self, digest: str) -> None:
        """Wait until the controller has written down the request for a release."""

        def is_accepted() -> bool:
            status = (self.cluster.get(MODEL_ROLLOUT, self.name) or {}).get("status", {})
            return bool(status.get("canary", {}).get("digest") == digest)

        wait_for(is_accepted, what=f"the acceptance of {digest[:19]}")

    def wait_end(self, digest: str, seconds: float = 120.0) -> str:
        """Wait until a release's rollout has ended, and return its outcome."""
        wait_for(lambda: (now := self.read_journal()).target != digest and now, seconds, f"the end of {self.name}'s rollout")
        return next(one.outcome.value for one in reversed(self.read_journal().rollouts) if one.release == digest)

    def pods(self, digest: str) -> list[ServingPod]:
        """Return a release's Pods that are not terminating."""
        found = [read_pod(pod) for pod in self.cluster.list(POD, f"seldon-deployment-id={self.name}")]
        return [pod for pod in found if pod.release == digest and not pod.terminating]

    def set_fault(self, digest: str, *, port: int = 9000, **fault: object) -> None:
        """Set the fault of a release's model servers, or of its executors (port 8000)."""
        for pod in self.pods(digest):
            httpx.post(f"http://{pod.ip}:{port}/fault", json=fault, trust_env=False, timeout=5)

    def read_virtual_service(self) -> dict[str, Any]:
        """Read the VirtualService; empty if there is none."""
        return self.namespace.kube.find(self.namespace.path(ISTIO, "virtualservices", self.name)) or {}

    def read_seldon_deployment(self) -> dict[str, Any]:
        """Read the SeldonDeployment; empty if there is none."""
        return self.namespace.kube.find(self.namespace.path(SELDON, "seldondeployments", self.name)) or {}

    def route_weights(self) -> dict[str, int]:
        """Return the weights in the VirtualService: release → per cent."""
        hosts = {}
        for one in self.read_seldon_deployment()["spec"]["predictors"]:
            host = f"{self.name}-{one['name']}.{self.namespace.name}.svc.cluster.local"
            hosts[host] = one["annotations"]["sluice.dev/release"]
        return read_weights(self.read_virtual_service(), hosts) or {}

    def transitions(self, digest: str) -> list[Transition]:
        """Return the transitions of a release's rollout."""
        return [one for one in self.read_journal().transitions if one.release == digest]

    def wait_applied(self, digest: str) -> float:
        """Return when the controller confirmed the last weights of a release's rollout, in seconds since the epoch."""
        return float(
            wait_for(lambda: self.transitions(digest)[-1].applied_at, 10, "the time at which the weights were confirmed")
        )

    def kubectl(self, verb: str, *flags: str) -> str:
        """Call kubectl for the ModelRollout, and return what it prints."""
        command = ["kubectl", verb, f"modelrollout/{self.name}", "-n", self.namespace.name, *flags]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    # --- checks

    def check_converged(self) -> None:
        """Check that no request or command is open, and that SeldonDeployment, VirtualService and journal agree."""
        journal = self.read_journal()
        assert journal.request is None
        assert journal.command is None
        assert journal.desired_weights == {journal.champion: 100}
        wait_for(
            lambda: self.route_weights() == journal.desired_weights,
            10,
            f"the routes of {self.name}: {self.route_weights()}, not {journal.desired_weights}",
        )
        traffic = {
            one["annotations"]["sluice.dev/release"]: one["traffic"]
            for one in self.read_seldon_deployment()["spec"]["predictors"]
            if one["traffic"]
        }
        assert traffic == journal.desired_weights

    def check_evidence(self, digest: str) -> None:
        """Check that each advance has a reason: an interim look that passed, or a command."""
        for one in self.transitions(digest):
            if one.to_state not in {"step-2", "baking", "promoted"} or one.from_state == "awaiting_approval":
                continue
            if "by the command of" in one.reason or "promoted by" in one.reason:
                continue
            if one.from_state == "baking" and one.to_state != "promoted":
                continue  # an alarm moved the canary back
            by_shadow = one.from_state == "step-1" and one.evidence.get("shadow_requests", 0) >= 60
            assert one.evidence["looked"] >= (6 if by_shadow else 60), one
            assert one.evidence["upper_bound"] <= 0.1, one
