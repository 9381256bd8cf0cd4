"""The model server beside a plain Seldon class: throughput at equal p99, and seconds from process start to ready.

Run as ``python -m benchmarks.serving`` from the project's root, after ``make setup data``; needs Linux and wrk. ``--seconds 1
--rounds 1`` is a quick look.

Both serve the same fitted pipeline with one numerical thread a gunicorn worker, on the loopback interface, and must give
the same probabilities to the bit before anything is measured. The plain class (`benchmarks.plain`) has Seldon's defaults: one
thread, and connections that end with their answer. The model server has what ``sluice serve`` and the image give it. Two
pipelines: a ColumnTransformer, as most have it, and the example's own, whose encoders are written to be quick for single rows.

How "at equal p99" is measured: wrk posts one row a request, other rows each time, over 1 to 16 connections. Servers take turns
within each number of connections, so that a busy machine slows all of them; each figure is the median over the rounds. The limit
is the plain class's own p99 at 4 connections. Of each server counts the most requests a second at any number of connections
whose p99 is within that limit. Any answer but 200 ends the benchmark.

Cold starts take turns too, with nothing else asked meanwhile. Beside the seconds stands the processor time that all
processes of the server took: on a machine that does other things as well, only that is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

import httpx
import joblib
from rich.console import Console
from rich.table import Table
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.plain import MODEL_VARIABLE, TYPES_VARIABLE
from churn.data import load_churn_data
from churn.model import build_model
from sluice.project.projects import read_project
from sluice.release.golden import UNSEEN, read_golden
from sluice.release.packaging import build_release
from sluice.scoring import server_launcher as launcher
from sluice.scoring.client import HEALTH_PATH, PREDICT_PATH
from sluice.scoring.scorer import DIGEST_VARIABLE, FOLDER_VARIABLE
from sluice.scoring.server_process import SELDON_ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS = (1, 2, 4, 8, 16)
LIMIT_CONNECTIONS = 4
STARTS = 5
PATIENCE_SECONDS = 120.0
NUMBERS, TEXTS = ["tenure_months", "monthly_spend", "usage_hour"], ["contract_type", "acquisition_channel"]
PLAIN, OURS, OURS_TWICE = "plain class", "model server", "2 workers, as in a cluster"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local bodies, last = {%s}, 0
function request()
  last = last %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[last])
end
function done(summary, latency)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  local form = '\\n{"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "failed": %%d}\\n'
  local p50, p99 = latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  io.write(string.format(form, summary.requests, summary.duration / 1e6, p50, p99, failed))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A fitted pipeline, ready to be served both ways.

    Attributes:
        name: What it is.
        layer: The unpacked release.
        requests: Requests of one row each, as the plain class takes them too: without nulls.
        plain: Environment of the plain class.
    """

    name: str
    layer: Path
    requests: Sequence[Mapping[str, Any]]
    plain: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Served:
    """A server: its process, which leads a group, and its port."""

    process: subprocess.Popen[bytes]
    port: int

    def processor_seconds(self) -> float:
        """Processor time of the whole group so far."""
        ticks = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                fields = file.read_text(encoding="utf-8").rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12]) if int(fields[2]) == self.process.pid else 0
        return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """Requests a second, and milliseconds, at a number of connections."""

    rate: float
    p50: float
    p99: float


def make_subjects(folder: Path) -> Iterator[Subject]:
    """Fit both pipelines on the example's snapshot and package them."""
    os.environ["SLUICE_STATE"] = str(folder / "state")
    project = read_project(ROOT)
    rows = load_churn_data(project.path(project.settings.data.snapshot))
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer((numbers, NUMBERS), (OneHotEncoder(handle_unknown="ignore"), TEXTS))
    pipelines = {
        "ColumnTransformer": (make_pipeline(columns, LogisticRegression(max_iter=300)), dict.fromkeys(NUMBERS, "float64")),
        "the example's": (build_model(), {}),
    }
    for name, (pipeline, types) in pipelines.items():
        file = folder / f"{name}.joblib"
        joblib.dump(pipeline.fit(rows.drop(columns=["churned", "customer_id"]), rows["churned"]), file)
        layer = build_release(project, model=file, snapshot_digest=f"sha256:{'0' * 64}", verdicts={}, gate=None, parent=None)
        golden = read_golden(layer)
        whole = [row for row in golden.rows if None not in row and UNSEEN not in row]
        yield Subject(
            name=name,
            layer=layer,
            requests=[{"data": {"names": golden.names, "ndarray": [row]}} for row in whole],
            plain={MODEL_VARIABLE: str(file), TYPES_VARIABLE: json.dumps(types)},
        )


@contextmanager
def serve(subject: Subject, kind: str, log: Path) -> Iterator[Served]:
    """A server on the loopback interface; its process has just been started.

    Both kinds run through the launcher of ``sluice serve``, which calls Seldon's own `main` on a socket that is bound already:
    Seldon itself would bind every interface.
    """
    if kind == PLAIN:
        arguments = ["benchmarks.plain.Plain", "--service-type=MODEL", "--log-level=WARNING", "--grpc-workers=0"]
        packages, variables = {"benchmarks": ROOT, "churn": ROOT}, dict(subject.plain)
    else:
        arguments = ["serving.model_server.ModelServer", *SELDON_ARGUMENTS]
        arguments += ["--workers=2"] if kind == OURS_TWICE else []
        packages = {"serving": ROOT, "sluice": ROOT}
        variables = {FOLDER_VARIABLE: str(subject.layer), DIGEST_VARIABLE: f"sha256:{subject.layer.name}"}
    reading, writing = os.pipe()
    with socket.socket() as bound, log.open("wb") as output:
        bound.bind(("127.0.0.1", 0))
        settings = {
            "socket": bound.fileno(),
            "lifeline": reading,
            "packages": {name: str(path) for name, path in packages.items()},
            "arguments": arguments,
        }
        process = subprocess.Popen(
            [ROOT / ".venv-serving/bin/python", "-P", "-W", "ignore", str(Path(launcher.__file__)), json.dumps(settings)],
            env={**os.environ, **ONE_THREAD, **variables},
            pass_fds=(bound.fileno(), reading),
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=log.parent,
        )
        port = bound.getsockname()[1]
    os.close(reading)
    try:
        yield Served(process, port)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, SIGKILL)
        process.wait()
        os.close(writing)


def wait_ready(server: Served, log: Path) -> None:
    """Until its readiness is 200."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=5) as client:
        while server.process.poll() is None and time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if client.get(HEALTH_PATH).status_code == httpx.codes.OK:
                    return
            time.sleep(0.01)
    sys.exit(f"a server did not become ready:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def ask(server: Served, requests: Sequence[Mapping[str, Any]]) -> list[float]:
    """The probabilities of requests, one after the other."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=30) as client:
        answers = [client.post(PREDICT_PATH, json=request).raise_for_status().json() for request in requests]
    return [float(answer["data"]["ndarray"][0][0]) for answer in answers]


def load(server: Served, script: Path, connections: int, seconds: float) -> Load:
    """Ask as quickly as it answers, over so many connections."""
    url = f"http://127.0.0.1:{server.port}{PREDICT_PATH}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    if found["failed"]:
        sys.exit(f"{found['failed']} of {found['requests']} requests failed at {connections} connections")
    return Load(found["requests"] / found["seconds"], found["p50"], found["p99"])


def measure_loads(servers: Mapping[str, Served], script: Path, seconds: float, rounds: int) -> dict[tuple[str, int], Load]:
    """Medians over the rounds, by server and number of connections."""
    medians = {}
    for connections in CONNECTIONS:
        found: dict[str, list[Load]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, server in servers.items():
                found[name].append(load(server, script, connections, seconds))
        for name, loads in found.items():
            middle = (statistics.median(getattr(one, field) for one in loads) for field in ("rate", "p50", "p99"))
            medians[name, connections] = Load(*middle)
    return medians


def best(loads: Mapping[tuple[str, int], Load], name: str, limit: float) -> float:
    """The most requests a second with a p99 within the limit; 0 where there are none."""
    return max((one.rate for (server, _), one in loads.items() if server == name and one.p99 <= limit), default=0.0)


def show_throughput(console: Console, subject: Subject, folder: Path, seconds: float, rounds: int) -> None:
    """Compare answers, load all servers in turn, and print what came out."""
    script = folder / "requests.lua"
    bodies = ", ".join(f"[==[{json.dumps(request)}]==]" for request in subject.requests)
    script.write_text(SCRIPT % bodies, encoding="utf-8")
    with ExitStack() as stack:
        servers = {}
        for name in (PLAIN, OURS, OURS_TWICE):
            log = folder / f"{name}.log"
            servers[name] = stack.enter_context(serve(subject, name, log))
            wait_ready(servers[name], log)
        answers = [ask(server, subject.requests[:50]) for server in servers.values()]
        if any(other != answers[0] for other in answers):
            sys.exit("the servers give other probabilities: there is nothing to compare")
        for server in servers.values():
            load(server, script, max(CONNECTIONS), 1)
        loads = measure_loads(servers, script, seconds, rounds)
    limit = loads[PLAIN, LIMIT_CONNECTIONS].p99
    table = Table("connections", *servers, title=f"{subject.name} pipeline: requests a second (p50 / p99 in ms)")
    for connections in CONNECTIONS:
        cells = [loads[name, connections] for name in servers]
        table.add_row(str(connections), *(f"{one.rate:,.0f} ({one.p50:.0f} / {one.p99:.0f})" for one in cells))
    console.print(table)
    rates = {name: best(loads, name, limit) for name in servers}
    told = "; ".join(f"{name} {rate:,.0f}, {rate / rates[PLAIN]:.1f} times" for name, rate in rates.items())
    console.print(f"{subject.name} pipeline, most requests a second with p99 <= {limit:.0f} ms: {told} (at least 2)\n")


def show_starts(console: Console, subject: Subject, folder: Path) -> None:
    """Seconds from process start to ready, and the processor's."""
    found: dict[str, list[tuple[float, float]]] = {PLAIN: [], OURS: []}
    for _ in range(STARTS):
        for name, times in found.items():
            log = folder / "start.log"
            begun = time.perf_counter()
            with serve(subject, name, log) as server:
                wait_ready(server, log)
                times.append((time.perf_counter() - begun, server.processor_seconds()))
    for name, times in found.items():
        seconds, processor = ([one[which] for one in times] for which in (0, 1))
        console.print(
            f"{subject.name} pipeline, cold start of the {name}: {statistics.median(seconds):.2f} s "
            f"({min(seconds):.2f} to {max(seconds):.2f}), {statistics.median(processor):.2f} s of them computing"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The model server beside a plain Seldon class.")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run of wrk")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server at each number of connections")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: `apt-get install wrk`, or see https://github.com/wg/wrk")
    os.environ.update(ONE_THREAD)
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for subject in make_subjects(folder):
            show_starts(console, subject, folder)
            show_throughput(console, subject, folder, arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()
