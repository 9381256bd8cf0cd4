"""Names of images in a registry: ``host[:port]/repository[:tag][@sha256:…]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sluice.errors import UsageError

_REFERENCE = re.compile(
    r"""^(?P<host>localhost(?::\d+)?|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d+)?|[A-Za-z0-9-]+:\d+)
    /(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)
    (?::(?P<tag>[A-Za-z0-9_][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class ImageReference:
    """The name of an image, or of a repository of images.

    Attributes:
        host: The registry's host, with its port.
        repository: The repository in the registry.
        tag: The tag; empty if none is given.
        digest: The digest; empty if none is given. It takes precedence over the tag.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def target(self) -> str:
        """The digest, the tag or ``latest``, for a request to the registry."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        """Return the reference as people write it."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def read_image_reference(text: str) -> ImageReference:
    """Parse an image reference.

    Raises:
        UsageError: The text is not an image reference. The registry's host is required, because there is no default registry.
    """
    match = _REFERENCE.match(text)
    if not match:
        raise UsageError(
            f"{text!r} is not the name of an image in a registry",
            hint="Write host[:port]/repository[:tag], for example registry.example.com/churn.",
        )
    return ImageReference(match["host"], match["repository"], match["tag"] or "", match["digest"] or "")
