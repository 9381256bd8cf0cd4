"""The registry holds the releases, so an empty folder is enough to find them, and two processes never share a number."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from guards import GUARD_SECONDS
from registry_servers import PROGRAM, RegistryProxy, free_port, put_base, registry_server

from sluice.errors import IntegrityError, ServiceError, StateError, UsageError
from sluice.project.projects import Project
from sluice.release.project_releases import open_folder, open_releases
from sluice.release.registry.image_references import ImageReference
from sluice.release.registry.publishing import Destination, Repository, publish
from sluice.release.registry.pushing import push_release
from sluice.release.registry.registry_client import RegistryClient
from sluice.release.registry.registry_releases import RegistryReleases
from sluice.release.registry.release_tags import layer_tag
from sluice.release.store.releases import ReleaseStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from release_project import Trained

pytestmark = pytest.mark.skipif(not PROGRAM, reason="these tests need a registry: apt-get install docker-registry")

REPOSITORY = "churn/releases"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with registry_server(tmp_path / "registry") as host:
        with RegistryClient(host, "serving", plain_http=True) as registry:
            put_base(registry, tmp_path)
        yield host


@pytest.fixture
def open_at(tmp_path: Path, host: str) -> Callable[..., RegistryReleases]:
    """Open the registry's releases with an empty folder of another name, as another pod would."""

    def open_at(pod: str, at: str = "", *, roles_in_registry: bool = True) -> RegistryReleases:
        repository = Repository(ImageReference(at or host, REPOSITORY), plain_http=True)
        destination = Destination(repository, ImageReference(at or host, "serving", "latest"))
        cache = ReleaseStore(tmp_path / pod / "releases")
        return RegistryReleases(cache, repository.open, lambda: destination, roles_in_registry=roles_in_registry)

    return open_at


def client(host: str) -> RegistryClient:
    return RegistryClient(host, REPOSITORY, plain_http=True)


def test_a_release_is_found_from_an_empty_folder_by_each_of_its_names(
    open_at: Callable[..., RegistryReleases], layer_copy: Path, host: str
) -> None:
    added = open_at("one").add(layer_copy)
    image = open_at("one").publish(added.digest).image.partition("@")[2]
    names = ("1", "release-1", added.digest, added.digest[:19], added.digest[7:20], image)
    for place, name in enumerate(names):
        found = open_at(f"pod-{place}").get(name)
        assert (found.digest, found.number, found.manifest) == (added.digest, 1, added.manifest), name
    folder = open_at("unpacking").unpack(added.digest)
    assert (folder / "model.joblib").read_bytes() == (layer_copy / "model.joblib").read_bytes()


def test_what_does_not_exist_is_one_clear_error(open_at: Callable[..., RegistryReleases], layer_copy: Path, host: str) -> None:
    for name in ("1", "champion", f"sha256:{'0' * 64}", "abcdef"):
        with pytest.raises(StateError, match="neither here nor in") as caught:
            open_at("empty").get(name)
        assert host in caught.value.message


def test_each_release_gets_the_next_number_of_the_registry_and_keeps_it(
    open_at: Callable[..., RegistryReleases], make_layer: Callable[[int], Path]
) -> None:
    first = open_at("one").add(make_layer(1))
    second = open_at("two").add(make_layer(2))
    again = open_at("three").add(make_layer(1))
    assert [first.number, second.number, again.number] == [1, 2, 1]
    assert [(one.number, one.digest) for one in open_at("four").list()] == [(1, first.digest), (2, second.digest)]


def test_a_local_hit_by_digest_needs_no_registry(open_at: Callable[..., RegistryReleases], layer_copy: Path, host: str) -> None:
    added = open_at("one").add(layer_copy)
    nowhere = f"127.0.0.1:{free_port()}"
    assert open_at("one", nowhere).get(added.digest).number == 1
    assert open_at("one", nowhere).unpack(added.digest).is_dir()


@pytest.mark.slow
def test_a_registry_that_is_down_is_an_error_that_names_it_and_what_was_asked(
    open_at: Callable[..., RegistryReleases], layer_copy: Path
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    with pytest.raises(ServiceError, match=f"the registry {nowhere} does not answer the request for tags/list of {REPOSITORY}"):
        open_at("one", nowhere).get(f"sha256:{'0' * 64}")
    with pytest.raises(ServiceError, match=f"{nowhere} does not answer the request for manifests/release-3 of {REPOSITORY}"):
        open_at("one", nowhere).get("3")


def test_two_processes_that_add_at_the_same_moment_get_different_numbers(
    open_at: Callable[..., RegistryReleases], make_layer: Callable[[int], Path], host: str, tmp_path: Path
) -> None:
    layers = [ReleaseStore(tmp_path / f"pod-{number}" / "releases").add(make_layer(number)).digest for number in range(2)]
    barrier = threading.Barrier(2, timeout=GUARD_SECONDS)
    met = set()

    def meet(method: str, path: str) -> None:
        """Let both processes have read the tags before either claims a number, and both claim before either looks again."""
        claim = next((layer for layer in layers if method == "PUT" and path.endswith(f"/manifests/{layer_tag(layer, 1)}")), "")
        if claim and claim not in met:
            met.add(claim)
            barrier.wait()

    with RegistryProxy(host, before=meet) as proxy, ThreadPoolExecutor(2) as executor:
        published = [
            executor.submit(open_at(f"pod-{number}", proxy.host).publish, layer).result for number, layer in enumerate(layers)
        ]
        numbers = {layer: result().release.number for layer, result in zip(layers, published, strict=True)}
    assert met == set(layers), "both claimed the first number"
    assert len(set(numbers.values())) == 2
    for layer, number in numbers.items():
        found = open_at(f"look-{number}").get(str(number))
        assert (found.digest, found.number) == (layer, number)


@pytest.mark.slow
def test_eight_processes_that_add_at_once_get_eight_numbers(
    open_at: Callable[..., RegistryReleases], make_layer: Callable[[int], Path], tmp_path: Path
) -> None:
    layers = [ReleaseStore(tmp_path / f"pod-{number}" / "releases").add(make_layer(number)).digest for number in range(8)]
    with ThreadPoolExecutor(8) as executor:
        published = list(executor.map(lambda pair: open_at(f"pod-{pair[0]}").publish(pair[1]), enumerate(layers)))
    numbers = [one.release.number for one in published]
    assert len(set(numbers)) == 8
    assert {one.number: one.digest for one in open_at("look").list()} == dict(zip(numbers, layers, strict=True))


def test_the_same_release_from_two_processes_is_one_release(
    open_at: Callable[..., RegistryReleases], layer_copy: Path, tmp_path: Path
) -> None:
    digests = [ReleaseStore(tmp_path / pod / "releases").add(layer_copy).digest for pod in ("one", "two")]
    with ThreadPoolExecutor(2) as executor:
        both = list(executor.map(lambda pod: open_at(pod).publish(digests[0]), ("one", "two")))
    assert both[0] == both[1]
    assert [one.number for one in open_at("three").list()] == [1]


def test_a_release_that_the_folder_numbered_otherwise_takes_the_registrys_number(
    open_at: Callable[..., RegistryReleases], make_layer: Callable[[int], Path], tmp_path: Path
) -> None:
    shared = open_at("one").add(make_layer(1))
    folder = ReleaseStore(tmp_path / "clone" / "releases")
    only_here, known = folder.add(make_layer(2)), folder.add(make_layer(1))
    assert (only_here.number, known.number) == (1, 2)
    found = {one.digest: one.number for one in open_at("clone").list()}
    assert found[shared.digest] == 1
    assert found[only_here.digest] > 2, "a number is never used again"
    assert open_at("clone").publish(only_here.digest).release.number == found[only_here.digest]


def test_a_release_that_an_earlier_version_pushed_is_found_and_keeps_its_number(
    open_at: Callable[..., RegistryReleases], make_layer: Callable[[int], Path], host: str, tmp_path: Path
) -> None:
    store = ReleaseStore(tmp_path / "old" / "releases")
    store.add(make_layer(1))
    old = store.add(make_layer(2))
    base = ImageReference(host, "serving", "latest")
    with client(host) as registry, RegistryClient(host, "serving", plain_http=True) as source:
        push_release(store, old, base, registry, source, tags=["release-2"])  # it wrote only the tag with the number
    for place, name in enumerate((old.digest, "2")):
        found = open_at(f"new-{place}").get(name)
        assert (found.digest, found.number) == (old.digest, 2)
    assert [one.number for one in open_at("listing").list()] == [2]
    assert open_at("next").add(make_layer(3)).number == 3
    assert open_at("again").add(make_layer(2)).number == 2


def test_a_release_that_a_person_pushes_keeps_its_number_unless_another_release_has_it(
    open_at: Callable[..., RegistryReleases], make_layer: Callable[[int], Path], host: str, tmp_path: Path
) -> None:
    open_at("one").add(make_layer(1))
    store = ReleaseStore(tmp_path / "person" / "releases")
    others = [store.add(make_layer(number)) for number in (2, 3)]
    there = Destination(Repository(ImageReference(host, REPOSITORY), plain_http=True), ImageReference(host, "serving", "latest"))
    assert [publish(store, other, there).tags[0] for other in reversed(others)] == ["release-2", "release-3"]
    assert [one.number for one in open_at("two").list()] == [1, 2, 3]
    with RegistryClient(host, "serving", plain_http=True) as registry:
        put_base(registry, tmp_path, user="10002")
    again = publish(store, others[1], there)
    assert again.tags[0] == "release-2"
    assert open_at("three").publish(others[1].digest).image == again.image, "the tags moved to the new image"


@pytest.mark.parametrize("referrers", [True, False], ids=["referrers API", "referrers tag"])
def test_documents_are_attached_for_everyone_oldest_first_and_once(
    open_at: Callable[..., RegistryReleases], layer_copy: Path, host: str, referrers: bool
) -> None:
    with RegistryProxy(host, referrers=referrers) as proxy:
        digest = open_at("one", proxy.host).add(layer_copy).digest
        for number in range(3):
            open_at("two", proxy.host).attach(digest, "rollout", {"number": number})
        open_at("three", proxy.host).attach(digest, "rollout", {"number": 1})
        found = open_at("four", proxy.host).attachments(digest)
        assert [one["document"] for one in found if one["kind"] == "rollout"] == [{"number": number} for number in range(3)]
        assert [one["kind"] for one in found].count("provenance") == 1
        with pytest.raises(UsageError, match="not allowed as a kind"):
            open_at("five", proxy.host).attach(digest, "No Kind", {})
    with client(host) as registry:
        assert any(tag.startswith("sha256-") for tag in registry.list_tags()) is not referrers


def test_two_documents_attached_at_the_same_moment_are_both_kept_under_the_referrers_tag(
    open_at: Callable[..., RegistryReleases], layer_copy: Path, host: str
) -> None:
    digest = open_at("one").add(layer_copy).digest
    barrier = threading.Barrier(2, timeout=GUARD_SECONDS)
    waited = []

    def meet(method: str, path: str) -> None:
        if method == "PUT" and "/manifests/sha256-" in path and len(waited) < 2:
            waited.append(path)
            barrier.wait()

    with RegistryProxy(host, referrers=False, before=meet) as proxy, ThreadPoolExecutor(2) as executor:
        for done in [executor.submit(open_at(pod, proxy.host).attach, digest, "note", {"by": pod}) for pod in ("a", "b")]:
            done.result()
    assert len(waited) == 2
    found = [one["document"]["by"] for one in open_at("two").attachments(digest) if one["kind"] == "note"]
    assert sorted(found) == ["a", "b"]


def test_a_layer_that_was_tampered_with_is_refused_and_not_kept(
    open_at: Callable[..., RegistryReleases], layer_copy: Path, host: str, tmp_path: Path
) -> None:
    digest = open_at("one").add(layer_copy).digest

    def alter(method: str, path: str, body: bytes) -> bytes:
        return body[:-1024] + b"x" * 1024 if method == "GET" and path.endswith(f"/blobs/{digest}") else body

    with RegistryProxy(host, alter=alter) as proxy:
        for name in (digest, "1"):
            with pytest.raises(IntegrityError, match=f"returned bytes whose digest is not {digest}"):
                open_at("two", proxy.host).get(name)
    assert ReleaseStore(tmp_path / "two" / "releases").list() == []


def test_a_tag_of_a_layer_that_names_another_image_is_refused(
    open_at: Callable[..., RegistryReleases], make_layer: Callable[[int], Path], host: str
) -> None:
    first, second = (open_at("one").add(make_layer(number)) for number in (1, 2))
    with client(host) as registry:
        data, media_type = registry.read_manifest("release-2")
        registry.write_manifest(layer_tag(first.digest, 1), data, media_type)
    with pytest.raises(IntegrityError, match=f"names an image whose model layer is {second.digest}"):
        open_at("two").get(first.digest)


def test_the_signature_is_verified_in_another_folder(open_at: Callable[..., RegistryReleases], layer_copy: Path) -> None:
    digest = open_at("one").add(layer_copy).digest
    verdicts = open_at("two").verify("1")
    assert [verdict.check for verdict in verdicts if verdict.failed] == []
    assert "release-1/provenance" in {verdict.check for verdict in verdicts}
    assert open_at("two").get(digest).number == 1


def test_champion_and_previous_are_the_registrys_tags_in_a_cluster_and_the_folders_on_a_laptop(
    open_at: Callable[..., RegistryReleases], make_layer: Callable[[int], Path], host: str
) -> None:
    first, second = (open_at("one").add(make_layer(number)) for number in (1, 2))
    with client(host) as registry:
        data, media_type = registry.read_manifest("release-2")
        registry.write_manifest("champion", data, media_type)
    assert open_at("two").get("champion").digest == second.digest
    laptop = open_at("three", roles_in_registry=False)
    with pytest.raises(StateError, match="no release has the tag champion yet"):
        laptop.get("champion")
    laptop.move_tags({"champion": first.digest})
    assert laptop.get("champion").digest == first.digest


def test_a_release_keeps_its_image_although_the_serving_image_was_built_again(
    open_at: Callable[..., RegistryReleases], layer_copy: Path, host: str, tmp_path: Path
) -> None:
    digest = open_at("one").add(layer_copy).digest
    image = open_at("one").publish(digest).image
    with RegistryClient(host, "serving", plain_http=True) as registry:
        put_base(registry, tmp_path, user="10002")
    assert open_at("two").publish(digest).image == image


def test_the_setting_says_where_the_releases_are(trained: Trained, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_releases(trained.project), ReleaseStore)
    serving = trained.project.settings.serving.model_copy(update={"repository": f"{host}/{REPOSITORY}", "plain_http": True})
    project = Project(trained.project.root, trained.project.settings.model_copy(update={"serving": serving}))
    assert isinstance(open_releases(project), RegistryReleases)
    assert isinstance(open_folder(project), ReleaseStore)
    assert open_releases(project).list() == []
