"""Where a step's artifacts lie: keys of Argo's artifact repository, and paths in the pod.

KFP's runtime derives a local path from an artifact's URI (``s3://b/k`` is ``/s3/b/k``; any other URI is itself the path). So
a key, the URI and the path are three spellings of one thing: base + key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.argo.expressions.wire_json import Tag, literal

if TYPE_CHECKING:
    from sluice.ir.graph import JSON

VOLUME = "sluice-outputs"
"""An emptyDir, mounted at each folder that a step writes to and at none that it reads from: what Argo downloads into a volume,
only the executor's own user can read."""

TEMPORARY = "sluice-tmp"
"""An emptyDir at /tmp, where a step's root file system is read-only."""

OUTPUTS = "/kfp/outputs"
WIRE = f"{OUTPUTS}/.wire"
"""A name that no output has: artifacts lie in the same volume."""

READABLE = 0o755
_LOCAL = "/kfp/store/"
_MOUNTS = {"gs": "/gcs", "s3": "/s3", "minio": "/minio"}


@dataclass(frozen=True, slots=True)
class Store:
    """The artifact repository as the compiler knows it.

    Attributes:
        driver: Argo's name of the kind of store: ``s3``, ``gcs``, ``oss`` or ``azure``.
        root: URI under which artifacts lie, ``s3://bucket/prefix``; empty where only the cluster knows it: then an artifact's
            URI is its path in the pod.
    """

    driver: str = "s3"
    root: str = ""

    @property
    def base(self) -> str:
        """What stands before a key in an artifact's URI."""
        return f"{self.root.rstrip('/')}/" if self.root else _LOCAL

    @property
    def scheme(self) -> str:
        """The scheme of a URI in this kind of store, for artifacts that a person names."""
        return {"gcs": "gs"}.get(self.driver, "s3")

    @property
    def folder(self) -> str:
        """What stands before a key in an artifact's path."""
        scheme, sign, rest = self.base.partition("://")
        return f"{_MOUNTS[scheme]}/{rest}" if sign else self.base

    def location(self, key: str) -> dict[str, JSON]:
        """Argo's location of a key, without credentials: the repository's own are used."""
        if not self.root:
            # Argo's full CRD requires all three; where the others are empty they are the repository's.
            return {self.driver: {"blob": key, "container": "", "endpoint": ""} if self.driver == "azure" else {"key": key}}
        bucket, _, prefix = self.root.partition("://")[2].rstrip("/").partition("/")
        return {self.driver: {"bucket": bucket, "key": f"{prefix}/{key}" if prefix else key}}

    def read(self, uri: str, aside: str) -> tuple[dict[str, JSON], str]:
        """Argo's location of an artifact that a step made, and an expression of its path.

        A step may say itself where its artifact is (``model.uri = …``). Argo fetches what lies in the store's bucket. Anything
        else it cannot, and such a URI is no path to mount at: the consumer gets the URI, and an empty folder out of the way.

        Args:
            uri: Expression of the URI.
            aside: Path of that folder.
        """
        reach, place = self.base, uri
        location = self.location(str(Tag(f"trimPrefix({uri}, {literal(reach)})")))
        if self.root:
            scheme, _, rest = self.root.partition("://")
            bucket = rest.partition("/")[0]
            reach = f"{scheme}://{bucket}/"
            key = f"trimPrefix({uri}, {literal(reach)})"
            place = f"{literal(f'{_MOUNTS[scheme]}/{bucket}/')} + {key}"
            location = {self.driver: {"bucket": bucket, "key": str(Tag(key))}}
        return location, f"hasPrefix({uri}, {literal(reach)}) ? {place} : {literal(aside)}"


def foreign_location(kind: str, uri: str) -> tuple[dict[str, str], str]:
    """Argo's location of an artifact that no step made, and an expression of the path that KFP's runtime expects it at.

    Args:
        kind: Scheme of its URI: ``gs``, ``s3``, ``minio``, ``http`` or ``https``.
        uri: Expression of the URI.

    Returns:
        Field → expression, under the key of the driver; and the path.
    """
    if kind in {"http", "https"}:
        return {"http.url": uri}, f"{literal(_LOCAL)} + replace({uri}, '://', '/')"
    rest = f"split({uri}, '://')[1]"
    driver = "gcs" if kind == "gs" else "s3"
    return (
        {f"{driver}.bucket": f"split({rest}, '/')[0]", f"{driver}.key": f"join(split({rest}, '/')[1:], '/')"},
        f"{literal(_MOUNTS[kind] + '/')} + {rest}",
    )
