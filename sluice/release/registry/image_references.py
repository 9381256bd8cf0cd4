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
class Reference:
    """An image, or a repository of images.

    Attributes:
        host: The registry, with its port.
        repository: The repository in it.
        tag: Empty where none is named.
        digest: Empty where none is named; wins over the tag.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def target(self) -> str:
        """What a registry is asked for: digest, tag, or ``latest``."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        """The reference as it is written."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def read_reference(text: str) -> Reference:
    """Parse a reference.

    Raises:
        UsageError: It is none; the registry must be named, since no default would be right for everyone.
    """
    match = _REFERENCE.match(text)
    if not match:
        raise UsageError(
            f"{text!r} is no image of a registry",
            hint="Write host[:port]/repository[:tag], for example registry.example.com/churn.",
        )
    return Reference(match["host"], match["repository"], match["tag"] or "", match["digest"] or "")
