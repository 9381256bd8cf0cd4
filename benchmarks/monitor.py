"""How many events a second the drift monitor takes in, and how Evidently and NannyML handle the same rows.

Each event is one request with one row of 20 columns. The first line reads and counts the bodies in this process. The next ones
start `sluice monitor` and send it events over 8 connections: each in a request of its own, as Seldon Core 1.17.1 does, or in
batches of 100. The sender needs processor time of the same machine, so the monitor's own processor time is shown too.

Evidently and NannyML need environments of their own, and get the rows as a frame that is already in memory::

    uv venv /tmp/evidently && uv pip install --python /tmp/evidently/bin/python evidently 'pandas<3'
    uv venv /tmp/nannyml && uv pip install --python /tmp/nannyml/bin/python nannyml statsmodels 'pandas<3' 'numpy<2' 'pyarrow<24'
    EVIDENTLY_PYTHON=/tmp/evidently/bin/python NANNYML_PYTHON=/tmp/nannyml/bin/python python -m benchmarks.monitor
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.costs.drift_streams import write_file
from sluice.drift.batches import ParquetRows
from sluice.drift.references import DriftReference, freeze_reference
from sluice.triggers.monitor.events import BATCH_TYPE, REQUEST_TYPE
from sluice.triggers.monitor.payloads import RequestCounter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EVENTS, REFERENCE_ROWS = 100_000, 50_000
CONNECTIONS, PIPELINED, BATCH = 8, 50, 100
TARGET = 20_000
_COUNTED_AT_ONCE = 2_000

PEERS = {
    "Evidently": (
        "EVIDENTLY_PYTHON",
        r"""
from evidently import Report
from evidently.presets import DataDriftPreset
def run(reference, present):
    Report([DataDriftPreset(num_method="psi", cat_method="psi")]).run(present, reference).dict()
""",
    ),
    "NannyML": (
        "NANNYML_PYTHON",
        r"""
import nannyml
def run(reference, present):
    methods = {"continuous_methods": ["jensen_shannon"], "categorical_methods": ["jensen_shannon"]}
    calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference.columns), chunk_number=1, **methods)
    calculator.fit(reference).calculate(present).to_df()
""",
    ),
}
"""Peer → the variable that names its Python, and a function that compares two frames."""

_PEER_MAIN = r"""
import json, sys, time
import pandas as pd
reference, present = (pd.read_parquet(path) for path in sys.argv[1:3])
start, wall = time.process_time(), time.perf_counter()
run(reference, present)
print(json.dumps({"cpu": time.process_time() - start, "seconds": time.perf_counter() - wall}))
"""

_PROJECT = """
[project]
name = "benchmark"
[data]
snapshot = "s"
holdout = "h"
load = "m:f"
label = "l"
id = "i"
[model]
build = "m:f"
[monitor]
reference = "reference.json"
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What some events cost.

    Attributes:
        events: Number of events.
        seconds: Time from the first to the last.
        cpu: Processor time in seconds of the process that handled them.
    """

    events: int
    seconds: float
    cpu: float


def main(events: int) -> None:
    """Measure, and print the table."""
    table = Table("what", "events", "events/s", "CPU µs/event", "events/s of a core", title="The drift monitor, 20 columns")
    with tempfile.TemporaryDirectory(prefix="sluice-monitor-") as name:
        folder = Path(name)
        training = write_file(folder / "reference.parquet", REFERENCE_ROWS, seed=1, moved=False)
        present = write_file(folder / "present.parquet", events, seed=2, moved=False)
        reference, bodies = freeze_reference(ParquetRows(training)), write_bodies(present)
        _add(table, "read and count", measure_counting(reference, bodies))
        _add(table, "HTTP, one event each", measure_http(folder, reference, bodies, batch=1))
        _add(table, f"HTTP, batches of {BATCH}", measure_http(folder, reference, bodies, batch=BATCH))
        for peer in PEERS:
            cost = measure_peer(peer, training, present, events)
            if cost is None:
                table.add_row(f"{peer}: ${PEERS[peer][0]} names no Python that has it")
            else:
                _add(table, f"{peer}, one frame", cost)
    table.caption = f"The target is {TARGET:,} events/s on two cores."
    Console().print(table)


def _add(table: Table, what: str, cost: Cost) -> None:
    rate, each = cost.events / cost.seconds, cost.cpu / cost.events
    table.add_row(what, f"{cost.events:,}", f"{rate:,.0f}", f"{each * 1e6:.1f}", f"{1 / each:,.0f}")


def write_bodies(present: Path) -> list[bytes]:
    """Return each row of a file as the body of a request."""
    frame = pd.read_parquet(present)
    start = b'{"data": {"names": %s, "ndarray": [' % json.dumps(list(frame.columns)).encode()
    lines = frame.to_json(orient="values")
    return [start + f"[{row}]".encode() + b"]}}" for row in lines[2:-2].split("],[")]


def measure_counting(reference: DriftReference, bodies: Sequence[bytes]) -> Cost:
    """Read and count bodies in this process."""
    counter, rows = RequestCounter(reference), 0
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(bodies), _COUNTED_AT_ONCE):
        rows += counter.count(bodies[start : start + _COUNTED_AT_ONCE]).profile.rows
    if rows != len(bodies):
        raise RuntimeError(f"{rows} of {len(bodies)} rows were counted")
    return Cost(len(bodies), time.perf_counter() - wall, time.process_time() - cpu)


def measure_http(folder: Path, reference: DriftReference, bodies: Sequence[bytes], *, batch: int) -> Cost:
    """Send events to a monitor, and wait until all of them are counted."""
    (folder / "sluice.toml").write_text(_PROJECT, encoding="utf-8")
    (folder / "reference.json").write_text(json.dumps(reference.to_dict()), encoding="utf-8")
    requests = [*_write_requests(bodies, batch)]
    with _running_monitor(folder) as (process, port):
        before = _read_cpu(process.pid)
        wall = time.perf_counter()
        parts = [requests[place::CONNECTIONS] for place in range(CONNECTIONS)]
        threads = [threading.Thread(target=_send, args=(port, part)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while _read_counted(port) < len(bodies):
            time.sleep(0.01)
        return Cost(len(bodies), time.perf_counter() - wall, _read_cpu(process.pid) - before)


def _write_requests(bodies: Sequence[bytes], batch: int) -> Iterator[bytes]:
    """Return HTTP requests as bytes, so that sending them costs little."""
    line = b"POST /events HTTP/1.1\r\nHost: monitor\r\n"
    if batch == 1:
        shown = b"ce-specversion: 1.0\r\nce-type: %s\r\nce-source: http://localhost:8000/\r\n" % REQUEST_TYPE.encode()
        more = b"ce-modelid: model\r\nce-requestid: 2f3c\r\nce-inferenceservicename: churn\r\nce-namespace: production\r\n"
        for number, body in enumerate(bodies):
            size = b"ce-id: event-%d\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (number, len(body))
            yield line + shown + more + size + body
        return
    for start in range(0, len(bodies), batch):
        events = b",".join(
            b'{"specversion":"1.0","id":"event-%d","source":"s","type":"%s","data":%s}' % (number, REQUEST_TYPE.encode(), body)
            for number, body in enumerate(bodies[start : start + batch], start)
        )
        content = b"[%s]" % events
        yield line + b"content-type: %s\r\ncontent-length: %d\r\n\r\n" % (BATCH_TYPE.encode(), len(content)) + content


def _send(port: int, requests: Sequence[bytes]) -> None:
    """Send requests over one connection. An answer that is not 202 ends the measurement."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for start in range(0, len(requests), PIPELINED):
            part = requests[start : start + PIPELINED]
            connection.sendall(b"".join(part))
            answers = b""
            while answers.count(b"HTTP/1.1 ") < len(part) or not answers.endswith(b"}"):
                answers += connection.recv(1 << 16)
            if answers.count(b"HTTP/1.1 202") != len(part):
                raise RuntimeError(f"the monitor refused an event: {answers[-300:]!r}")


@contextlib.contextmanager
def _running_monitor(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "sluice", "monitor", "--port", "0", "--project", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        found = re.search(r"on port (\d+)", process.stdout.readline() if process.stdout else "")
        port = int(found[1]) if found else 0
        while not _is_ready(port):
            time.sleep(0.05)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == httpx.codes.OK
    except httpx.ConnectError:
        return False


def _read_counted(port: int) -> int:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    found = re.search(r'sluice_monitor_events_total\{outcome="counted"\} ([\d.e+]+)', text)
    return int(float(found[1])) if found else 0


def _read_cpu(process: int) -> float:
    """Return the processor time of a process and of its children that run, in seconds."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_read_cpu(int(child)) for child in children)


def measure_peer(peer: str, reference: Path, present: Path, rows: int) -> Cost | None:
    """Compare the rows with a peer; None if the environment variable names no Python that has it."""
    variable, function = PEERS[peer]
    if not (python := os.environ.get(variable)):
        return None
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["NANNYML_DISABLE_USAGE_LOGGING"] = "1"
    command = [python, "-W", "ignore", "-c", function + _PEER_MAIN, str(reference), str(present)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Cost(rows, found["seconds"], found["cpu"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=EVENTS, help="number of events")
    main(parser.parse_args().events)
