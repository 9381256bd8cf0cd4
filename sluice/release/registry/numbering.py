"""Number a release in its registry. Two processes that do it at the same moment never get the same number.

A registry has no lock. Each process writes its claim first, as a tag that names its own model layer, and reads all claims after
that. If another layer claims the same number, the process gives it up and takes a later one. So at most one of them keeps it: the
process that wrote its claim last sees the other claim. If both give the number up, nobody has it. The tag ``release-<number>`` is
written only after a number is certain, so it never moves.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from sluice.errors import ServiceError
from sluice.release.registry.release_tags import layer_tag, number_tag, read_release_tags

if TYPE_CHECKING:
    from sluice.release.registry.registry_client import RegistryClient

_TRIES = 12
_PAUSE_SECONDS = 0.25
_draw = random.SystemRandom()


def number_release(registry: RegistryClient, layer: str, image: str, *, wanted: int = 1) -> int:
    """Return the number of a release in its registry. A release that has none gets the next free one.

    Args:
        registry: The repository. It has the image already.
        layer: The digest of the model layer.
        image: The digest of the image.
        wanted: The number that the release gets if it is larger than all others in the registry.

    Raises:
        ServiceError: The registry refuses or does not answer, or other processes took every number that was tried.
    """
    for attempt in range(_TRIES):
        found = read_release_tags(registry.list_tags())
        number = found.numbers.get(layer, wanted)
        if number in found.settled and registry.find_manifest(number_tag(number)) == image:
            if layer not in found.numbers:  # an earlier version of Sluice pushed it
                tag_image(registry, image, layer_tag(layer, number))
            return number
        if layer not in found.numbers or number in found.settled or found.find_layers(number) != {layer}:
            number = max(found.next_number, wanted)
            tag_image(registry, image, layer_tag(layer, number))
            found = read_release_tags(registry.list_tags())
        if number not in found.settled and found.find_layers(number) == {layer}:
            tag_image(registry, image, number_tag(number))
            return number
        time.sleep(_draw.uniform(0, _PAUSE_SECONDS * (attempt + 1)))
    raise ServiceError(
        f"release {layer[:19]} got no number in {registry.host}/{registry.repository}, because other releases took "
        f"{_TRIES} numbers at the same moment",
        hint="Run the step or the command again. The image is in the registry already.",
    )


def tag_image(registry: RegistryClient, image: str, tag: str) -> None:
    """Let a tag name an image of the repository.

    Raises:
        ServiceError: The registry refuses or does not answer.
    """
    data, media_type = registry.read_manifest(image)
    registry.write_manifest(tag, data, media_type)
