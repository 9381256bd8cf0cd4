from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from sluice.errors import IntegrityError, ServiceError, StateError, UsageError
from sluice.release.model_layer import layer_digest, verify_folder
from sluice.release.store.releases import ReleaseStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def blobs(store: ReleaseStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store.layout.folder / "blobs" / "sha256").iterdir()}


def edit(path: Path, *, truncate: bool) -> None:
    data = bytearray(path.read_bytes())
    path.chmod(0o644)
    if truncate:
        del data[-1:]
    else:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_digest_of_its_layer_names_a_release(store: ReleaseStore, layer: Path) -> None:
    release = store.add(layer)
    assert release.number == 1
    assert release.digest == f"sha256:{layer.name}" == layer_digest(layer)
    assert release.tags == {"release-1"}
    assert release.manifest == json.loads((layer / "manifest.json").read_text())


def test_adding_again_changes_nothing(store: ReleaseStore, layer: Path) -> None:
    first, before = store.add(layer), blobs(store)
    index = (store.layout.folder / "index.json").read_bytes()
    assert store.add(layer) == first
    assert blobs(store) == before
    assert (store.layout.folder / "index.json").read_bytes() == index


def test_two_stores_agree_on_layer_and_image(store: ReleaseStore, layer: Path, tmp_path: Path) -> None:
    other = ReleaseStore(tmp_path / "other" / "releases").add(layer)
    assert store.add(layer) == other


def test_numbers_count_up(store: ReleaseStore, make_layer: Callable[[int], Path]) -> None:
    assert [store.add(make_layer(number)).number for number in (1, 2, 3, 2)] == [1, 2, 3, 2]
    assert [release.number for release in store.list()] == [1, 2, 3]


def test_the_store_is_an_oci_layout(store: ReleaseStore, layer: Path) -> None:
    release = store.add(layer)
    folder = store.layout.folder
    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((folder / "index.json").read_text())
    assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    image = json.loads((folder / "blobs" / "sha256" / release.image_digest[7:]).read_text())
    assert image["layers"] == [
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": release.digest,
            "size": (folder / "blobs" / "sha256" / release.digest[7:]).stat().st_size,
        }
    ]
    config = json.loads((folder / "blobs" / "sha256" / image["config"]["digest"][7:]).read_text())
    assert config["rootfs"] == {"type": "layers", "diff_ids": [release.digest]}
    assert config["architecture"] in {"amd64", "arm64"}
    (referrer,) = [item for item in index["manifests"] if "artifactType" in item]
    attached = json.loads((folder / "blobs" / "sha256" / referrer["digest"][7:]).read_text())
    assert attached["subject"]["digest"] == release.image_digest
    assert attached["config"]["digest"] == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert stat.S_IMODE((folder / "index.json").stat().st_mode) == 0o644


@pytest.mark.parametrize("ref", ["1", "release-1", "champion", "{digest}", "{hex}", "{digest:.20}", "{hex:.6}", "{image}"])
def test_every_kind_of_reference_finds_a_release(store: ReleaseStore, make_layer: Callable[[int], Path], ref: str) -> None:
    release = store.add(make_layer(1))
    store.add(make_layer(2))
    store.tag("champion", release.digest)
    found = store.get(ref.format(digest=release.digest, hex=release.digest[7:], image=release.image_digest))
    assert found.digest == release.digest


@pytest.mark.parametrize("ref", ["previous", "9", "release-9", "sha256:" + "0" * 64, "{hex:.5}", "", "latest", "sha256:"])
def test_a_reference_of_no_release_is_an_error(store: ReleaseStore, layer: Path, ref: str) -> None:
    release = store.add(layer)
    with pytest.raises(StateError, match="no release") as caught:
        store.get(ref.format(hex=release.digest[7:]))
    assert caught.value.exit_code == 2
    assert "sluice release list" in caught.value.hint


def test_a_champion_that_does_not_exist_yet_is_an_error(store: ReleaseStore) -> None:
    assert store.list() == []
    with pytest.raises(StateError, match="no release has the tag champion yet"):
        store.get("champion")
    assert not store.layout.folder.exists()  # reading creates nothing


def test_a_tag_names_only_one_release(store: ReleaseStore, make_layer: Callable[[int], Path]) -> None:
    first, second = store.add(make_layer(1)), store.add(make_layer(2))
    store.tag("champion", first.digest)
    store.move_tags({"champion": second.digest, "previous": first.digest})
    assert store.get("champion").digest == second.digest
    assert store.get("previous").tags == {"release-1", "previous"}
    store.move_tags({"previous": None})
    assert store.get("1").tags == {"release-1"}


def test_either_all_tags_are_moved_or_none(store: ReleaseStore, layer: Path) -> None:
    release = store.add(layer)
    with pytest.raises(StateError):
        store.move_tags({"champion": release.digest, "previous": "sha256:" + "0" * 64})
    assert store.get("1").tags == {"release-1"}


@pytest.mark.parametrize("name", ["release-7", "", "a b", "7", "-x", "x" * 200])
def test_a_name_that_is_not_allowed_for_a_tag_is_an_error(store: ReleaseStore, layer: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not allowed as a tag"):
        store.tag(name, store.add(layer).digest)


def test_documents_are_attached_in_their_order(store: ReleaseStore, layer: Path) -> None:
    release = store.add(layer)
    for document in ({"by": "a"}, {"by": "b"}, {"by": "a"}):
        store.attach(release.digest, "approval", document)
    store.attach(release.digest, "rollout", {"outcome": "promoted"})
    found = [(item["kind"], item["document"]) for item in store.attachments(release.digest)[1:]]
    assert found == [("approval", {"by": "a"}), ("approval", {"by": "b"}), ("rollout", {"outcome": "promoted"})]
    assert store.get("1") == release


def test_a_missing_release_or_an_invalid_kind_cannot_be_attached_to(store: ReleaseStore, layer: Path) -> None:
    with pytest.raises(StateError, match="no release"):
        store.attach("sha256:" + "0" * 64, "approval", {})
    with pytest.raises(UsageError, match="is not allowed as a kind"):
        store.attach(store.add(layer).digest, "../x", {})


def test_an_intact_release_passes(store: ReleaseStore, layer: Path) -> None:
    store.attach(store.add(layer).digest, "rollout", {"outcome": "promoted"})
    verdicts = store.verify("1")
    assert [verdict.check.partition("/")[2] for verdict in verdicts] == [
        "image",
        "configuration",
        "layer",
        "provenance-referrer",
        "provenance",
        "rollout-referrer",
        "rollout",
        "binding",
    ]
    assert not any(verdict.failed for verdict in verdicts)


@pytest.mark.parametrize("truncate", [True, False])
@pytest.mark.parametrize("which", ["image", "configuration", "layer", "provenance-referrer", "provenance"])
def test_a_damaged_blob_is_found(store: ReleaseStore, layer: Path, which: str, truncate: bool) -> None:
    store.add(layer)
    digest = next(verdict.detail.partition(",")[0] for verdict in store.verify("1") if verdict.check == f"release-1/{which}")
    edit(store.layout.blob_path(digest), truncate=truncate)
    failed = [verdict for verdict in store.verify("1") if verdict.failed]
    assert [verdict.check for verdict in failed] == [f"release-1/{which}"]
    assert digest[7:] in failed[0].detail
    store.add(layer)  # replaces the damaged file
    assert not any(verdict.failed for verdict in store.verify("1"))


def test_a_missing_blob_is_found(store: ReleaseStore, layer: Path) -> None:
    store.layout.blob_path(store.add(layer).digest).unlink()
    (fault,) = [verdict.detail for verdict in store.verify("1") if verdict.failed]
    assert fault.endswith("cannot be read: No such file or directory")


@pytest.mark.parametrize("truncate", [True, False])
def test_a_damaged_layer_is_not_unpacked(store: ReleaseStore, layer: Path, truncate: bool) -> None:
    release = store.add(layer)
    edit(store.layout.blob_path(release.digest), truncate=truncate)
    with pytest.raises(IntegrityError, match=release.digest[7:]) as caught:
        store.unpack(release.digest)
    assert caught.value.exit_code == 4
    assert not (store.unpacked / release.digest[7:]).exists()


@pytest.mark.parametrize("which", ["image", "configuration"])
def test_damaged_documents_are_an_error_with_a_hint(store: ReleaseStore, layer: Path, which: str) -> None:
    store.add(layer)
    digest = next(verdict.detail.partition(",")[0] for verdict in store.verify("1") if verdict.check == f"release-1/{which}")
    edit(store.layout.blob_path(digest), truncate=True)
    with pytest.raises(IntegrityError, match="truncated") as caught:
        store.get("1")
    assert "sluice release verify" in caught.value.hint
    assert store.unpack(f"sha256:{layer.name}").is_dir()  # a rollback needs only the layer


@pytest.mark.parametrize("text", ["", "{", "[]", '{"manifests": 5}', '{"manifests": [1]}'])
def test_a_damaged_index_is_an_error(store: ReleaseStore, layer: Path, text: str) -> None:
    store.add(layer)
    (store.layout.folder / "index.json").write_text(text)
    for call in (store.list, lambda: store.get("1"), lambda: store.add(layer)):
        with pytest.raises(IntegrityError, match="cannot be read as the index"):
            call()


def test_an_exchanged_layer_is_found(store: ReleaseStore, make_layer: Callable[[int], Path]) -> None:
    first, second = store.add(make_layer(1)), store.add(make_layer(2))
    file = store.layout.folder / "index.json"
    index = json.loads(file.read_text())
    for item in index["manifests"]:
        if item["annotations"].get("org.opencontainers.image.ref.name") == "release-1":
            item["digest"], item["size"] = second.image_digest, store.layout.blob_path(second.image_digest).stat().st_size
    file.write_text(json.dumps(index))
    failed = [verdict.detail for verdict in store.verify("1") if verdict.failed]
    assert failed == [f"the image's layer is not {first.digest}, which the index names"]


def test_an_unpacked_release_has_the_files_of_its_layer(store: ReleaseStore, layer: Path) -> None:
    release = store.add(layer)
    folder = store.unpack(release.digest)
    assert folder == store.layout.folder.parent / "unpacked" / release.digest[7:]
    verify_folder(folder, release.digest)
    assert (folder / "model.joblib").read_bytes() == (layer / "model.joblib").read_bytes()


def test_a_second_unpack_only_reads_the_unpacked_files(store: ReleaseStore, layer: Path) -> None:
    release = store.add(layer)
    folder = store.unpack(release.digest)
    made = (folder / "model.joblib").stat().st_ino
    store.layout.blob_path(release.digest).unlink()
    assert store.unpack(release.digest) == folder
    assert (folder / "model.joblib").stat().st_ino == made


@pytest.mark.parametrize("damage", ["edited", "removed", "added", "link"])
def test_a_damaged_unpacked_layer_is_unpacked_again(store: ReleaseStore, layer: Path, damage: str) -> None:
    release = store.add(layer)
    folder = store.unpack(release.digest)
    if damage == "edited":
        (folder / "code" / "parcels" / "model.py").write_text("raise SystemExit")
    elif damage == "removed":
        (folder / "golden.json").unlink()
    elif damage == "added":
        (folder / "code" / "sitecustomize.py").touch()
    else:
        (folder / "link").symlink_to("/")
    verify_folder(store.unpack(release.digest), release.digest)
    assert [path.name for path in store.unpacked.iterdir()] == [release.digest[7:]]


def test_unpacking_a_missing_release_is_an_error(store: ReleaseStore) -> None:
    with pytest.raises(StateError, match="no release"):
        store.unpack("sha256:" + "0" * 64)


def test_a_folder_that_is_not_a_layer_is_an_error(store: ReleaseStore, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "manifest.json").write_text("{}")
    for folder in (tmp_path / "folder", tmp_path / "nowhere"):
        with pytest.raises(IntegrityError, match="model layer"):
            store.add(folder)
    assert store.list() == []


def test_old_releases_are_pruned(store: ReleaseStore, make_layer: Callable[[int], Path]) -> None:
    releases = [store.add(make_layer(number)) for number in range(1, 6)]
    store.move_tags({"champion": releases[1].digest, "previous": releases[0].digest})
    for release in releases:
        store.attach(release.digest, "rollout", {"number": release.number})
        store.unpack(release.digest)
    gone = store.prune(1)
    assert [release.number for release in gone] == [3, 4]
    assert [release.number for release in store.list()] == [1, 2, 5]
    assert sorted(path.name for path in store.unpacked.iterdir()) == sorted(releases[i].digest[7:] for i in (0, 1, 4))
    assert not any(verdict.failed for number in "125" for verdict in store.verify(number))
    assert releases[2].digest[7:] not in blobs(store)
    assert store.prune(1) == []


def test_a_number_is_never_used_twice(store: ReleaseStore, make_layer: Callable[[int], Path]) -> None:
    for number in (1, 2, 3):
        store.add(make_layer(number))
    store.prune(1)
    assert store.add(make_layer(1)).number == 4


def test_pruning_keeps_at_least_one(store: ReleaseStore) -> None:
    with pytest.raises(UsageError, match="0 releases cannot be kept"):
        store.prune(0)


def test_a_store_that_cannot_be_written_is_an_error(layer: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="cannot be written"):
        ReleaseStore(tmp_path / "file" / "releases").add(layer)
