"""An Envoy, real HTTP servers behind it, and a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from rollout_backends import wait_for

from sluice.rollout.platforms.laptop.envoy import EnvoyProxy
from sluice.rollout.platforms.laptop.ports import reserve_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rollout_backends import Backend, Backends


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[EnvoyProxy]:
    with reserve_port(0) as reserved:
        port = reserved.getsockname()[1]
    proxy = EnvoyProxy(tmp_path / "envoy", port, request_timeout_seconds=0.5)
    yield proxy
    proxy.stop()


@pytest.fixture
def client(envoy: EnvoyProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{envoy.port}", trust_env=False, timeout=10.0) as one:
        yield one


@pytest.fixture
def serve(envoy: EnvoyProxy, backends: Backends, spawned: list[Backend]) -> Callable[[str], Backend]:
    def start(release: str) -> Backend:
        backend = backends.spawn(release, backends.prepare(release))
        spawned.append(backend)
        wait_for(backend.poll_ready)
        envoy.set_endpoint(release, backend.port)
        return backend

    return start
