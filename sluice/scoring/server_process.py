"""Run a server of a release on this machine: a real Seldon microservice in the serving environment, as in production.

`spawn_server` returns at once, and `start_server` waits until the server is ready. A server has its own process group. It ends
with the process that started it, even if that process is killed (see `sluice.scoring.server_launcher`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import sluice
from sluice.errors import ConfigurationError, PortInUseError, ServiceError
from sluice.scoring.containers.server_containers import DIGEST_VARIABLE, FOLDER_VARIABLE, HEALTH_PATH, plan_server_variables
from sluice.scoring.environments.serving_pythons import choose_python
from sluice.scoring.faults import FAULTS_VARIABLE
from sluice.scoring.health_probes import HealthProbe, LivenessProbe
from sluice.scoring.recent_requests import READER_VARIABLE, RECENT_VARIABLE, add_token, digest_token
from sluice.scoring.release_client import ReleaseClient
from sluice.scoring.resources.server_limits import MEGABYTE, read_memory

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
    "--threads=16",  # up to 16 requests can share one call of the model
    "--keepalive=7200",  # seconds; longer than a proxy keeps a connection (Envoy: an hour), so no request meets a closing one
    "--grpc-workers=0",
)
_DROPPED_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "TRACING", RECENT_VARIABLE, READER_VARIABLE, FAULTS_VARIABLE)
_DROPPED_PREFIXES = ("PREDICTIVE_UNIT_", "SELDON_", "GUNICORN_", "FLASK_", "LISTEN_", "MODEL_", "PAYLOAD_")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A server's process, the descriptor of its lifeline, where in the log file its output begins, and the reader's token."""

    process: subprocess.Popen[bytes]
    lifeline: int
    log_start: int
    token: str


class ReleaseServer(ReleaseClient):
    """A server of one release, as a process on this machine.

    Attributes:
        url: The server's URL, ``http://127.0.0.1:<port>``.
        port: The port of `url`.
        pid: The id of the server's first process, which is also the id of the process group.
        digest: The digest of the release.
        log: The file with the server's output.
        log_start: The position in this file at which the output of this server begins.
        reader_url: `url` with the token that gives access to the recent requests and the faults of this server.
    """

    def __init__(self, started: _Started, *, port: int, digest: str, folder: Path, log: Path) -> None:
        """Set the server. `spawn_server` calls this."""
        super().__init__(f"http://{HOST}:{port}", digest=digest, folder=folder, advice=f"Its log is {log}.")
        self.port, self.log, self.log_start = port, log, started.log_start
        self.pid = started.process.pid
        self.reader_url = add_token(self.url, started.token)
        self._started = started
        self._probe = HealthProbe(port, HEALTH_PATH)
        self._liveness = LivenessProbe(HealthProbe(port, HEALTH_PATH))
        self._ready = False
        self._stopped = False

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the server."""
        self.stop()

    def alive(self) -> bool:
        """Return whether the first process runs. If it has ended, the rest of its group is ended too. Never blocks."""
        if self._stopped:
            return False
        if self._started.process.poll() is None:
            return True
        self._end_group()
        return False

    def poll_ready(self) -> bool:
        """Return whether the server has become ready. Never blocks. After the first True it is always True; see also `alive`.

        Raises:
            ServiceError: The server ended before it was ready. The message says why.
        """
        if not self._ready and not self.alive():
            code = self._started.process.returncode
            raise ServiceError(
                f"the server of release {self.digest[:19]} ended with status {code} before it was ready: {self.failure_reason()}",
                hint=f"The full log is {self.log}.",
            )
        self._ready = self._ready or bool(self._probe.poll())
        return self._ready

    def count_misses(self, now: float) -> int:
        """Return how many liveness probes in a row the server has not answered. Never blocks.

        Args:
            now: Seconds of a clock that never goes back.
        """
        return 0 if self._stopped else self._liveness.poll(now)

    def read_memory(self) -> int:
        """Return the bytes of data of its largest process; 0 if they are not known."""
        return 0 if self._stopped else read_memory(self.pid)

    def wait_ready(self, timeout: float) -> None:
        """Wait until the server is ready.

        Args:
            timeout: The longest wait, in seconds.

        Raises:
            ServiceError: The server ended, or it was not ready in time. In both cases none of its processes is left.
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
                f"the server of release {self.digest[:19]} was not ready within {timeout:g} s: {self.failure_reason()}",
                hint=f"The log is {self.log}. If the server needs more time, increase serving.start_timeout_seconds.",
            )

    def failure_reason(self) -> str:
        """Return why the server ended, from its log: its refusal to serve the release, otherwise the last line."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self._started.log_start, self.log.stat().st_size - _LOG_TAIL_BYTES))
                lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        refusals = [line[line.index(_REFUSAL) :] for line in lines if _REFUSAL in line]
        last = (refusals or lines or ["it wrote nothing"])[-1]
        return "".join(sign if sign.isprintable() else " " for sign in last)

    def terminate(self) -> None:
        """Ask the server to end after its current requests. Never blocks. `stop` also ends what is left."""
        if self.alive():
            self._started.process.terminate()

    def stop(self, *, grace: float = GRACE_SECONDS) -> None:
        """End the server and all processes that it started.

        Args:
            grace: Seconds that the server gets for its current requests.
        """
        if self._stopped:
            return
        self.terminate()
        if grace > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._started.process.wait(grace)
        self._end_group()

    def _end_group(self) -> None:
        """Kill the remaining processes of the group, wait for its first process and close the lifeline."""
        if self._stopped:  # `stop` called `terminate`, which has already found that the server had ended
            return
        self._stopped = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._started.process.wait()
        os.close(self._started.lifeline)
        self._probe.close()
        self._liveness.probe.close()
        self.close()


def spawn_server(project: Project, folder: Path, digest: str, *, port: int = 0, log: Path) -> ReleaseServer:
    """Start a server of a release and return at once.

    The server itself checks the folder against the digest before it loads anything. Here only the manifest is read, to choose
    the serving environment.

    Args:
        project: The project, which names the serving environment and the server class.
        folder: The unpacked model layer.
        digest: The digest of the release.
        port: The port on the loopback interface. 0 chooses a free port.
        log: The file that the server's output is appended to.

    Returns:
        The server. `ReleaseServer.poll_ready` says when it is ready.

    Raises:
        ConfigurationError: The serving environment or the server class does not exist.
        PortInUseError: Another process uses the port.
        ServiceError: The server cannot be started.
    """
    python, packages, token = choose_python(project, folder), _find_packages(project), secrets.token_urlsafe(32)
    with _bind(port) as bound:
        reading, writing = os.pipe()
        try:
            launch = {
                "socket": bound.fileno(),
                "lifeline": reading,
                "packages": packages,
                "arguments": [project.settings.serving.server, *SELDON_ARGUMENTS],
                "memory": project.settings.serving.memory_megabytes * MEGABYTE,
                "cpus": project.settings.serving.cpus,
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
                    env=_plan_environment(os.environ, folder, digest)
                    | plan_server_variables(project.settings)
                    | {READER_VARIABLE: digest_token(token)},
                    pass_fds=(bound.fileno(), reading),
                    start_new_session=True,
                )
        except OSError as error:
            os.close(writing)
            raise ServiceError(
                f"the server of {folder} cannot be started: {error}", hint="Check the path that the message names."
            ) from error
        finally:
            os.close(reading)
        started = _Started(process=process, lifeline=writing, log_start=start, token=token)
        return ReleaseServer(started, port=bound.getsockname()[1], digest=digest, folder=folder, log=log)


def start_server(project: Project, folder: Path, digest: str, *, port: int = 0, log: Path) -> ReleaseServer:
    """Start a server of a release and wait until it is ready, at most ``serving.start_timeout_seconds``.

    Args:
        project: As for `spawn_server`.
        folder: As for `spawn_server`.
        digest: As for `spawn_server`.
        port: As for `spawn_server`.
        log: As for `spawn_server`.

    Raises:
        ConfigurationError: The serving environment or the server class does not exist.
        PortInUseError: Another process uses the port.
        ServiceError: The server ended before it was ready, or it was not ready in time. None of its processes is left.
    """
    server = spawn_server(project, folder, digest, port=port, log=log)
    server.wait_ready(project.settings.serving.start_timeout_seconds)
    return server


def _plan_environment(outer: os._Environ[str] | dict[str, str], folder: Path, digest: str) -> dict[str, str]:
    """Return the server's environment: the outer one without variables that change which code runs or where Seldon listens."""
    kept = {
        name: value for name, value in outer.items() if name not in _DROPPED_VARIABLES and not name.startswith(_DROPPED_PREFIXES)
    }
    threads = {name: kept.get(name, "1") for name in _ONE_THREAD}  # one row gives no work for several numerical threads
    return kept | threads | {"PYTHONUNBUFFERED": "1", FOLDER_VARIABLE: str(folder.resolve()), DIGEST_VARIABLE: digest}


def _find_packages(project: Project) -> dict[str, str]:
    """Return the packages that the server may import: top-level package → folder that contains it."""
    server = project.settings.serving.server
    module = project.path(server.rpartition(".")[0].replace(".", "/"))
    if not (module.with_suffix(".py").is_file() or (module / "__init__.py").is_file()):
        raise ConfigurationError(
            f"serving.server names {server!r}, but there is no module {module}.py",
            hint="Set serving.server to a Seldon model class of the project, as package.module.Class.",
        )
    return {"sluice": str(Path(sluice.__file__).parents[1]), server.partition(".")[0]: str(project.root)}


def _bind(port: int) -> socket.socket:
    """Return a socket that reserves a port on the loopback interface. Connections are refused until the server listens on it."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if port:  # with port 0, this option would let two starting servers get the same port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(f"port {port} is in use", hint="Choose another port, or 0 for a free port.") from error
        raise ServiceError(f"port {port} cannot be used: {error.strerror}", hint="Choose a port above 1023.") from error
    return bound
