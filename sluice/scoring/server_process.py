"""A release being served: a real Seldon microservice in the serving environment, as it is served in production.

Starting never blocks (`spawn_server`); `start_server` waits for readiness too. A server lives in a process group of its own
and ends with the process that started it, however that ends (see `sluice.scoring.server_launcher`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import sluice
from sluice.errors import ConfigurationError, PortInUseError, ServiceError
from sluice.scoring.client import HEALTH_PATH, ReleaseClient
from sluice.scoring.probe import Probe
from sluice.scoring.recent_requests import RECENT_VARIABLE, plan_variables
from sluice.scoring.scorer import DIGEST_VARIABLE, FOLDER_VARIABLE

if TYPE_CHECKING:
    from types import TracebackType

    from sluice.project.projects import Project

HOST = "127.0.0.1"
GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.02
_LOG_TAIL_BYTES = 16_384
_REFUSAL = "refused: "
_LAUNCHER = Path(__file__).with_name("server_launcher.py")
SELDON_ARGUMENTS = (
    "--service-type=MODEL",
    "--log-level=WARNING",
    "--workers=1",
    "--threads=16",  # so many requests can be asked in one call of the model; without threads, connections do not stay open
    "--keepalive=7200",  # longer than a proxy keeps one (Envoy: an hour), so that no request meets a closing connection
    "--grpc-workers=0",
)
_DROPPED_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "TRACING", RECENT_VARIABLE)
_DROPPED_PREFIXES = ("PREDICTIVE_UNIT_", "SELDON_", "GUNICORN_", "FLASK_", "LISTEN_", "MODEL_", "PAYLOAD_")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A server's process and what keeps it alive."""

    process: subprocess.Popen[bytes]
    lifeline: int
    log_start: int


class ServedRelease(ReleaseClient):
    """A server of one release.

    Attributes:
        url: Where it listens, ``http://127.0.0.1:<port>``.
        port: The port of `url`.
        pid: Of its first process, which leads the process group.
        digest: The release.
        log: Its output.
    """

    def __init__(self, started: _Started, *, port: int, digest: str, folder: Path, log: Path) -> None:
        """Made by `spawn_server`."""
        super().__init__(f"http://{HOST}:{port}", digest=digest, folder=folder, advice=f"Its log is {log}.")
        self.port, self.log = port, log
        self.pid = started.process.pid
        self._started = started
        self._probe = Probe(port, HEALTH_PATH)
        self._ready = False
        self._stopped = False

    def __enter__(self) -> Self:
        """The server itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop it."""
        self.stop()

    def alive(self) -> bool:
        """Whether its first process runs; when it has ended, the rest of the group is ended too. Never blocks."""
        if self._stopped:
            return False
        if self._started.process.poll() is None:
            return True
        self._end_group()
        return False

    def poll_ready(self) -> bool:
        """Whether it has become ready: a look that never blocks. Once True, always True: see `alive`.

        Raises:
            ServiceError: It ended before it was ready; the message says why.
        """
        if not self._ready and not self.alive():
            code = self._started.process.returncode
            raise ServiceError(
                f"the server of release {self.digest[:19]} ended with status {code} before it was ready: "
                f"{self.last_log_message()}",
                hint=f"Its whole log is in {self.log}.",
            )
        self._ready = self._ready or self._probe.poll()
        return self._ready

    def wait_ready(self, timeout: float) -> None:
        """Wait until it is ready.

        Args:
            timeout: Seconds.

        Raises:
            ServiceError: It ended, or was not ready in time; in both cases nothing of it is left.
        """
        deadline = time.monotonic() + timeout
        try:
            while not (ready := self.poll_ready()) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        except BaseException:
            self.stop(grace=0)
            raise
        if not ready:
            self.stop(grace=0)
            raise ServiceError(
                f"the server of release {self.digest[:19]} was not ready within {timeout:g} s: {self.last_log_message()}",
                hint=f"Its log is {self.log}; serving.start_timeout_seconds sets the time.",
            )

    def last_log_message(self) -> str:
        """Why it ended, as far as its log tells: its refusal, else its last line."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self._started.log_start, self.log.stat().st_size - _LOG_TAIL_BYTES))
                lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        refusals = [line[line.index(_REFUSAL) :] for line in lines if _REFUSAL in line]
        return (refusals or lines or ["it wrote nothing"])[-1]

    def terminate(self) -> None:
        """Ask it to end after the requests that it is answering. Never blocks; `stop` does the rest."""
        if self.alive():
            self._started.process.terminate()

    def stop(self, *, grace: float = GRACE_SECONDS) -> None:
        """End it, and everything that it started.

        Args:
            grace: Seconds for the requests that it is answering.
        """
        if self._stopped:
            return
        self.terminate()
        if grace > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._started.process.wait(grace)
        self._end_group()

    def _end_group(self) -> None:
        """Kill what is left of the process group, reap its leader and let go of the lifeline."""
        if self._stopped:  # `stop` found that it had ended by itself
            return
        self._stopped = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._started.process.wait()
        os.close(self._started.lifeline)
        self._probe.close()
        self.close()


def spawn_server(project: Project, folder: Path, digest: str, *, port: int = 0, log: Path) -> ServedRelease:
    """Start a server of a release and come back at once.

    The server itself holds the folder against the digest before it loads anything, so nothing is read here.

    Args:
        project: The project: its serving environment and server class.
        folder: The unpacked model layer.
        digest: Its digest.
        port: Where it listens on the loopback interface; 0 chooses a free port.
        log: File that its output is added to.

    Returns:
        The server; `ServedRelease.poll_ready` tells when it answers.

    Raises:
        ConfigurationError: The serving environment or the server class is not there.
        PortInUseError: The port is taken.
        ServiceError: It cannot be started.
    """
    python, packages = find_python(project), _find_packages(project)
    with _bind(port) as bound:
        reading, writing = os.pipe()
        try:
            launch = {
                "socket": bound.fileno(),
                "lifeline": reading,
                "packages": packages,
                "arguments": [project.settings.serving.server, *SELDON_ARGUMENTS],
            }
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                start = output.tell()
                process = subprocess.Popen(
                    [str(python), "-P", "-W", "ignore:pkg_resources", str(_LAUNCHER), json.dumps(launch)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                    env=_plan_environment(os.environ, folder, digest) | plan_variables(project.settings.rollout.shadow_requests),
                    pass_fds=(bound.fileno(), reading),
                    start_new_session=True,
                )
        except OSError as error:
            os.close(writing)
            raise ServiceError(f"the server of {folder} cannot be started: {error}", hint="Look at the path it names.") from error
        finally:
            os.close(reading)
        started = _Started(process=process, lifeline=writing, log_start=start)
        return ServedRelease(started, port=bound.getsockname()[1], digest=digest, folder=folder, log=log)


def start_server(project: Project, folder: Path, digest: str, *, port: int = 0, log: Path) -> ServedRelease:
    """Start a server of a release and wait until it is ready, at most ``serving.start_timeout_seconds``.

    Args:
        project: As in `spawn_server`.
        folder: As in `spawn_server`.
        digest: As in `spawn_server`.
        port: As in `spawn_server`.
        log: As in `spawn_server`.

    Raises:
        ConfigurationError: The serving environment or the server class is not there.
        PortInUseError: The port is taken.
        ServiceError: It ended before it was ready, with its reason, or took too long; nothing of it is left.
    """
    server = spawn_server(project, folder, digest, port=port, log=log)
    server.wait_ready(project.settings.serving.start_timeout_seconds)
    return server


def _plan_environment(outer: os._Environ[str] | dict[str, str], folder: Path, digest: str) -> dict[str, str]:
    """The server's environment: the outer one without what would change which code runs or where Seldon listens."""
    kept = {
        name: value for name, value in outer.items() if name not in _DROPPED_VARIABLES and not name.startswith(_DROPPED_PREFIXES)
    }
    threads = {name: kept.get(name, "1") for name in _ONE_THREAD}  # one row has nothing to share between threads
    return kept | threads | {"PYTHONUNBUFFERED": "1", FOLDER_VARIABLE: str(folder.resolve()), DIGEST_VARIABLE: digest}


def find_python(project: Project) -> Path:
    """Interpreter of the serving environment.

    Raises:
        ConfigurationError: It is not there.
    """
    python = project.path(project.settings.serving.python)
    if not python.is_file():
        raise ConfigurationError(
            f"serving.python names {project.settings.serving.python!r}, but there is no file {python}",
            hint="Make the serving environment: `make setup`.",
        )
    return python


def _find_packages(project: Project) -> dict[str, str]:
    """Top-level package → folder that holds it, for the server class and for `sluice`."""
    server = project.settings.serving.server
    module = project.path(server.rpartition(".")[0].replace(".", "/"))
    if not (module.with_suffix(".py").is_file() or (module / "__init__.py").is_file()):
        raise ConfigurationError(
            f"serving.server names {server!r}, but there is no module {module}.py",
            hint="Name a Seldon model class of the project as package.module.Class.",
        )
    return {"sluice": str(Path(sluice.__file__).parents[1]), server.partition(".")[0]: str(project.root)}


def _bind(port: int) -> socket.socket:
    """A socket that holds a port of the loopback interface; connections are refused until the server listens on it."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if port:  # else two servers that are starting could share a port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(f"port {port} is in use", hint="Choose another port, or 0 for a free one.") from error
        raise ServiceError(f"port {port} cannot be used: {error.strerror}", hint="Choose a port above 1023.") from error
    return bound
