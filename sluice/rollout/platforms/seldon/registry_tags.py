"""The registry's tags ``champion`` and ``previous``: they follow the journal, from a thread of their own, and hold nothing up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sluice.errors import SluiceError
from sluice.release.registry.image_references import read_image_reference
from sluice.release.registry.registry_client import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Callable

CHAMPION, PREVIOUS = "champion", "previous"


class RegistryTags:
    """Sets the two tags.

    Args:
        plain_http: Whether the registry is spoken to by HTTP.
        notify: Told what could not be done.
    """

    def __init__(self, *, plain_http: bool, notify: Callable[[str], object]) -> None:
        self._plain_http, self._notify = plain_http, notify
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tags")

    def follow(self, champion: str, previous: str) -> None:
        """Let the tags name these images, by digest; an empty one is left as it is. Comes back at once."""
        for tag, image in ((CHAMPION, champion), (PREVIOUS, previous)):
            if image:
                self._thread.submit(self._set, tag, image)

    def close(self) -> None:
        """Wait for what was begun."""
        self._thread.shutdown(wait=True)

    def _set(self, tag: str, image: str) -> None:
        try:
            set_tag(image, tag, plain_http=self._plain_http)
        except SluiceError as error:
            self._notify(f"the registry's tag {tag} stays as it was: {error}")


def set_tag(image: str, tag: str, *, plain_http: bool = False) -> None:
    """Let a tag name an image that is in the registry.

    Args:
        image: By digest.
        tag: In the image's repository.
        plain_http: Whether the registry is spoken to by HTTP.

    Raises:
        ServiceError: The registry does not answer or refuses.
        UsageError: That is no reference.
    """
    reference = read_image_reference(image)
    with RegistryClient(reference.host, reference.repository, plain_http=plain_http) as registry:
        manifest, media_type = registry.read_manifest(reference.target)
        if registry.find_manifest(tag) != reference.target:
            registry.write_manifest(tag, manifest, media_type)
