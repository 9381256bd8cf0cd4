"""The releases of a project: an OCI image layout on disk, with numbers, tags and what was attached to each.

A release is named by the digest of its model layer. Adding, tagging and pruning hold the layout's lock and replace its index
as a whole; nothing is ever changed in place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.errors import StateError, UsageError
from sluice.release import provenance
from sluice.release.layer import write_layer
from sluice.release.store import images
from sluice.release.store.layout import MANIFEST_TYPE, PREFIX, Descriptor, Layout
from sluice.release.store.unpacked import FOLDER, is_unpacked, remove_unpacked, unpack_layer, unpacked_path
from sluice.release.store.verification import read_layer_manifest, verify_release

if TYPE_CHECKING:
    import builtins  # inside the class `list` is a method
    from collections.abc import Mapping
    from pathlib import Path

    from sluice.verdicts import Verdict

CHAMPION = "champion"
PREVIOUS = "previous"
_NUMBER_PREFIX = "release-"
_NEXT = "sluice.next-number"
_SHORTEST_PREFIX = 6
_NAME_PATTERN = re.compile(r"[A-Za-z_][\w.-]{0,127}")
_KIND_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?")
_LIST_HINT = "`sluice release list` shows the releases, their numbers, digests and tags."


@dataclass(frozen=True, slots=True)
class Release:
    """A release in the store.

    Attributes:
        number: Counts up from 1; never given twice, also after the release was pruned.
        digest: Of its model layer: its name, ``sha256:…``.
        image_digest: Of its OCI image's manifest.
        manifest: What it is made of.
        tags: ``release-<number>`` and others such as ``champion`` and ``previous``.
    """

    number: int
    digest: str
    image_digest: str
    manifest: dict[str, Any]
    tags: frozenset[str]


class ReleaseStore:
    """Releases in a folder.

    Args:
        folder: The OCI layout; unpacked layers lie beside it, in ``unpacked``.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is read or made yet."""
        self.layout = Layout(folder)
        self.unpacked = folder.parent / FOLDER

    def add(self, layer_folder: Path) -> Release:
        """Add a model layer as a release, with its provenance attached; signed when a key is configured.

        Adding the same layer again gives the same release and changes nothing, but heals files of it that were damaged.

        Raises:
            ConfigurationError: The signing key cannot be used.
            IntegrityError: The folder is no model layer, or the store's index is damaged.
            ServiceError: The store cannot be written.
        """
        with self.layout.changing() as index:
            layer = self.layout.add_blob(lambda stream: write_layer(layer_folder, stream), images.LAYER_TYPE)
            digest = layer["digest"]
            manifest = read_layer_manifest(self.layout.blob_path(digest))
            config = self.layout.add_json(images.plan_config(manifest, digest), images.CONFIG_TYPE)
            image = self.layout.add_json(images.plan_image(config, layer), MANIFEST_TYPE)
            if digest not in images.find_releases(index):
                number = _take_number(index)
                index["manifests"].append(_tagged(image, digest, f"{_NUMBER_PREFIX}{number}"))
            statement = provenance.plan_statement(manifest, digest=digest, image_digest=image["digest"])
            sealed = provenance.seal_statement(statement, provenance.configured_key())
            self._attach(index, digest, image, provenance.KIND, sealed)
        return self.get(digest)

    def list(self) -> list[Release]:
        """All releases, oldest first.

        Raises:
            IntegrityError: The documents of one are damaged; `verify` names them.
        """
        found = images.find_releases(self.layout.read_index())
        return sorted((self._read(digest, descriptors) for digest, descriptors in found.items()), key=lambda item: item.number)

    def get(self, ref: str) -> Release:
        """The release that a reference names.

        Args:
            ref: A tag (``champion``, ``previous``, ``release-3``), a number (``3``), a digest of the model layer or of the
                image, or a unique beginning of the layer's, with or without ``sha256:``, of at least six digits.

        Raises:
            IntegrityError: Its documents are damaged.
            StateError: There is none, or several begin so.
        """
        found = images.find_releases(self.layout.read_index())
        digest = _resolve(ref, found)
        return self._read(digest, found[digest])

    def tag(self, name: str, digest: str) -> None:
        """Let a tag name a release, and no other any more.

        Raises:
            StateError: There is no such release.
            UsageError: It is no name for a tag.
        """
        self.move_tags({name: digest})

    def move_tags(self, tags: Mapping[str, str | None]) -> None:
        """Move several tags at once: readers see all of the moves or none.

        Args:
            tags: Name → digest of the release; None takes the tag away.

        Raises:
            StateError: There is no such release.
            UsageError: A name is none for a tag.
        """
        for name in tags:
            if not _NAME_PATTERN.fullmatch(name) or name.startswith(_NUMBER_PREFIX):
                raise UsageError(f"{name!r} is no name for a tag", hint=f"Use letters, digits, . _ -, but not {_NUMBER_PREFIX}*.")
        with self.layout.changing() as index:
            found = images.find_releases(index)
            for digest in tags.values():
                if digest is not None:
                    _require(digest, found)
            index["manifests"] = [item for item in index["manifests"] if _note(item, images.REF_NAME) not in tags]
            moved = [_tagged(found[digest][0], digest, name) for name, digest in sorted(tags.items()) if digest is not None]
            index["manifests"] += moved

    def attach(self, digest: str, kind: str, document: Mapping[str, Any]) -> None:
        """Attach a document to a release's image, as an OCI referrer; the same again changes nothing.

        Args:
            digest: The release.
            kind: What it is: ``rollout``, ``approval``, ``integration`` and so on.
            document: Plain JSON types.

        Raises:
            DataError: The document cannot be written as JSON.
            StateError: There is no such release.
            UsageError: The kind is no name.
        """
        if not _KIND_PATTERN.fullmatch(kind):
            raise UsageError(f"{kind!r} is no kind of attachment", hint="Use small letters, digits and -.")
        with self.layout.changing() as index:
            found = images.find_releases(index)
            _require(digest, found)
            self._attach(index, digest, found[digest][0], kind, document)

    def attachments(self, digest: str) -> builtins.list[dict[str, Any]]:
        """What is attached to a release, oldest first: ``kind``, ``digest`` (of the document) and ``document``.

        Raises:
            IntegrityError: One is damaged.
        """
        read = []
        for descriptor in images.find_attachments(self.layout.read_index(), digest):
            blob = self.layout.read_json(descriptor)["layers"][0]
            kind = images.read_attachment_kind(descriptor["artifactType"])
            read.append({"kind": kind, "digest": blob["digest"], "document": self.layout.read_json(blob)})
        return read

    def verify(self, ref: str, *, key: Path | None = None) -> builtins.list[Verdict]:
        """Read every byte of a release and of what is attached to it, and hold it against its digest.

        Args:
            ref: As in `get`, but damaged documents are no obstacle.
            key: Public key that must have signed its provenance; None asks for no signature.

        Returns:
            One verdict per blob, and on how they fit together.

        Raises:
            ConfigurationError: The key cannot be used.
            StateError: There is no such release.
        """
        index = self.layout.read_index()
        digest = _resolve(ref, images.find_releases(index))
        return verify_release(self.layout, index, digest, key=key)

    def unpack(self, digest: str) -> Path:
        """The release's files in a folder, verified; unpacked once, so that going back to a release only reads.

        Raises:
            IntegrityError: It has to be unpacked and its bytes are not those of its digest.
            StateError: There is no such release.
        """
        _require(digest, images.find_releases(self.layout.read_index()))
        if is_unpacked(self.unpacked, digest):
            return unpacked_path(self.unpacked, digest)
        return unpack_layer(self.layout.require_blob({"digest": digest}), self.unpacked, digest)

    def prune(self, keep: int) -> builtins.list[Release]:
        """Remove old releases, with their files.

        Args:
            keep: How many of the newest stay; those with a tag such as ``champion`` or ``previous`` stay besides.

        Returns:
            What was removed.

        Raises:
            UsageError: `keep` is below 1.
        """
        if keep < 1:
            raise UsageError(f"cannot keep {keep} releases", hint="Keep at least one.")
        with self.layout.changing() as index:
            releases = self.list()
            gone = [release for release in releases[:-keep] if release.tags == {f"{_NUMBER_PREFIX}{release.number}"}]
            names = {release.digest for release in gone}
            index["manifests"] = [
                item for item in index["manifests"] if item.get("annotations", {}).get(images.RELEASE) not in names
            ]
        with self.layout.changing() as index:  # the files only after the index that no longer names them
            self.layout.remove_unreferenced(self._referenced(index))
            remove_unpacked(self.unpacked, names - images.find_releases(index).keys())
        return gone

    def _read(self, digest: str, descriptors: builtins.list[Descriptor]) -> Release:
        tags = images.tags_of(descriptors)
        config = self.layout.read_json(self.layout.read_json(descriptors[0])["config"])
        number = next(int(tag.removeprefix(_NUMBER_PREFIX)) for tag in tags if tag.startswith(_NUMBER_PREFIX))
        return Release(number, digest, descriptors[0]["digest"], images.read_manifest_label(config), tags)

    def _attach(self, index: dict[str, Any], release: str, subject: Descriptor, kind: str, document: Mapping[str, Any]) -> None:
        blob = self.layout.add_json(document, images.DOCUMENT_TYPE)
        empty = self.layout.add_blob(lambda stream: stream.write(images.EMPTY_DOCUMENT), images.EMPTY_TYPE)
        manifest = images.plan_attachment(kind, blob, empty, subject)
        descriptor = self.layout.add_json(manifest, MANIFEST_TYPE)
        if all(item["digest"] != descriptor["digest"] for item in index["manifests"]):
            noted = {"artifactType": manifest["artifactType"], "annotations": {images.RELEASE: release}}
            index["manifests"].append({**descriptor, **noted})

    def _referenced(self, index: Mapping[str, Any]) -> set[str]:
        """Digests of all blobs that the index leads to."""
        found: set[str] = set()
        for descriptor in index["manifests"]:
            manifest = self.layout.read_json(descriptor)
            found |= {descriptor["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
        return found


def _take_number(index: dict[str, Any]) -> int:
    number = int(index["annotations"].get(_NEXT, "1"))
    index["annotations"][_NEXT] = str(number + 1)
    return number


def _tagged(descriptor: Descriptor, release: str, name: str) -> Descriptor:
    plain = {key: descriptor[key] for key in ("mediaType", "digest", "size")}
    return plain | {"annotations": {images.REF_NAME: name, images.RELEASE: release}}


def _note(descriptor: Descriptor, name: str) -> str | None:
    notes: Mapping[str, str] = descriptor.get("annotations", {})
    return notes.get(name)


def _require(digest: str, found: Mapping[str, list[Descriptor]]) -> None:
    if digest not in found:
        raise StateError(f"there is no release {digest}", hint=_LIST_HINT)


def _resolve(ref: str, found: Mapping[str, list[Descriptor]]) -> str:
    """The digest that a reference names: a tag, a number, a digest, the beginning of one."""
    by_tag = {tag: digest for digest, descriptors in found.items() for tag in images.tags_of(descriptors)}
    by_image = {descriptors[0]["digest"]: digest for digest, descriptors in found.items()}
    named = by_tag.get(ref) or by_tag.get(f"{_NUMBER_PREFIX}{ref}") or by_image.get(ref)
    if named:
        return named
    beginning = PREFIX + ref.removeprefix(PREFIX)
    long_enough = len(beginning) >= len(PREFIX) + _SHORTEST_PREFIX
    fitting = [digest for digest in found if long_enough and digest.startswith(beginning)]
    if len(fitting) == 1:
        return fitting[0]
    what = f"{len(fitting)} releases begin with {ref!r}" if fitting else f"there is no release {ref!r}"
    if ref in {CHAMPION, PREVIOUS}:
        what = f"no release is tagged {ref} yet"
    raise StateError(what, hint=_LIST_HINT)
