"""The tags champion and previous in a real registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from registry_servers import PROGRAM, put_base, registry_server

from sluice.errors import ServiceError
from sluice.release.registry.registry_client import RegistryClient
from sluice.rollout.platforms.seldon.registry_tags import RegistryTags, set_tag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not PROGRAM, reason="these tests need a registry: apt-get install docker-registry")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with registry_server(tmp_path / "registry") as found:
        yield found


def test_a_tag_is_set_and_not_written_twice(host: str, tmp_path: Path) -> None:
    with RegistryClient(host, "churn", plain_http=True) as registry:
        digest = put_base(registry, tmp_path)
        image = f"{host}/churn@{digest}"
        set_tag(image, "champion", plain_http=True)
        set_tag(image, "champion", plain_http=True)
        assert registry.find_manifest("champion") == digest


def test_a_refusal_of_the_registry_is_reported_and_stops_nothing(host: str) -> None:
    said: list[str] = []
    tags = RegistryTags(plain_http=True, notify=said.append)
    image = f"{host}/churn@sha256:{'0' * 64}"
    with pytest.raises(ServiceError):
        set_tag(image, "champion", plain_http=True)
    tags.move_tags(image, "")
    tags.close()
    assert len(said) == 1
    assert "the tag champion in the registry could not be moved" in said[0]
