"""Compare the model server with a plain Seldon class: throughput at equal p99, and seconds from process start to ready.

Run ``python -m benchmarks.serving`` from the project's root, after ``make setup data``. It needs Linux and wrk. For a quick run,
use ``--seconds 1 --rounds 1``.

Both servers serve the same fitted pipeline on the loopback interface, with one numerical thread per gunicorn worker. Before
anything is measured, they must give equal probabilities to the last bit. The plain class (`benchmarks.plain`) has Seldon's
defaults: one thread, and connections that close after each answer. The model server has the configuration of ``sluice serve`` and
of the serving image. There are two pipelines: a ColumnTransformer, which is common, and the example's own pipeline, whose
encoders are optimised for single rows.

Throughput at equal p99 is measured as follows. wrk sends requests with one row each over 1 to 16 connections, and the rows change
from request to request. For each number of connections the servers take turns, so that other load on the machine slows all of
them. Each figure is the median over the rounds. The limit is the plain class's p99 at 4 connections. The result of a server is
its highest number of requests per second, over all numbers of connections at which its p99 is within the limit. Any answer with
another status than 200 ends the benchmark.

With ``--attacks``, good clients send 100 requests a second to each server while it is attacked (`benchmarks.attacks`), and
nothing else is measured. A request succeeds if it is answered with status 200 within 5 seconds. Each attack meets a new server.

The servers also take turns in the cold starts, and no requests are sent meanwhile. The benchmark shows the seconds, and the
processor time of all the server's processes, which other load on the machine hardly affects.
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
from contextlib import ExitStack, contextmanager, nullcontext, suppress
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

from benchmarks.attacks import ATTACKS, SteadyClients
from benchmarks.plain import MODEL_VARIABLE, TYPES_VARIABLE
from churn.data import load_churn_data
from churn.model import build_model
from sluice.data.locations import locate_snapshot
from sluice.data.snapshots import digest_file
from sluice.project.projects import read_project
from sluice.release.golden_answers import load_and_answer
from sluice.release.golden_rows import UNSEEN_CATEGORY, read_golden_rows
from sluice.release.packaging import build_release
from sluice.scoring import server_launcher as launcher
from sluice.scoring.containers.server_containers import DIGEST_VARIABLE, FOLDER_VARIABLE, HEALTH_PATH, PREDICT_PATH
from sluice.scoring.server_process import SELDON_ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS = (1, 2, 4, 8, 16)
LIMIT_CONNECTIONS = 4
STARTS = 5
READY_TIMEOUT_SECONDS = 120.0
ATTACK_SECONDS, ATTACKED_TIMEOUT_SECONDS = 10.0, 5.0
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
    """A fitted pipeline that both servers can serve.

    Attributes:
        name: The name of the pipeline.
        layer: The unpacked model layer.
        requests: Requests of one row each. They have no nulls, because the plain class does not accept them.
        plain: The environment variables of the plain class.
    """

    name: str
    layer: Path
    requests: Sequence[Mapping[str, Any]]
    plain: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Server:
    """A server: its first process, whose id is the id of the process group, and its port."""

    process: subprocess.Popen[bytes]
    port: int

    def processor_seconds(self) -> float:
        """Return the processor time that the whole process group has used so far."""
        ticks = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # the process ended meanwhile
                fields = file.read_text(encoding="utf-8").rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12]) if int(fields[2]) == self.process.pid else 0
        return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """Requests per second, and the p50 and p99 in milliseconds, at one number of connections."""

    rate: float
    p50: float
    p99: float


def make_subjects(folder: Path) -> Iterator[Subject]:
    """Fit both pipelines on the example's snapshot, and package them."""
    os.environ["SLUICE_STATE"] = str(folder / "state")
    project = read_project(ROOT)
    rows = load_churn_data(Path(locate_snapshot(project)))
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer((numbers, NUMBERS), (OneHotEncoder(handle_unknown="ignore"), TEXTS))
    pipelines = {
        "ColumnTransformer": (make_pipeline(columns, LogisticRegression(max_iter=300)), dict.fromkeys(NUMBERS, "float64")),
        "the example's": (build_model(), {}),
    }
    for name, (pipeline, types) in pipelines.items():
        file = folder / f"{name}.joblib"
        joblib.dump(pipeline.fit(rows.drop(columns=["churned", "customer_id"]), rows["churned"]), file)
        digest = digest_file(file)
        golden, snapshot = load_and_answer(project, file, digest), f"sha256:{'0' * 64}"
        layer = build_release(
            project,
            model=file,
            model_digest=digest,
            golden=golden,
            snapshot_digest=snapshot,
            verdicts={},
            gate=None,
            parent=None,
        )
        golden = read_golden_rows(layer)
        whole = [row for row in golden.rows if None not in row and UNSEEN_CATEGORY not in row]
        yield Subject(
            name=name,
            layer=layer,
            requests=[{"data": {"names": golden.names, "ndarray": [row]}} for row in whole],
            plain={MODEL_VARIABLE: str(file), TYPES_VARIABLE: json.dumps(types)},
        )


@contextmanager
def serve(subject: Subject, kind: str, log: Path) -> Iterator[Server]:
    """Start a server on the loopback interface, and yield it before it is ready.

    Both kinds of servers use the launcher of ``sluice serve``. It calls Seldon's own `main` with a bound socket, because Seldon
    itself would bind every interface.
    """
    if kind == PLAIN:
        arguments = ["benchmarks.plain.Plain", "--service-type=MODEL", "--log-level=WARNING", "--grpc-workers=0"]
        packages, variables = {"benchmarks": ROOT, "churn": ROOT, "sluice": ROOT}, dict(subject.plain)
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
        yield Server(process, port)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, SIGKILL)
        process.wait()
        os.close(writing)


def wait_ready(server: Server, log: Path) -> None:
    """Wait until the server's health check is answered with status 200."""
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=5) as client:
        while server.process.poll() is None and time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if client.get(HEALTH_PATH).status_code == httpx.codes.OK:
                    return
            time.sleep(0.01)
    sys.exit(f"a server did not become ready:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def ask(server: Server, requests: Sequence[Mapping[str, Any]]) -> list[float]:
    """Send requests one after the other, and return their probabilities."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=30) as client:
        answers = [client.post(PREDICT_PATH, json=request).raise_for_status().json() for request in requests]
    return [float(answer["data"]["ndarray"][0][0]) for answer in answers]


def load(server: Server, script: Path, connections: int, seconds: float) -> Load:
    """Send requests as fast as the server answers, over this number of connections."""
    url = f"http://127.0.0.1:{server.port}{PREDICT_PATH}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    if found["failed"]:
        sys.exit(f"{found['failed']} of {found['requests']} requests failed at {connections} connections")
    return Load(found["requests"] / found["seconds"], found["p50"], found["p99"])


def measure_loads(servers: Mapping[str, Server], script: Path, seconds: float, rounds: int) -> dict[tuple[str, int], Load]:
    """Measure all servers, and return the medians over the rounds by server and number of connections."""
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
    """Return the highest number of requests per second with a p99 within the limit; 0 if no p99 is within it."""
    return max((one.rate for (server, _), one in loads.items() if server == name and one.p99 <= limit), default=0.0)


def show_throughput(console: Console, subject: Subject, folder: Path, seconds: float, rounds: int) -> None:
    """Compare the servers' answers, measure all servers in turn, and print the result."""
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
            sys.exit("the servers give different probabilities, so their speed cannot be compared")
        for server in servers.values():
            load(server, script, max(CONNECTIONS), 1)
        loads = measure_loads(servers, script, seconds, rounds)
    limit = loads[PLAIN, LIMIT_CONNECTIONS].p99
    table = Table("connections", *servers, title=f"{subject.name} pipeline: requests per second (p50 / p99 in ms)")
    for connections in CONNECTIONS:
        cells = [loads[name, connections] for name in servers]
        table.add_row(str(connections), *(f"{one.rate:,.0f} ({one.p50:.0f} / {one.p99:.0f})" for one in cells))
    console.print(table)
    rates = {name: best(loads, name, limit) for name in servers}
    figures = "; ".join(f"{name} {rate:,.0f} ({rate / rates[PLAIN]:.1f} times)" for name, rate in rates.items())
    console.print(
        f"{subject.name} pipeline, highest requests per second with p99 <= {limit:.0f} ms: {figures}; the goal is 2 times\n"
    )


def show_starts(console: Console, subject: Subject, folder: Path) -> None:
    """Measure and print the seconds from process start to ready, and the processor time."""
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
            f"({min(seconds):.2f} to {max(seconds):.2f}), processor time {statistics.median(processor):.2f} s"
        )


def show_attacks(console: Console, subject: Subject, folder: Path, seconds: float) -> None:
    """Attack each server, and print which part of the good requests succeeds and how long they take."""
    bodies = [json.dumps(request) for request in subject.requests]
    table = Table("attack", PLAIN, OURS, title=f"{subject.name} pipeline: good requests that succeed (p50 / p99 in ms)")
    attacks: dict[str, Callable[[int], AbstractContextManager[None]]] = {"none": lambda _port: nullcontext(), **ATTACKS}
    for attack, begin in attacks.items():
        cells = []
        for kind in (PLAIN, OURS):
            log = folder / "attacked.log"
            with serve(subject, kind, log) as server:
                wait_ready(server, log)
                ask(server, subject.requests[:20])
                clients = SteadyClients(f"http://127.0.0.1:{server.port}", bodies, timeout=ATTACKED_TIMEOUT_SECONDS)
                with begin(server.port), clients:
                    time.sleep(seconds)
                cells.append(describe_success(clients))
        table.add_row(attack, *cells)
        console.print(f"{attack}: {cells}")
    console.print(table)


def describe_success(clients: SteadyClients) -> str:
    """Return the share of good requests that succeeded, and their p50 and p99."""
    good = sorted(clients.seconds)
    share = len(good) / max(1, len(good) + len(clients.failed))
    if not good:
        return f"{share:.1%}"
    p50, p99 = (1000 * good[min(len(good) - 1, int(len(good) * part))] for part in (0.5, 0.99))
    return f"{share:.1%} of {len(good) + len(clients.failed):,} ({p50:.0f} / {p99:.0f})"


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description="Compare the model server with a plain Seldon class.")
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each run of wrk, in seconds")
    parser.add_argument("--rounds", type=int, default=3, help="number of runs of each server at each number of connections")
    parser.add_argument("--attacks", action="store_true", help="measure good clients under attack, for 10 seconds each")
    arguments = parser.parse_args()
    if not arguments.attacks and shutil.which("wrk") is None:
        sys.exit("wrk is not installed. Install it with `apt-get install wrk`, or see https://github.com/wg/wrk.")
    os.environ.update(ONE_THREAD)
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for subject in make_subjects(folder):
            if arguments.attacks:
                show_attacks(console, subject, folder, ATTACK_SECONDS)
                return
            show_starts(console, subject, folder)
            show_throughput(console, subject, folder, arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()
