"""Servers start, refuse to start and end, and they leave no process behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from guards import GUARD_SECONDS
from release_project import REPOSITORY, processes_of, wait_until

from sluice.errors import ConfigurationError, PortInUseError, ServiceError
from sluice.project.projects import Project, read_project
from sluice.release.model_layer import layer_digest
from sluice.scoring.faults import MAX_REQUEST_BYTES
from sluice.scoring.server_process import spawn_server as spawn
from sluice.scoring.server_process import start_server

if TYPE_CHECKING:
    from release_project import Trained

    from sluice.scoring.server_process import ReleaseServer


def row(served: ReleaseServer, **changes: object) -> dict[str, Any]:
    cells = dict(zip(served.golden.names, served.golden.rows[0], strict=True)) | changes
    return {"data": {"names": list(cells), "ndarray": [list(cells.values())]}}


def test_a_refusal_to_serve_is_reported_with_its_reason(trained: Trained, layer: Path, layer_copy: Path, tmp_path: Path) -> None:
    (layer_copy / "model.joblib").write_bytes((layer_copy / "model.joblib").read_bytes() + b"\0")
    server = spawn(trained.project, layer_copy, f"sha256:{layer.name}", log=tmp_path / "log")
    with pytest.raises(
        ServiceError, match=r"ended with status 3 before it was ready: refused: the model layer in .* has the digest"
    ):
        server.wait_ready(GUARD_SECONDS)
    assert processes_of(server.pid) == set()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


@pytest.mark.slow
def test_code_of_the_working_tree_is_not_used(trained: Trained, layer_copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(layer_copy / "code")  # the project's working tree still has the package
    with pytest.raises(ServiceError, match="No module named 'parcels'"):
        start_server(trained.project, layer_copy, layer_digest(layer_copy), log=tmp_path / "log")


def test_a_port_in_use_is_an_error(trained: Trained, layer: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port} is in use"):
            spawn(trained.project, layer, f"sha256:{layer.name}", port=port, log=tmp_path / "log")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (str(REPOSITORY / ".venv-serving/bin/python"), "nowhere/python", r"serving\.python names 'nowhere/python'"),
        (
            'lock = "lock.txt"',
            'lock = "lock.txt"\nserver = "serving.nothing.ModelServer"',
            r"serving\.server names 'serving\.nothing",
        ),
    ],
)
def test_a_missing_serving_environment_is_an_error(
    trained: Trained, layer: Path, tmp_path: Path, old: str, new: str, reason: str
) -> None:
    root = trained.project.root
    (tmp_path / "sluice.toml").write_text((root / "sluice.toml").read_text().replace(old, new))
    with pytest.raises(ConfigurationError, match=reason):
        spawn(read_project(tmp_path), layer, f"sha256:{layer.name}", log=tmp_path / "log")


def test_a_server_that_is_not_ready_in_time_is_an_error(trained: Trained, layer: Path, tmp_path: Path) -> None:
    server = spawn(trained.project, layer, f"sha256:{layer.name}", log=tmp_path / "log")
    with pytest.raises(ServiceError, match="was not ready within 0 s"):
        server.wait_ready(0)
    assert processes_of(server.pid) == set()


def test_after_stop_the_port_is_free_and_no_process_is_left(trained: Trained, layer: Path, tmp_path: Path) -> None:
    digest = f"sha256:{layer.name}"
    with start_server(trained.project, layer, digest, log=tmp_path / "log") as server:
        assert server.post(row(server)).status_code == 200
        assert len(processes_of(server.pid)) > 1
    assert processes_of(server.pid) == set()
    assert not server.alive()
    again = spawn(trained.project, layer, digest, port=server.port, log=tmp_path / "log")
    assert not again.poll_ready()
    assert again.alive()
    again.stop(grace=0)
    again.stop()
    assert processes_of(again.pid) == set()


@pytest.mark.slow
def test_three_servers_run_at_the_same_time(trained: Trained, layer: Path, tmp_path: Path) -> None:
    servers = [spawn(trained.project, layer, f"sha256:{layer.name}", log=tmp_path / f"log{number}") for number in range(3)]
    try:
        for server in servers:
            server.wait_ready(GUARD_SECONDS)
        for server in servers:
            assert (server.predict(server.golden.frame()) == server.golden.expected).all()
        assert len({server.port for server in servers}) == 3
    finally:
        for server in servers:
            server.stop(grace=0)


START = """\
import sys, threading, time
from pathlib import Path
from sluice.project.projects import Project, read_project
from sluice.scoring.server_process import spawn_server
found = []
def start():
    found.append(spawn_server(read_project(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3], log=Path(sys.argv[4])))
thread = threading.Thread(target=start)
thread.start(); thread.join()
if sys.argv[5] == "ready":
    found[0].wait_ready(60)
print(found[0].pid, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["at once", "ready"])
def test_no_process_outlives_a_killed_starting_process(trained: Trained, layer: Path, tmp_path: Path, when: str) -> None:
    digest = f"sha256:{layer.name}"
    command = [sys.executable, "-c", START, trained.project.root, layer, digest, tmp_path / "log", when]
    starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    group = int(starter.stdout.readline())
    if when == "ready":
        assert len(processes_of(group)) >= 3  # gunicorn's master and worker, and Seldon's metrics process
    os.kill(starter.pid, signal.SIGKILL)
    starter.communicate()
    assert wait_until(lambda: not processes_of(group))


@pytest.mark.slow
def test_no_process_outlives_the_servers_first_process(trained: Trained, layer: Path, tmp_path: Path) -> None:
    server = start_server(trained.project, layer, f"sha256:{layer.name}", log=tmp_path / "log")
    try:
        others = processes_of(server.pid) - {server.pid}
        assert len(others) >= 2
        os.kill(server.pid, signal.SIGKILL)
        assert wait_until(lambda: not processes_of(server.pid))  # without a call of `alive`
        assert not server.alive()
    finally:
        server.stop()


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(trained: Trained, layer: Path, tmp_path: Path) -> None:
    with start_server(trained.project, layer, f"sha256:{layer.name}", log=tmp_path / "log") as server:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        assert wait_until(lambda: server.log.read_text().count("is ready after") == 2)
        assert (server.predict(server.golden.frame()) == server.golden.expected).all()
        assert server.alive()


def test_stopping_a_server_that_has_already_ended_does_nothing(trained: Trained, layer: Path, tmp_path: Path) -> None:
    server = spawn(trained.project, layer, f"sha256:{layer.name}", log=tmp_path / "log")
    os.kill(server.pid, signal.SIGKILL)
    server._started.process.wait()
    server.stop()  # it must not close a descriptor twice, because another file may have the number by then
    server.stop()


@pytest.mark.slow
def test_a_server_finishes_its_current_request_before_it_ends(trained: Trained, layer: Path, tmp_path: Path) -> None:
    with start_server(trained.project, layer, f"sha256:{layer.name}", log=tmp_path / "log") as server:
        payload = row(server)
        rows = MAX_REQUEST_BYTES * 9 // 10 // len(json.dumps(payload["data"]["ndarray"]))
        payload["data"]["ndarray"] *= rows
        body = json.dumps(payload).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = f"POST /predict HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)  # more than the kernel buffers, so when it is sent the server is reading it
            server.terminate()
            answer = b""
            while received := client.recv(1 << 20):
                answer += received
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["data"]["ndarray"]) == rows


@pytest.mark.slow
def test_waiting_requests_are_answered_before_the_server_ends(trained: Trained, layer: Path, tmp_path: Path) -> None:
    with start_server(trained.project, layer, f"sha256:{layer.name}", log=tmp_path / "log") as server:
        body, answered = json.dumps(row(server)), [threading.Semaphore(0) for _ in range(16)]

        def ask(number: int) -> set[int]:
            found: set[int] = set()
            with (
                httpx.Client(base_url=server.url, trust_env=False) as client,
                suppress(httpx.TransportError),
            ):  # the server has ended
                while True:
                    found.add(client.post("/predict", content=body, headers={"content-type": "application/json"}).status_code)
                    answered[number].release()
            return found

        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(ask, number) for number in range(16)]
            assert all(one.acquire(timeout=GUARD_SECONDS) for one in answered for _ in range(2))
            server.terminate()
            assert [future.result(GUARD_SECONDS) for future in asked] == [{200}] * 16
        assert wait_until(lambda: not server.alive())


def test_the_server_class_may_be_in_a_module_of_the_project(trained: Trained, tmp_path: Path, layer: Path) -> None:
    """The server class may be in a module at the project's root, outside of any package."""
    root = tmp_path / "own"
    root.mkdir()
    (root / "own_server.py").write_text("from serving_base import nothing\n")
    text = (trained.project.root / "sluice.toml").read_text()
    (root / "sluice.toml").write_text(text + 'server = "own_server.Own"\n')
    with pytest.raises(ServiceError, match="No module named 'serving_base'"):
        start_server(read_project(root), layer, f"sha256:{layer.name}", log=tmp_path / "log")


@pytest.mark.slow
def test_polling_shows_when_a_server_is_ready_and_when_it_has_ended(trained: Trained, layer: Path, tmp_path: Path) -> None:
    server = spawn(trained.project, layer, f"sha256:{layer.name}", log=tmp_path / "log")
    try:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert not server.poll_ready()
        assert wait_until(server.poll_ready)
        assert server.alive()
        server.terminate()
        assert wait_until(lambda: not server.alive())
        assert processes_of(server.pid) == set()
    finally:
        server.stop()


def count_misses(server: ReleaseServer, *, until: int) -> bool:
    """Poll the liveness probe on a simulated clock until it has missed so many probes in a row; return whether it has."""
    misses = [server.count_misses(float(second)) for second in range(100)]
    return max(misses) >= until


def test_a_server_that_is_stopped_misses_its_liveness_probes_and_can_be_killed(
    trained: Trained, layer: Path, tmp_path: Path
) -> None:
    server = start_server(trained.project, layer, f"sha256:{layer.name}", log=tmp_path / "log")
    assert wait_until(lambda: server.count_misses(0.0) == 0 and not server._liveness.probe.is_waiting)
    os.killpg(server.pid, signal.SIGSTOP)
    assert count_misses(server, until=3)
    server.stop(grace=0.0)
    assert wait_until(lambda: not processes_of(server.pid))


def test_a_model_that_hangs_makes_the_server_unhealthy(layer: Path) -> None:
    code = """\
import sys; sys.path.insert(0, sys.argv[1])
import time
from serving.model_server import AnswerError, ModelServer
from sluice.scoring.time_limits import STUCK_SECONDS
server = ModelServer(); server.load()
with server._calls.track():
    print(server.health_status())
    (number,) = server._calls._started
    server._calls._started[number] = time.monotonic() - STUCK_SECONDS - 1
    try:
        server.health_status()
    except AnswerError as error:
        print(error.status_code, error.message)
print(server.health_status())
"""
    environment = {**os.environ, "SLUICE_RELEASE_FOLDER": str(layer), "SLUICE_RELEASE_DIGEST": f"sha256:{layer.name}"}
    command = [REPOSITORY / ".venv-serving/bin/python", "-c", code, REPOSITORY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout == "['ready']\n503 the model has not answered a request for 31 s\n['ready']\n", done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these limits")
def test_a_server_has_the_limits_of_the_settings(trained: Trained, layer: Path, tmp_path: Path) -> None:
    serving = trained.project.settings.serving.model_copy(update={"memory_megabytes": 2000, "cpus": 1})
    project = Project(trained.project.root, trained.project.settings.model_copy(update={"serving": serving}))
    with start_server(project, layer, f"sha256:{layer.name}", log=tmp_path / "log") as server:
        assert len(server.predict(server.golden.frame())) == len(server.golden.rows)
        for pid in processes_of(server.pid):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert "Max data size             2000000000" in limits
            assert len(os.sched_getaffinity(pid)) == 1
            assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500"
        assert 10_000_000 < server.read_memory() < 1_000_000_000
