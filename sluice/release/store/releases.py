"""The release store: the releases of a project in an OCI image layout on disk, with their numbers, tags and attached documents.

The digest of its model layer names a release. Adding, tagging and pruning hold the layout's lock and replace its whole index.
Nothing is changed in place.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.errors import IntegrityError, StateError, UsageError
from sluice.release import provenance
from sluice.release.model_layer import read_layer_contents, write_layer
from sluice.release.store import images
from sluice.release.store.layout import MANIFEST_TYPE, PREFIX, Descriptor, Layout, hash_file
from sluice.release.store.unpacked_layers import UNPACKED_FOLDER, is_unpacked, remove_unpacked, unpack_layer, unpacked_path
from sluice.release.store.verification import read_layer_manifest, verify_release
from sluice.release.trust_rules import ReleaseDocuments

if TYPE_CHECKING:
    import builtins  # inside the class `list` is a method
    from collections.abc import Mapping
    from pathlib import Path

    from sluice.verdicts import Verdict

CHAMPION = "champion"
PREVIOUS = "previous"
NUMBER_PREFIX = "release-"
"""The beginning of the tag with a release's number."""

SHORTEST_PREFIX = 6
"""The beginning of a digest must have this many hexadecimal digits to name a release."""

_NEXT_NUMBER = "sluice.next-number"
_NAME_PATTERN = re.compile(r"[A-Za-z_][\w.-]{0,127}")
_KIND_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?")
_LIST_HINT = "`sluice release list` shows the releases, their numbers, digests and tags."


@dataclass(frozen=True, slots=True)
class Release:
    """A release in the store.

    Attributes:
        number: The number, which counts up from 1. A number is never used again, even after its release was pruned.
        digest: The digest of the model layer, ``sha256:…``. It names the release.
        image_digest: The digest of the OCI image's manifest.
        manifest: The release's manifest, which says what it was made from.
        tags: ``release-<number>``, and other tags such as ``champion`` and ``previous``.
    """

    number: int
    digest: str
    image_digest: str
    manifest: dict[str, Any]
    tags: frozenset[str]


class ReleaseStore:
    """The releases in a folder.

    Args:
        folder: The folder of the OCI layout. Unpacked layers are beside it, in ``unpacked``.
    """

    def __init__(self, folder: Path) -> None:
        """Set the folders. Nothing is read or created yet."""
        self.layout = Layout(folder)
        self.unpacked = folder.parent / UNPACKED_FOLDER

    def add(self, layer_folder: Path) -> Release:
        """Add a model layer as a release and attach its provenance, which is signed if a key is configured.

        Adding the same layer again returns the same release. It changes nothing, except that it replaces damaged files.

        Raises:
            ConfigurationError: The signing key cannot be used.
            IntegrityError: The folder is not a model layer, or the store's index is damaged.
            ServiceError: The store cannot be written.
        """
        with self.layout.edit_index() as index:
            layer = self.layout.add_blob(lambda stream: write_layer(layer_folder, stream), images.LAYER_TYPE)
            image, manifest = self._add_image(index, layer)
            digest = layer["digest"]
            signed = provenance.sign_provenance(manifest, digest=digest, image_digest=image["digest"])
            self._attach(index, digest, image, provenance.ATTACHMENT_KIND, signed)
        return self.get(digest)

    def restore(self, layer: Path, digest: str, number: int) -> Release:
        """Add the tar of a model layer that comes from another store, with the number that the release has there.

        Nothing is attached, because the provenance belongs to the place where the release was made.

        Args:
            layer: The tar.
            digest: The digest that it must have.
            number: The release's number.

        Raises:
            IntegrityError: The tar has another digest, or it is not a model layer.
            ServiceError: The store cannot be written.
        """
        if (found := hash_file(layer)[0]) != digest:
            raise IntegrityError(
                f"the model layer has the digest {found}, but {digest} is expected",
                hint="Nothing of it was loaded. Check the place that it comes from with `sluice release verify`.",
            )
        with self.layout.edit_index() as index, layer.open("rb") as source:
            self._add_image(index, self.layout.add_blob(lambda target: shutil.copyfileobj(source, target), images.LAYER_TYPE))
            _renumber(index, digest, number)
        return self.get(digest)

    def renumber(self, digest: str, number: int) -> Release:
        """Give a release the number that it has in another store. A release that has this number here gets the next free one.

        Raises:
            StateError: The release does not exist.
        """
        with self.layout.edit_index() as index:
            _require(digest, images.find_releases(index))
            _renumber(index, digest, number)
        return self.get(digest)

    def list(self) -> list[Release]:
        """Return all releases, oldest first.

        Raises:
            IntegrityError: The documents of a release are damaged. `verify` names them.
        """
        found = images.find_releases(self.layout.read_index())
        return sorted((self._read(digest, descriptors) for digest, descriptors in found.items()), key=lambda item: item.number)

    def get(self, ref: str) -> Release:
        """Return the release that a reference names.

        Args:
            ref: A tag (``champion``, ``previous``, ``release-3``), a number (``3``), the digest of the model layer or of the
                image, or a unique beginning of the model layer's digest: at least six digits, with or without ``sha256:``.

        Raises:
            IntegrityError: The release's documents are damaged.
            StateError: No release, or more than one, has this reference.
        """
        found = images.find_releases(self.layout.read_index())
        digest = _resolve(ref, found)
        return self._read(digest, found[digest])

    def tag(self, name: str, digest: str) -> None:
        """Move a tag to a release, so that it names no other release.

        Raises:
            StateError: The release does not exist.
            UsageError: The name is not allowed for a tag.
        """
        self.move_tags({name: digest})

    def move_tags(self, tags: Mapping[str, str | None]) -> None:
        """Move several tags at once. Readers see either all of the moves or none.

        Args:
            tags: Tag → digest of the release. None removes the tag.

        Raises:
            StateError: A release does not exist.
            UsageError: A name is not allowed for a tag.
        """
        for name in tags:
            if not _NAME_PATTERN.fullmatch(name) or name.startswith(NUMBER_PREFIX):
                raise UsageError(
                    f"{name!r} is not allowed as a tag",
                    hint=f"Use letters, digits, dots, underscores and hyphens. A tag must not begin with {NUMBER_PREFIX}.",
                )
        with self.layout.edit_index() as index:
            found = images.find_releases(index)
            for digest in tags.values():
                if digest is not None:
                    _require(digest, found)
            index["manifests"] = [item for item in index["manifests"] if _annotation(item, images.REF_NAME) not in tags]
            moved = [_with_tag(found[digest][0], digest, name) for name, digest in sorted(tags.items()) if digest is not None]
            index["manifests"] += moved

    def attach(self, digest: str, kind: str, document: Mapping[str, Any]) -> None:
        """Attach a document to a release's image as an OCI referrer. Attaching the same document again changes nothing.

        Args:
            digest: The digest of the release.
            kind: The kind of document, for example ``rollout``, ``approval`` or ``integration``.
            document: The document as plain JSON types.

        Raises:
            DataError: The document cannot be written as JSON.
            StateError: The release does not exist.
            UsageError: The kind has characters that are not allowed.
        """
        check_kind(kind)
        with self.layout.edit_index() as index:
            found = images.find_releases(index)
            _require(digest, found)
            self._attach(index, digest, found[digest][0], kind, document)

    def attachments(self, digest: str) -> builtins.list[dict[str, Any]]:
        """Return the documents that are attached to a release, oldest first.

        Returns:
            ``kind``, ``digest`` (of the document) and ``document`` for each.

        Raises:
            IntegrityError: A document is damaged.
        """
        read = []
        for descriptor in images.find_attachments(self.layout.read_index(), digest):
            blob = self.layout.read_json(descriptor)["layers"][0]
            kind = images.read_attachment_kind(descriptor["artifactType"])
            read.append({"kind": kind, "digest": blob["digest"], "document": self.layout.read_json(blob)})
        return read

    def read_documents(self, digest: str) -> ReleaseDocuments:
        """Return what a release says about itself, with digests that are computed from its bytes.

        Raises:
            IntegrityError: The release's bytes are damaged.
            StateError: The release does not exist.
        """
        found = images.find_releases(self.layout.read_index())
        _require(digest, found)
        with self.layout.require_blob({"digest": digest}).open("rb") as source:
            contents = read_layer_contents(source)
        return ReleaseDocuments(
            release=contents.digest,
            image=found[digest][0]["digest"],
            model=contents.model,
            manifest=contents.manifest,
            provenance=[one["document"] for one in self.attachments(digest) if one["kind"] == provenance.ATTACHMENT_KIND],
        )

    def verify(self, ref: str, *, key: Path | None = None) -> builtins.list[Verdict]:
        """Check every byte of a release, and of the documents attached to it, against the digests.

        Args:
            ref: A reference as for `get`. Damaged documents do not prevent finding the release.
            key: The public key that must have signed the provenance. With None, no signature is required.

        Returns:
            The verdicts of `verify_release`.

        Raises:
            ConfigurationError: The key cannot be used.
            StateError: The release does not exist.
        """
        index = self.layout.read_index()
        digest = _resolve(ref, images.find_releases(index))
        return verify_release(self.layout, index, digest, key=key)

    def unpack(self, digest: str) -> Path:
        """Return a folder with the release's verified files. A release is unpacked only once, so a rollback only reads files.

        Raises:
            IntegrityError: The release is not unpacked, and its stored bytes do not have its digest.
            StateError: The release does not exist.
        """
        _require(digest, images.find_releases(self.layout.read_index()))
        if is_unpacked(self.unpacked, digest):
            return unpacked_path(self.unpacked, digest)
        return unpack_layer(self.layout.require_blob({"digest": digest}), self.unpacked, digest)

    def prune(self, keep: int) -> builtins.list[Release]:
        """Remove old releases and their files.

        Args:
            keep: How many of the newest releases stay. Releases with a tag such as ``champion`` or ``previous`` also stay.

        Returns:
            The removed releases.

        Raises:
            UsageError: `keep` is below 1.
        """
        if keep < 1:
            raise UsageError(f"{keep} releases cannot be kept", hint="Keep at least one release.")
        with self.layout.edit_index() as index:
            releases = self.list()
            gone = [release for release in releases[:-keep] if release.tags == {f"{NUMBER_PREFIX}{release.number}"}]
            digests = {release.digest for release in gone}
            index["manifests"] = [
                item for item in index["manifests"] if item.get("annotations", {}).get(images.RELEASE) not in digests
            ]
        with self.layout.edit_index() as index:  # files are removed only after an index without them was written
            self.layout.remove_unreferenced(self._referenced(index))
            remove_unpacked(self.unpacked, digests - images.find_releases(index).keys())
        return gone

    def _add_image(self, index: dict[str, Any], layer: Descriptor) -> tuple[Descriptor, dict[str, Any]]:
        """Add the image of a layer, and return it with the release's manifest. A new release gets the next number."""
        digest = layer["digest"]
        manifest = read_layer_manifest(self.layout.blob_path(digest))
        config = self.layout.add_json(images.plan_config(manifest, digest), images.CONFIG_TYPE)
        image = self.layout.add_json(images.plan_image(config, layer), MANIFEST_TYPE)
        if digest not in images.find_releases(index):
            index["manifests"].append(_with_tag(image, digest, f"{NUMBER_PREFIX}{_take_number(index)}"))
        return image, manifest

    def _read(self, digest: str, descriptors: builtins.list[Descriptor]) -> Release:
        tags = images.tags_of(descriptors)
        config = self.layout.read_json(self.layout.read_json(descriptors[0])["config"])
        number = next(int(tag.removeprefix(NUMBER_PREFIX)) for tag in tags if tag.startswith(NUMBER_PREFIX))
        return Release(number, digest, descriptors[0]["digest"], images.read_manifest_label(config), tags)

    def _attach(self, index: dict[str, Any], release: str, subject: Descriptor, kind: str, document: Mapping[str, Any]) -> None:
        blob = self.layout.add_json(document, images.DOCUMENT_TYPE)
        empty = self.layout.add_blob(lambda stream: stream.write(images.EMPTY_DOCUMENT), images.EMPTY_TYPE)
        manifest = images.plan_attachment(kind, blob, empty, subject)
        descriptor = self.layout.add_json(manifest, MANIFEST_TYPE)
        if all(item["digest"] != descriptor["digest"] for item in index["manifests"]):
            extra = {"artifactType": manifest["artifactType"], "annotations": {images.RELEASE: release}}
            index["manifests"].append({**descriptor, **extra})

    def _referenced(self, index: Mapping[str, Any]) -> set[str]:
        """Return the digests of all blobs that the index refers to, directly or through manifests."""
        found: set[str] = set()
        for descriptor in index["manifests"]:
            manifest = self.layout.read_json(descriptor)
            found |= {descriptor["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
        return found


def check_kind(kind: str) -> None:
    """Refuse a kind of attached document that could not be a part of a media type.

    Raises:
        UsageError: It has characters that are not allowed.
    """
    if not _KIND_PATTERN.fullmatch(kind):
        raise UsageError(f"{kind!r} is not allowed as a kind of attachment", hint="Use small letters, digits and hyphens.")


def _take_number(index: dict[str, Any]) -> int:
    number = int(index["annotations"].get(_NEXT_NUMBER, "1"))
    index["annotations"][_NEXT_NUMBER] = str(number + 1)
    return number


def _renumber(index: dict[str, Any], digest: str, number: int) -> None:
    """Move the tag ``release-<number>`` to a release, in place of its present number."""
    wanted = f"{NUMBER_PREFIX}{number}"
    found = images.find_releases(index)
    if wanted in images.tags_of(found[digest]):
        return
    index["annotations"][_NEXT_NUMBER] = str(max(int(index["annotations"].get(_NEXT_NUMBER, "1")), number + 1))
    for item in index["manifests"]:
        tag = _annotation(item, images.REF_NAME) or ""
        if tag == wanted:
            item["annotations"] = {**item["annotations"], images.REF_NAME: f"{NUMBER_PREFIX}{_take_number(index)}"}
        elif tag.startswith(NUMBER_PREFIX) and _annotation(item, images.RELEASE) == digest:
            item["annotations"] = {**item["annotations"], images.REF_NAME: wanted}


def _with_tag(descriptor: Descriptor, release: str, name: str) -> Descriptor:
    plain = {key: descriptor[key] for key in ("mediaType", "digest", "size")}
    return plain | {"annotations": {images.REF_NAME: name, images.RELEASE: release}}


def _annotation(descriptor: Descriptor, name: str) -> str | None:
    annotations: Mapping[str, str] = descriptor.get("annotations", {})
    return annotations.get(name)


def _require(digest: str, found: Mapping[str, list[Descriptor]]) -> None:
    if digest not in found:
        raise StateError(f"there is no release {digest}", hint=_LIST_HINT)


def _resolve(ref: str, found: Mapping[str, list[Descriptor]]) -> str:
    """Return the digest of the release that a tag, a number, a digest or the beginning of a digest names."""
    by_tag = {tag: digest for digest, descriptors in found.items() for tag in images.tags_of(descriptors)}
    by_image = {descriptors[0]["digest"]: digest for digest, descriptors in found.items()}
    named = by_tag.get(ref) or by_tag.get(f"{NUMBER_PREFIX}{ref}") or by_image.get(ref)
    if named:
        return named
    beginning = PREFIX + ref.removeprefix(PREFIX)
    long_enough = len(beginning) >= len(PREFIX) + SHORTEST_PREFIX
    matching = [digest for digest in found if long_enough and digest.startswith(beginning)]
    if len(matching) == 1:
        return matching[0]
    what = f"the digests of {len(matching)} releases begin with {ref!r}" if matching else f"there is no release {ref!r}"
    if ref in {CHAMPION, PREVIOUS}:
        what = f"no release has the tag {ref} yet"
    raise StateError(what, hint=_LIST_HINT)
