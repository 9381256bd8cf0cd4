"""A real server with the annotation of a Pod: loading, answering and hanging have time limits of their own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from registry_servers import free_port
from release_project import REPOSITORY, processes_of, wait_until

from sluice.release.model_layer import layer_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """\
import sys
from seldon_core import microservice
microservice.ANNOTATIONS_FILE = sys.argv.pop(1)
microservice._make_rest_metrics_server = lambda *_: None
microservice.main()
"""
SLEEP = "import ctypes\nctypes.PyDLL(None).sleep({seconds})  # it keeps the interpreter, so no other thread runs meanwhile\n"


@dataclass(frozen=True)
class PodServer:
    """A server as it runs in a Pod, where a file names the time limit of a request."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health/status", trust_env=False, timeout=5.0).is_success
        except httpx.HTTPError:
            return False

    def list_workers(self) -> list[int]:
        return [int(found) for found in re.findall(r"Booting worker with pid: (\d+)", self.log.read_text())]

    def count_replaced(self) -> int:
        return self.log.read_text().count("WORKER TIMEOUT")


@contextlib.contextmanager
def serve(layer: Path, folder: Path, *, load_seconds: int, start: float) -> Iterator[PodServer]:
    """Serve a release whose code takes some seconds to load. A request may take one second, and a worker be silent for two."""
    code = layer / "code" / "parcels" / "features.py"
    code.write_text(SLEEP.format(seconds=load_seconds) + code.read_text())
    (folder / "annotations").write_text('seldon.io/rest-timeout="1000"\n')
    port = free_port()
    arguments = ["serving.model_server.ModelServer", "--service-type=MODEL", f"--http-port={port}", "--grpc-workers=0"]
    command = [REPOSITORY / ".venv-serving/bin/python", "-c", PROGRAM, folder / "annotations", *arguments, "--threads=4"]
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "SLUICE_RELEASE_FOLDER": str(layer),
        "SLUICE_RELEASE_DIGEST": layer_digest(layer),
        "SLUICE_START_SECONDS": str(start),
        "SLUICE_SILENCE_SECONDS": "2",
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        yield PodServer(process, port, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_model_may_load_for_longer_than_a_request_may_take_and_a_worker_that_hangs_later_is_replaced(
    layer_copy: Path, tmp_path: Path
) -> None:
    with serve(layer_copy, tmp_path, load_seconds=6, start=600) as server:
        wait_until(lambda: server.is_ready() or server.process.poll() is not None or server.count_replaced())
        assert server.count_replaced() == 0, server.log.read_text()
        assert server.is_ready()
        (worker,) = server.list_workers()
        os.kill(worker, signal.SIGSTOP)
        assert wait_until(lambda: len(server.list_workers()) > 1 and server.is_ready())
        assert server.count_replaced() == 1
        assert worker not in processes_of(server.process.pid)


@pytest.mark.slow
def test_a_model_that_loads_for_longer_than_its_own_limit_is_loaded_again(layer_copy: Path, tmp_path: Path) -> None:
    with serve(layer_copy, tmp_path, load_seconds=600, start=1) as server:
        wait_until(server.count_replaced)
        assert not server.is_ready()
