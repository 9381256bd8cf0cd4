"""The tags ``champion`` and ``previous`` in the registry. A thread of their own moves them, so that no control round waits."""

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
    """Moves the two tags.

    Args:
        plain_http: Whether the registry uses HTTP without TLS.
        notify: Called with each error, one line of text.
    """

    def __init__(self, *, plain_http: bool, notify: Callable[[str], object]) -> None:
        self._plain_http, self._notify = plain_http, notify
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tags")

    def move_tags(self, champion: str, previous: str) -> None:
        """Let the tags name these images, and return at once.

        Args:
            champion: The champion's image by digest. If it is empty, the tag stays as it is.
            previous: N-1's image by digest. If it is empty, the tag stays as it is.
        """
        for tag, image in ((CHAMPION, champion), (PREVIOUS, previous)):
            if image:
                self._thread.submit(self._set, tag, image)

    def close(self) -> None:
        """Wait until all moves that were begun have ended."""
        self._thread.shutdown(wait=True)

    def _set(self, tag: str, image: str) -> None:
        try:
            set_tag(image, tag, plain_http=self._plain_http)
        except SluiceError as error:
            self._notify(f"the tag {tag} in the registry could not be moved: {error}")


def set_tag(image: str, tag: str, *, plain_http: bool = False) -> None:
    """Let a tag name an image that is in the registry.

    Args:
        image: The image by digest.
        tag: The tag, in the repository of the image.
        plain_http: Whether the registry uses HTTP without TLS.

    Raises:
        ServiceError: The registry does not answer, or refuses.
        UsageError: `image` is not a reference to an image.
    """
    reference = read_image_reference(image)
    with RegistryClient(reference.host, reference.repository, plain_http=plain_http) as registry:
        manifest, media_type = registry.read_manifest(reference.target)
        if registry.find_manifest(tag) != reference.target:
            registry.write_manifest(tag, manifest, media_type)
