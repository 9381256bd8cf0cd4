"""The registry's tags champion and previous, against a real registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from registry_servers import PROGRAM, put_base, registry_server

from sluice.errors import ServiceError
from sluice.release.registry.client import Registry
from sluice.rollout.platforms.seldon.registry_tags import RegistryTags, set_tag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not PROGRAM, reason="no docker-registry here")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with registry_server(tmp_path / "registry") as found:
        yield found


def test_a_tag_follows_and_is_not_written_twice(host: str, tmp_path: Path) -> None:
    with Registry(host, "churn", plain_http=True) as registry:
        digest = put_base(registry, tmp_path)
        image = f"{host}/churn@{digest}"
        set_tag(image, "champion", plain_http=True)
        set_tag(image, "champion", plain_http=True)
        assert registry.find_manifest("champion") == digest


def test_what_a_registry_refuses_is_said_and_holds_nothing_up(host: str) -> None:
    said: list[str] = []
    tags = RegistryTags(plain_http=True, notify=said.append)
    image = f"{host}/churn@sha256:{'0' * 64}"
    with pytest.raises(ServiceError):
        set_tag(image, "champion", plain_http=True)
    tags.move_tags(image, "")
    tags.close()
    assert len(said) == 1
    assert "the tag champion in the registry could not be moved" in said[0]
