"""A push to a real registry gives the same digest each time, sends nothing twice, and leaves no tag if it fails."""

from __future__ import annotations

import base64
import json
import platform
from typing import TYPE_CHECKING

import httpx
import pytest
from registry_servers import PASSWORD, PROGRAM, USER, CuttingProxy, put_base, registry_server

from sluice.errors import RefusedError, ServiceError, UnsupportedError, UsageError
from sluice.release.fingerprint import describe_for_label, read_fingerprint
from sluice.release.model_layer import write_layer
from sluice.release.registry.image_references import ImageReference, read_image_reference
from sluice.release.registry.pushing import PushResult, push_release
from sluice.release.registry.registry_client import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluice.release.store.releases import Release, ReleaseStore

pytestmark = pytest.mark.skipif(not PROGRAM, reason="these tests need a registry: apt-get install docker-registry")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with registry_server(tmp_path / "registry") as host:
        yield host


@pytest.fixture
def release(store: ReleaseStore, layer_copy: Path) -> Release:
    return store.add(layer_copy)


def base_in(host: str, folder: Path, **how: str) -> ImageReference:
    with RegistryClient(host, "serving", plain_http=True) as registry:
        put_base(registry, folder, **how)
    return ImageReference(host, "serving", "latest")


def push(store: ReleaseStore, release: Release, base: ImageReference, host: str, *tags: str) -> PushResult:
    with (
        RegistryClient(host, "churn/releases", plain_http=True) as registry,
        RegistryClient(base.host, "serving", plain_http=True) as source,
    ):
        return push_release(store, release, base, registry, source, tags=tags or (f"release-{release.number}",))


def manifest(host: str, target: str) -> dict:
    answer = httpx.get(
        f"http://{host}/v2/churn/releases/manifests/{target}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}
    )
    answer.raise_for_status()
    return dict(answer.json())


def blob(host: str, digest: str) -> bytes:
    return httpx.get(f"http://{host}/v2/churn/releases/blobs/{digest}").content


def test_the_image_is_the_base_image_with_the_model_layer_on_top(
    host: str, store: ReleaseStore, release: Release, layer_copy: Path, tmp_path: Path
) -> None:
    pushed = push(store, release, base_in(host, tmp_path), host)
    image = manifest(host, "release-1")
    assert pushed.image.startswith(f"{host}/churn/releases@sha256:")
    assert manifest(host, pushed.image.partition("@")[2]) == image
    assert [layer["mediaType"] for layer in image["layers"]] == ["application/vnd.oci.image.layer.v1.tar"] * 2
    assert image["layers"][1]["digest"] == release.digest
    write_layer(layer_copy, tmp_path / "expected.tar")
    assert blob(host, release.digest) == (tmp_path / "expected.tar").read_bytes()
    config = json.loads(blob(host, image["config"]["digest"]))
    assert config["rootfs"]["diff_ids"] == [image["layers"][0]["digest"], release.digest]
    assert (config["config"]["Cmd"], config["config"]["User"], config["architecture"]) == (["serve"], "10001", "amd64")
    assert config["config"]["Labels"]["of-base"] == "yes"
    assert json.loads(config["config"]["Labels"]["sluice.manifest"]) == release.manifest


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"python": "3.99.1"}, "python is 3.99.1, but the model was fitted with"),
        ({"machine": "s390x"}, "machine is s390x"),
        ({"libraries": {}}, "numpy is absent"),
    ],
)
def test_a_release_is_not_pushed_onto_an_image_that_would_refuse_it(
    host: str, store: ReleaseStore, release: Release, tmp_path: Path, change: dict[str, object], refusal: str
) -> None:
    label = json.dumps(read_fingerprint() | change)
    with pytest.raises(RefusedError, match=f"the serving image {host}/serving:latest has another environment .*{refusal}"):
        push(store, release, base_in(host, tmp_path, fingerprint=label), host)
    with RegistryClient(host, "churn/releases", plain_http=True) as registry:
        assert registry.list_tags() == []
        assert not registry.has_blob(release.digest)


@pytest.mark.parametrize("label", ["", "no JSON", "[]", describe_for_label(read_fingerprint())])
def test_a_release_is_pushed_onto_an_image_with_the_same_environment_or_without_a_label(
    host: str, store: ReleaseStore, release: Release, tmp_path: Path, label: str
) -> None:
    assert push(store, release, base_in(host, tmp_path, fingerprint=label), host).image


def test_the_same_release_is_the_same_image_and_nothing_is_sent_again(
    host: str, store: ReleaseStore, release: Release, tmp_path: Path
) -> None:
    base = base_in(host, tmp_path)
    first = push(store, release, base, host)
    again = push(store, release, base, host, "release-1", "champion")
    assert again.image == first.image
    assert (first.sent > 0, again.sent) == (True, 0)
    assert manifest(host, "champion") == manifest(host, "release-1")


def test_layers_of_a_base_image_in_the_same_registry_are_not_sent(
    host: str, store: ReleaseStore, release: Release, tmp_path: Path
) -> None:
    pushed = push(store, release, base_in(host, tmp_path), host)
    assert pushed.reused == 1
    assert pushed.sent < 350_000  # the base image's layer has more bytes than this


def test_the_base_image_may_be_in_another_registry(host: str, store: ReleaseStore, release: Release, tmp_path: Path) -> None:
    with registry_server(tmp_path / "other") as other:
        pushed = push(store, release, base_in(other, tmp_path), host)
    assert pushed.reused == 0
    assert manifest(host, "release-1")["layers"][1]["digest"] == release.digest


def test_a_broken_connection_is_tried_again(host: str, store: ReleaseStore, release: Release, tmp_path: Path) -> None:
    base = base_in(host, tmp_path)
    with CuttingProxy(host, cuts=3, after=600) as proxy:
        pushed = push(store, release, base, proxy.host)
        assert proxy.connections > 3
    assert manifest(host, "release-1")["layers"][1]["digest"] == release.digest
    assert pushed.image.partition("@")[2] == push(store, release, base, host).image.partition("@")[2]


def test_a_push_that_fails_half_way_leaves_no_tag(host: str, store: ReleaseStore, release: Release, tmp_path: Path) -> None:
    base = base_in(host, tmp_path)
    with CuttingProxy(host, cuts=1_000, after=600) as proxy, pytest.raises(ServiceError, match="does not answer"):
        push(store, release, base, proxy.host)
    assert httpx.get(f"http://{host}/v2/churn/releases/tags/list").status_code == 404
    assert push(store, release, base, host).sent > 0


def test_a_missing_registry_is_one_clear_error(store: ReleaseStore, release: Release) -> None:
    with pytest.raises(ServiceError, match="does not answer") as caught:
        push(store, release, ImageReference("127.0.0.1:9", "serving"), "127.0.0.1:9")
    assert "--plain-http" in caught.value.hint


def test_a_missing_base_image_is_one_clear_error(host: str, store: ReleaseStore, release: Release) -> None:
    with pytest.raises(ServiceError, match="has no image serving:latest") as caught:
        push(store, release, ImageReference(host, "serving", "latest"), host)
    assert caught.value.hint


def _machine() -> str:
    """Return this machine's architecture in OCI's notation. A release is for the architecture that it was made on."""
    return {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def test_the_image_for_the_releases_architecture_is_chosen_from_an_index(
    host: str, store: ReleaseStore, release: Release, tmp_path: Path
) -> None:
    with RegistryClient(host, "serving", plain_http=True) as registry:
        digest = put_base(registry, tmp_path, tag="amd64")
        entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1}
        for tag, architecture in (("many", _machine()), ("other", "s390x")):
            index = {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [
                    entry
                    | {"size": len(registry.read_manifest("amd64")[0])}
                    | {"platform": {"os": "linux", "architecture": architecture}}
                ],
            }
            registry.write_manifest(tag, json.dumps(index).encode(), index["mediaType"])
    assert push(store, release, ImageReference(host, "serving", "many"), host).image
    with pytest.raises(UnsupportedError, match=f"not built for linux/{_machine()}"):
        push(store, release, ImageReference(host, "serving", "other"), host)


def test_user_and_password_come_from_dockers_configuration(
    store: ReleaseStore, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry_server(tmp_path / "closed", password=True) as host:
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
        with pytest.raises(ServiceError, match="requires a user and a password"):
            base_in(host, tmp_path)
        (tmp_path / "docker").mkdir()
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
        assert push(store, release, base_in(host, tmp_path), host).sent > 0


def test_a_credential_helper_gives_user_and_password(
    store: ReleaseStore, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry_server(tmp_path / "closed", password=True) as host:
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker" / "config.json").write_text(json.dumps({"credHelpers": {host: "tests"}}))
        helper = tmp_path / "docker-credential-tests"
        helper.write_text(f"#!/bin/sh\necho '{json.dumps({'Username': USER, 'Secret': PASSWORD})}'\n")
        helper.chmod(0o755)
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        assert push(store, release, base_in(host, tmp_path), host).sent > 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("registry.example.com/churn", ("registry.example.com", "churn", "", "")),
        ("localhost:5000/a/b:v1", ("localhost:5000", "a/b", "v1", "")),
        (f"r:5000/a@sha256:{'0' * 64}", ("r:5000", "a", "", f"sha256:{'0' * 64}")),
    ],
)
def test_image_references_are_parsed(text: str, parts: tuple[str, str, str, str]) -> None:
    found = read_image_reference(text)
    assert (found.host, found.repository, found.tag, found.digest) == parts
    assert str(found) == text


@pytest.mark.parametrize(
    "text", ["churn", "churn:1", "library/churn", "r.example/", "r.example/Churn", "r.example/a@sha256:1", ""]
)
def test_a_reference_without_a_registry_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not the name of an image in a registry"):
        read_image_reference(text)
