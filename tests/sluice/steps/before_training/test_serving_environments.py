"""A model that no serving image could serve is refused before it is trained, and before it is packaged."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING

import pytest
from registry_servers import free_port, put_base, registry_server

from sluice.errors import RefusedError
from sluice.project.projects import Project, read_project
from sluice.release.fingerprint import read_fingerprint
from sluice.release.registry.registry_client import RegistryClient
from sluice.steps.before_training.environments import check_serving_image
from sluice.steps.packaging import package
from sluice.steps.snapshots import pin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with registry_server(tmp_path / "registry") as host:
        yield host


def put_image(host: str, folder: Path, monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    """Push a serving image with this label, and let the settings name it."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    with RegistryClient(host, "serving", plain_http=True) as registry:
        put_base(registry, folder, architecture=architecture, fingerprint=label)
    monkeypatch.setenv("SLUICE_SERVING__IMAGE", f"{host}/serving:latest")
    monkeypatch.setenv("SLUICE_SERVING__REPOSITORY", f"{host}/tiny")
    monkeypatch.setenv("SLUICE_SERVING__PLAIN_HTTP", "true")


def test_another_environment_is_refused_by_the_first_step_and_by_the_packaging(
    tiny: Project, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.root)
    (tiny.root / "locks").mkdir()
    (tiny.root / "locks" / "serving.txt").touch()
    monkeypatch.setenv("SLUICE_PROJECT__PACKAGES", "[]")
    put_image(host, tmp_path, monkeypatch, json.dumps(read_fingerprint() | {"python": "3.99.2"}))
    refusal = (
        f"the serving image {host}/serving:latest has another environment .*: python is 3.99.2, but the model was fitted with"
    )
    with pytest.raises(RefusedError, match=refusal) as refused:
        pin("", tmp_path / "snapshot")
    assert "make images" in refused.value.hint
    assert not (tmp_path / "snapshot").exists()
    with pytest.raises(RefusedError, match=refusal):
        package("no-model", {}, [], "", "", "", "")


def test_another_patch_level_is_told_and_not_refused(
    tiny: Project, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = read_fingerprint()
    other = ".".join([*here["python"].split(".")[:2], "99"])
    put_image(host, tmp_path, monkeypatch, json.dumps(here | {"python": other}))
    told = check_serving_image(read_project(tiny.root))
    assert told == f"the model is fitted with Python {here['python']} and served with {other}; a patch level changes no answer"
    put_image(host, tmp_path, monkeypatch, json.dumps(here))
    assert not check_serving_image(read_project(tiny.root))


def test_an_image_without_a_label_and_one_that_cannot_be_read_are_told(
    tiny: Project, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not check_serving_image(read_project(tiny.root))
    put_image(host, tmp_path, monkeypatch, "")
    assert "has no label sluice.fingerprint, so the environments are compared first when a server starts" in check_serving_image(
        read_project(tiny.root)
    )
    monkeypatch.setenv("SLUICE_SERVING__IMAGE", f"127.0.0.1:{free_port()}/serving:latest")
    assert "the serving image cannot be read here (the registry" in check_serving_image(read_project(tiny.root))
