"""The releases of a project whose registry holds them. A folder of this machine is a cache: it can be empty at any time.

A release that the folder has is read there if its digest names it, because a digest always means the same bytes. Everything else
asks the registry: numbers, the list, and the documents that are attached to a release.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import TYPE_CHECKING, Any

from sluice.errors import StateError
from sluice.release.registry.numbering import number_release
from sluice.release.registry.publishing import Destination, PublishedRelease
from sluice.release.registry.pulling import (
    StoredImage,
    find_by_beginning,
    find_by_layer,
    find_by_number,
    find_by_target,
    list_images,
    pull_release,
    read_release,
)
from sluice.release.registry.pushing import push_release
from sluice.release.registry.referrers import attach_document, read_documents
from sluice.release.registry.release_documents import attach_provenance, is_signing, read_image_documents
from sluice.release.store.layout import PREFIX
from sluice.release.store.releases import CHAMPION, NUMBER_PREFIX, PREVIOUS, SHORTEST_PREFIX, check_kind

if TYPE_CHECKING:
    import builtins  # inside the class `list` is a method
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sluice.release.registry.registry_client import RegistryClient
    from sluice.release.store.releases import Release, ReleaseStore
    from sluice.release.trust_rules import ReleaseDocuments
    from sluice.verdicts import Verdict

_DIGEST = re.compile(rf"{PREFIX}[0-9a-f]{{64}}")
_NUMBER = re.compile(rf"(?:{NUMBER_PREFIX})?([1-9][0-9]*)")
_BEGINNING = re.compile(rf"(?:{PREFIX})?[0-9a-f]{{{SHORTEST_PREFIX},64}}")


class RegistryReleases:
    """The releases in a repository of a registry.

    Args:
        cache: The releases in a folder.
        connect: Returns a client for the repository.
        find_destination: Returns where releases are pushed to. It is called only before a push, because reading needs no serving
            image.
        roles_in_registry: Whether the registry's tags name champion and N-1, as in a cluster. On a laptop the folder's tags do.
    """

    def __init__(
        self,
        cache: ReleaseStore,
        connect: Callable[[], RegistryClient],
        find_destination: Callable[[], Destination],
        *,
        roles_in_registry: bool,
    ) -> None:
        """Set the places. Nothing is read or asked yet."""
        self.cache = cache
        self._connect = connect
        self._find_destination = find_destination
        self._roles_in_registry = roles_in_registry

    def add(self, layer_folder: Path) -> Release:
        """Add a model layer as a release: to the folder, then to the registry, which numbers it.

        Adding the same layer again returns the same release. Two processes that add different layers at the same moment get
        different numbers.

        Raises:
            ConfigurationError: The signing key cannot be used.
            IntegrityError: The folder is not a model layer.
            ServiceError: The registry refuses or does not answer, or the folder cannot be written.
            UnsupportedError: The serving image is not built for the release's architecture.
            UsageError: serving.image is not set.
        """
        return self.publish(self.cache.add(layer_folder).digest).release

    def publish(self, digest: str) -> PublishedRelease:
        """Push a release, with the documents that are attached to it in the folder, unless the registry has it already.

        A release keeps the image that it got first, also if the serving image was built again since. If a key is configured, the
        image's provenance is signed and attached.

        Raises:
            ConfigurationError: The signing key cannot be used.
            IntegrityError: Bytes of the release or of the serving image do not have their digest.
            ServiceError: The registry refuses or does not answer.
            StateError: Neither the folder nor the registry has the release.
            UnsupportedError: The serving image is not built for the release's architecture.
            UsageError: The registry does not have the release, and serving.image is not set.
        """
        with self._connect() as registry:
            found, built = find_by_layer(registry, digest), ""
            if found is None:
                built = self._push(registry, self.cache.get(digest))
                found = find_by_target(registry, built) or _refuse_unknown(registry, built)
            else:
                # An earlier push may have ended before the number was certain.
                number = number_release(registry, digest, found.image["digest"], wanted=found.number)
                found = dataclasses.replace(found, number=number)
            release = self._pull(registry, found)
            for attached in self.cache.attachments(digest):
                attach_document(registry, found.image, attached["kind"], attached["document"])
            # Whoever may push could have put another image under the release's tag, so only what this process builds is signed.
            if is_signing() and (built or self._build(registry, release)) == found.image["digest"]:
                attach_provenance(registry, release, found.image["digest"])
            return PublishedRelease(release, f"{registry.host}/{registry.repository}@{found.image['digest']}")

    def _push(self, registry: RegistryClient, release: Release) -> str:
        image = self._build(registry, release)
        number_release(registry, release.digest, image, wanted=release.number)
        return image

    def _build(self, registry: RegistryClient, release: Release) -> str:
        """Put the image together in the registry, without a tag, and return its digest. A second time sends nothing."""
        destination = self._find_destination()
        with destination.open_base() as source:
            return push_release(self.cache, release, destination.base, registry, source, tags=()).image.partition("@")[2]

    def list(self) -> list[Release]:
        """Return all releases of the registry and of the folder, oldest first. Nothing is downloaded except what they say.

        What the registry says about a release that the folder does not have is not verified. `get` verifies it.
        """
        numbers = {release.digest: release.number for release in self.cache.list()}
        with self._connect() as registry:
            listed = list_images(registry, frozenset(numbers))
            others = [read_release(registry, found) for _, found in listed if isinstance(found, StoredImage)]
        for number, digest in listed:
            if isinstance(digest, str) and numbers[digest] != number:
                self.cache.renumber(digest, number)
        releases = [*self.cache.list(), *(release for release in others if release.digest not in numbers)]
        return sorted(releases, key=lambda release: release.number)

    def get(self, ref: str) -> Release:
        """Return the release that a reference names. If only the registry has it, it is downloaded, verified and kept.

        Args:
            ref: A reference as for `ReleaseStore.get`, or the digest of an image in the registry.

        Raises:
            IntegrityError: The registry returned other bytes than the digest says.
            ServiceError: The registry does not answer.
            StateError: No release, or more than one, has this reference.
        """
        if _DIGEST.fullmatch(ref):
            with contextlib.suppress(StateError):
                return self.cache.get(ref)
        elif ref in {CHAMPION, PREVIOUS} and not self._roles_in_registry:
            return self.cache.get(ref)
        with self._connect() as registry:
            if (found := self._find(registry, ref)) is not None:
                return self._pull(registry, found)
            try:
                return self.cache.get(ref)
            except StateError as error:
                place = f"{registry.host}/{registry.repository}"
                raise StateError(f"{error.message}; it is neither here nor in {place}", hint=error.hint) from error

    def _find(self, registry: RegistryClient, ref: str) -> StoredImage | None:
        """Return the image that a reference names in the registry; None if it names none, or only one of the folder."""
        if _DIGEST.fullmatch(ref):
            return find_by_layer(registry, ref) or find_by_target(registry, ref)
        if (number := _NUMBER.fullmatch(ref)) and (found := find_by_number(registry, int(number[1]))):
            return found
        if ref in {CHAMPION, PREVIOUS}:
            return find_by_target(registry, ref)
        if not _BEGINNING.fullmatch(ref):
            return None
        digests = find_by_beginning(registry, ref)
        if len(digests) > 1:
            raise StateError(f"the digests of {len(digests)} releases begin with {ref!r}", hint="Give more digits.")
        return find_by_layer(registry, digests[0]) if digests else None

    def _pull(self, registry: RegistryClient, found: StoredImage) -> Release:
        digest = found.layer["digest"]
        try:
            release = self.cache.get(digest)
        except StateError:
            return pull_release(registry, found, self.cache)
        return release if release.number == found.number else self.cache.renumber(digest, found.number)

    def attach(self, digest: str, kind: str, document: Mapping[str, Any]) -> None:
        """Attach a document to a release, in the registry and in the folder.

        A release that is only in the folder keeps the document there until it is published.

        Raises:
            DataError: The document cannot be written as JSON.
            ServiceError: The registry refuses or does not answer.
            StateError: The release does not exist.
            UsageError: The kind has characters that are not allowed.
        """
        check_kind(kind)
        self.get(digest)
        with self._connect() as registry:
            found = find_by_layer(registry, digest)
            if found is not None:
                attach_document(registry, found.image, kind, document)
        self.cache.attach(digest, kind, document)

    def attachments(self, digest: str) -> builtins.list[dict[str, Any]]:
        """Return the documents that are attached to a release, as `ReleaseStore.attachments` does: first those of the registry.

        Raises:
            IntegrityError: A document is damaged.
            ServiceError: The registry does not answer.
        """
        with self._connect() as registry:
            found = find_by_layer(registry, digest)
            documents = read_documents(registry, found.image["digest"]) if found else []
        known = {(one["kind"], one["digest"]) for one in documents}
        return documents + [one for one in self.cache.attachments(digest) if (one["kind"], one["digest"]) not in known]

    def read_documents(self, digest: str) -> ReleaseDocuments:
        """Return what a release says about itself, as its image in the registry has it; otherwise as the folder has it.

        Raises:
            IntegrityError: The release's bytes do not have their digest.
            ServiceError: The registry does not answer.
            StateError: The release does not exist.
        """
        with self._connect() as registry:
            found = find_by_layer(registry, digest)
            return read_image_documents(registry, found.image["digest"]) if found else self.cache.read_documents(digest)

    def unpack(self, digest: str) -> Path:
        """Return a folder with the release's verified files. If only the registry has the release, it is downloaded first.

        Raises:
            IntegrityError: The release's bytes do not have its digest.
            ServiceError: The registry does not answer.
            StateError: The release does not exist.
        """
        return self.cache.unpack(self.get(digest).digest)

    def verify(self, ref: str, *, key: Path | None = None) -> builtins.list[Verdict]:
        """Check every byte of a release as `ReleaseStore.verify` does, after everything about it was downloaded.

        Raises:
            ConfigurationError: The key cannot be used.
            ServiceError: The registry does not answer.
            StateError: The release does not exist.
        """
        release = self.get(ref)
        for attached in self.attachments(release.digest):
            self.cache.attach(release.digest, attached["kind"], attached["document"])
        return self.cache.verify(release.digest, key=key)

    def move_tags(self, tags: Mapping[str, str | None]) -> None:
        """Move several tags of the folder at once, as `ReleaseStore.move_tags` does.

        In a cluster, the controller moves the registry's tags.
        """
        for digest in tags.values():
            if digest is not None:
                self.get(digest)
        self.cache.move_tags(tags)


def _refuse_unknown(registry: RegistryClient, image: str) -> StoredImage:
    raise StateError(
        f"the image {image} was pushed to {registry.host}/{registry.repository}, and the registry does not list it",
        hint="Run the step or the command again.",
    )
