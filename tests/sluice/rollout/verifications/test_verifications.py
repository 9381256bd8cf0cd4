"""Verifying a release of a running rollout: with threads, with an image in a real registry, and with the keys of sluice.toml."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from guards import GUARD_SECONDS
from registry_servers import PROGRAM, RegistryProxy, free_port, put_base, registry_server
from release_project import InlineThreads, Signer, wait_until

from sluice.errors import ConfigurationError, IntegrityError, ServiceError, StateError
from sluice.project.projects import Project
from sluice.release.model_layer import MANIFEST_FILE, MODEL_FILE
from sluice.release.project_releases import open_registry_releases
from sluice.release.registry.image_references import ImageReference
from sluice.release.registry.pushing import push_release
from sluice.release.registry.registry_client import MAX_ANSWER_BYTES, RegistryClient
from sluice.release.registry.release_tags import layer_tag
from sluice.release.store.releases import ReleaseStore
from sluice.release.trust_rules import TrustKeys
from sluice.rollout.clocks import Clock
from sluice.rollout.decisions.health import VERIFIED, Verification
from sluice.rollout.decisions.states import Journal, Phase, Request, State
from sluice.rollout.verifications import (
    KEPT_RELEASES,
    RETRY_SECONDS,
    ReleaseVerifier,
    read_trust_keys,
    verify_images,
    verify_stored_releases,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from release_project import Trained

    from sluice.release.trust_rules import ReleaseDocuments

LAYER, IMAGE, MODEL = (f"sha256:{digit * 64}" for digit in "12f")
READING = "the signatures of the release are being verified"


@pytest.fixture
def signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signer:
    return Signer(tmp_path, "parcels", monkeypatch)


def running(release: str = LAYER, image: str = IMAGE, *, at: float = 100.0, phase: Phase = Phase.AWAITING_READY) -> Journal:
    request = Request(id=f"{release}-{at}", release=release, by="bob", at=at, steps=(5, 100), image=image)
    return Journal(request=request, state=State(phase=phase))


class Time:
    def __init__(self) -> None:
        self.now = 1000.0
        self.clock = Clock(now=lambda: self.now, steady=lambda: self.now, sleep=lambda _: None)


def test_without_keys_nothing_is_read() -> None:
    def fail(_: Request) -> ReleaseDocuments:
        raise AssertionError("it was read")

    verifier = ReleaseVerifier(TrustKeys(), "parcels", fail, threads=InlineThreads())
    assert verifier.verify(running()) == VERIFIED


def test_a_round_does_not_wait_for_a_registry_that_hangs(signer: Signer) -> None:
    answered = threading.Event()

    def read(request: Request) -> ReleaseDocuments:
        assert answered.wait(GUARD_SECONDS)
        return signer.documents(request.release, request.image)

    verifier = ReleaseVerifier(signer.keys, "parcels", read)
    for _ in range(3):
        assert verifier.verify(running()) == Verification(waiting=READING)
    assert verifier.verify(Journal()) == VERIFIED, "nothing else waits"
    answered.set()
    assert wait_until(lambda: verifier.verify(running()) == VERIFIED)


def test_what_cannot_be_read_is_read_again_and_what_is_refused_is_not(signer: Signer) -> None:
    time, reads = Time(), []
    errors: list[Exception] = [ServiceError("it does not answer"), OSError("no route"), IntegrityError("it was altered")]

    def read(request: Request) -> ReleaseDocuments:
        reads.append(request.id)
        if errors:
            raise errors.pop(0)
        return signer.documents(request.release, request.image)

    verifier = ReleaseVerifier(signer.keys, "parcels", read, clock=time.clock, threads=InlineThreads())
    cannot = "the signatures of the release cannot be read: "
    assert verifier.verify(running()) == Verification(waiting=f"{cannot}it does not answer")
    time.now += RETRY_SECONDS / 2
    assert verifier.verify(running()).waiting == f"{cannot}it does not answer"
    time.now += RETRY_SECONDS
    assert verifier.verify(running()).waiting == f"{cannot}no route"
    time.now += RETRY_SECONDS
    for _ in range(3):
        assert verifier.verify(running()) == Verification(refusal="it was altered")
    assert len(reads) == 3
    assert verifier.verify(running(at=200.0)) == VERIFIED, "the next rollout looks again"


@pytest.mark.parametrize("error", [KeyError("layers"), RecursionError(), ValueError("no JSON")])
def test_an_error_in_what_others_wrote_is_a_refusal(signer: Signer, error: Exception) -> None:
    def read(_: Request) -> ReleaseDocuments:
        raise error

    found = ReleaseVerifier(signer.keys, "parcels", read, threads=InlineThreads()).verify(running())
    assert found.refusal.startswith(f"it cannot be read: {type(error).__name__}")


def test_each_image_is_read_once_and_only_the_last_ones_are_kept(signer: Signer) -> None:
    reads: list[str] = []

    def read(request: Request) -> ReleaseDocuments:
        reads.append(request.image)
        return signer.documents(request.release, request.image)

    verifier = ReleaseVerifier(signer.keys, "parcels", read, threads=InlineThreads())
    images = [f"sha256:{number:064x}" for number in range(KEPT_RELEASES + 1)]
    for at, image in enumerate((*images, images[-1], images[1], images[0])):
        assert verifier.verify(running(image=image, at=float(at))) == VERIFIED
    assert reads == [*images, images[0]]


def test_an_override_must_be_valid_when_the_rollout_begins_and_may_expire_later(signer: Signer) -> None:
    time = Time()
    override = {"model": MODEL, "scores": "", "by": "ada", "why": "a fix", "at": 900.0, "until": 1010.0}
    gate = signer.sign_gate(MODEL, promote=False, override=override)

    def open_verifier() -> ReleaseVerifier:
        def read(request: Request) -> ReleaseDocuments:
            return signer.documents(request.release, request.image, gate=gate)

        return ReleaseVerifier(signer.keys, "parcels", read, clock=time.clock, threads=InlineThreads())

    first = open_verifier()
    assert first.verify(running(at=1000.0)) == VERIFIED
    time.now = 2000.0
    assert first.verify(running(at=1000.0)) == VERIFIED
    assert open_verifier().verify(running(at=1000.0, phase=Phase.STEP)) == VERIFIED, "a new process repeats the decision"
    expired = "the gate did not promote this model, and its override is not valid now"
    assert first.verify(running(at=2000.0)) == Verification(refusal=expired)
    assert open_verifier().verify(running(at=1000.0)).refusal == expired, "a request with an old date takes no new traffic"


def with_trust(project: Project, signer: Signer, **serving: object) -> Project:
    settings = project.settings
    changed = {"trust": signer.settings, "serving": settings.serving.model_copy(update=serving)}
    return Project(project.root, settings.model_copy(update=changed))


def test_a_key_that_cannot_be_read_is_an_error_and_never_turns_the_check_off(trained: Trained, signer: Signer) -> None:
    project = with_trust(trained.project, signer)
    assert [key.file.name for key in (*read_trust_keys(project).gate, *read_trust_keys(project).provenance)] == [
        "gate.pub",
        "image.pub",
    ]
    (signer.folder / "gate.pub").unlink()
    with pytest.raises(ConfigurationError, match=r"gate\.pub cannot be read as a public key") as caught:
        verify_stored_releases(project)
    assert caught.value.exit_code == 2


def sign_layer(signer: Signer, layer: Path) -> None:
    """Put the gate's signed answer into the manifest of a layer, as packaging does."""
    manifest = json.loads((layer / MANIFEST_FILE).read_text())
    manifest["gate"] = signer.sign_gate(manifest["model"]["digest"])
    (layer / MANIFEST_FILE).write_text(json.dumps(manifest))


def push_on(host: str, base: str, store: ReleaseStore, digest: str, *, tags: tuple[str, ...]) -> str:
    """Push a release on top of a serving image, as anybody may who may push, and return the image."""
    with (
        RegistryClient(host, "parcels/releases", plain_http=True) as registry,
        RegistryClient(host, base, plain_http=True) as source,
    ):
        return push_release(store, store.get(digest), ImageReference(host, base, "latest"), registry, source, tags=tags).image


def judge(verifier: ReleaseVerifier, journal: Journal) -> Verification:
    assert wait_until(lambda: verifier.verify(journal).waiting != READING)
    return verifier.verify(journal)


@pytest.mark.skipif(not PROGRAM, reason="these tests need a registry: apt-get install docker-registry")
class TestImages:
    @pytest.fixture
    def host(self, tmp_path: Path) -> Iterator[str]:
        with registry_server(tmp_path / "registry") as host:
            with RegistryClient(host, "serving", plain_http=True) as registry:
                put_base(registry, tmp_path)
            yield host

    @pytest.fixture
    def open_project(
        self, trained: Trained, signer: Signer, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., Project]:
        def open_project(pod: str = "one", at: str = host) -> Project:
            monkeypatch.setenv("SLUICE_STATE", str(tmp_path / pod))
            serving = {"repository": f"{at}/parcels/releases", "image": f"{at}/serving:latest", "plain_http": True}
            return with_trust(trained.project, signer, **serving)

        return open_project

    @pytest.fixture
    def published(self, open_project: Callable[..., Project], signer: Signer, layer_copy: Path) -> tuple[str, str]:
        """Return a release that both keys signed, and its image."""
        sign_layer(signer, layer_copy)
        with signer.packaging():
            releases = open_registry_releases(open_project())
            digest = releases.add(layer_copy).digest
            image = releases.publish(digest).image
        return digest, image

    @pytest.mark.parametrize("referrers", [True, False], ids=["referrers API", "referrers tag"])
    def test_a_pushed_image_carries_its_provenance_and_is_verified_by_its_digest(
        self, open_project: Callable[..., Project], signer: Signer, layer_copy: Path, host: str, referrers: bool
    ) -> None:
        sign_layer(signer, layer_copy)
        with RegistryProxy(host, referrers=referrers) as proxy:
            with signer.packaging():
                releases = open_registry_releases(open_project("one", proxy.host))
                digest = releases.add(layer_copy).digest
                image = releases.publish(digest).image
            assert open_registry_releases(open_project("canary", proxy.host)).publish(digest).image == image
            assert judge(verify_images(open_project("controller", proxy.host)), running(digest, image)) == VERIFIED
            assert judge(verify_stored_releases(open_project("laptop", proxy.host)), running(digest, "")) == VERIFIED

    def test_an_image_that_was_pushed_without_the_key_is_refused_until_it_is_signed(
        self, open_project: Callable[..., Project], signer: Signer, layer_copy: Path
    ) -> None:
        sign_layer(signer, layer_copy)
        releases = open_registry_releases(open_project())
        digest = releases.add(layer_copy).digest
        image = releases.publish(digest).image
        verifier = verify_images(open_project("controller"))
        assert judge(verifier, running(digest, image)).refusal == "the provenance is not signed"
        with signer.packaging():
            releases.publish(digest)
        assert judge(verifier, running(digest, image, at=200.0)) == VERIFIED

    def test_the_layer_on_another_serving_image_is_refused(
        self, open_project: Callable[..., Project], published: tuple[str, str], host: str, tmp_path: Path
    ) -> None:
        digest, image = published
        with RegistryClient(host, "serving", plain_http=True) as registry:
            put_base(registry, tmp_path, user="10002")
        project = open_project()
        store = ReleaseStore(project.state / "releases")
        other = push_on(host, "serving", store, digest, tags=())
        assert other != image
        refusal = judge(verify_images(project), running(digest, other)).refusal
        assert refusal == "it has no provenance"

    def test_packaging_does_not_sign_an_image_that_somebody_else_put_under_the_releases_tag(
        self, open_project: Callable[..., Project], signer: Signer, layer_copy: Path, host: str, tmp_path: Path
    ) -> None:
        sign_layer(signer, layer_copy)
        project = open_project()
        store = ReleaseStore(project.state / "releases")
        release = store.add(layer_copy)
        with RegistryClient(host, "evil", plain_http=True) as registry:
            put_base(registry, tmp_path, user="0")
        push_on(host, "evil", store, release.digest, tags=(layer_tag(release.digest, 1), "release-1"))
        with signer.packaging():
            image = open_registry_releases(project).publish(release.digest).image
        assert not judge(verify_images(project), running(release.digest, image)).holds

    def test_a_label_that_differs_from_the_layer_proves_nothing(
        self, open_project: Callable[..., Project], signer: Signer, layer_copy: Path
    ) -> None:
        sign_layer(signer, layer_copy)
        (layer_copy / MODEL_FILE).write_bytes(b"evil")
        with signer.packaging():
            releases = open_registry_releases(open_project())
            digest = releases.add(layer_copy).digest
            image = releases.publish(digest).image
        refusal = judge(verify_images(open_project()), running(digest, image)).refusal
        assert refusal.startswith("its manifest names the model sha256:")

    def test_a_layer_that_the_registry_alters_is_refused(
        self, open_project: Callable[..., Project], published: tuple[str, str], host: str
    ) -> None:
        digest, image = published

        def alter(method: str, path: str, body: bytes) -> bytes:
            return body[:-1024] + b"x" * 1024 if method == "GET" and path.endswith(f"/blobs/{digest}") else body

        with RegistryProxy(host, alter=alter) as proxy:
            there = image.replace(host, proxy.host)
            refusal = judge(verify_images(open_project("two", proxy.host)), running(digest, there)).refusal
        assert f"returned bytes whose digest is not {digest}" in refusal

    def test_an_answer_that_would_fill_the_memory_is_refused(
        self, open_project: Callable[..., Project], published: tuple[str, str], host: str
    ) -> None:
        digest, image = published

        def alter(method: str, found: str, body: bytes) -> bytes:
            return bytes(MAX_ANSWER_BYTES + 1) if method == "GET" and "/manifests/sha256:" in found else body

        with RegistryProxy(host, alter=alter) as proxy:
            there = image.replace(host, proxy.host)
            found = judge(verify_images(open_project("two", proxy.host)), running(digest, there))
        assert "answered with more than 4,194,304 bytes" in found.refusal

    def test_the_valid_provenance_is_found_among_what_others_attach(
        self, open_project: Callable[..., Project], published: tuple[str, str], host: str
    ) -> None:
        digest, image = published
        releases = open_registry_releases(open_project())
        for document in ({"payload": "x", "signatures": [{}]}, {"large": "x" * (1 << 20)}, {"_type": "none"}):
            releases.attach(digest, "provenance", document)
        assert judge(verify_images(open_project("controller")), running(digest, image)) == VERIFIED

    def test_a_registry_that_is_down_is_waited_for(self, open_project: Callable[..., Project]) -> None:
        there = f"127.0.0.1:{free_port()}/parcels/releases@{IMAGE}"
        found = judge(verify_images(open_project()), running(LAYER, there))
        assert "does not answer the request for manifests" in found.waiting

    def test_what_is_no_release_is_refused(self, open_project: Callable[..., Project], host: str) -> None:
        with RegistryClient(host, "serving", plain_http=True) as registry:
            image = registry.find_manifest("latest")
        verifier = verify_images(open_project())
        found = judge(verifier, running(LAYER, f"{host}/serving@{image}"))
        assert found.refusal.startswith("the model layer cannot be unpacked")
        assert "is not the name of an image" in judge(verifier, running(LAYER, "nowhere", at=200.0)).refusal


def test_a_release_that_the_store_does_not_have_is_refused(
    trained: Trained, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "empty"))
    verifier = verify_stored_releases(with_trust(trained.project, signer))
    assert judge(verifier, running()).refusal.startswith("there is no release")
    with pytest.raises(StateError):
        ReleaseStore(tmp_path / "empty" / "releases").read_documents(LAYER)
