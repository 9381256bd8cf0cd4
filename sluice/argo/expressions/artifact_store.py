"""Where a step's artifacts are stored: keys in Argo's artifact repository, and paths in the pod.

KFP's runtime derives a local path from the URI of an artifact: ``s3://b/k`` becomes ``/s3/b/k``, and a URI without such a scheme
is itself the path. Therefore the URI and the path of an artifact both end with its key. Only the part in front of it differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.argo.expressions.wire_json import Tag, literal

if TYPE_CHECKING:
    from sluice.ir.graph import JSON

VOLUME = "sluice-outputs"
"""Name of an emptyDir volume that is mounted at each folder to which a step writes.

It is not mounted where a step reads, because only the user of Argo's executor can read what Argo downloads into a volume.
"""

TEMPORARY = "sluice-tmp"
"""Name of an emptyDir volume at /tmp, for steps whose root file system is read-only."""

OUTPUTS = "/kfp/outputs"
WIRE = f"{OUTPUTS}/.wire"
"""Folder for the outputs in wire JSON. No output has this name, so that artifacts can be in the same volume."""

READABLE = 0o755
_LOCAL = "/kfp/store/"
_MOUNTS = {"gs": "/gcs", "s3": "/s3", "minio": "/minio"}


@dataclass(frozen=True, slots=True)
class Store:
    """The artifact repository as the compiler knows it.

    Attributes:
        driver: Argo's name for the kind of store: ``s3``, ``gcs``, ``oss`` or ``azure``.
        root: URI under which the artifacts are stored, for example ``s3://bucket/prefix``. It is empty if only the cluster knows
            it. In that case the URI of an artifact is its path in the pod.
    """

    driver: str = "s3"
    root: str = ""

    @property
    def base(self) -> str:
        """The part of an artifact's URI in front of the key."""
        return f"{self.root.rstrip('/')}/" if self.root else _LOCAL

    @property
    def scheme(self) -> str:
        """The scheme of URIs in this kind of store, for artifacts that a person submits by URI."""
        return {"gcs": "gs"}.get(self.driver, "s3")

    @property
    def folder(self) -> str:
        """The part of an artifact's path in front of the key."""
        scheme, sign, rest = self.base.partition("://")
        return f"{_MOUNTS[scheme]}/{rest}" if sign else self.base

    def location(self, key: str) -> dict[str, JSON]:
        """Return Argo's location of a key. It has no credentials, so that Argo uses those of the artifact repository."""
        if not self.root:
            # Argo's full CRD requires all three fields. If the other two are empty, Argo takes them from the repository.
            return {self.driver: {"blob": key, "container": "", "endpoint": ""} if self.driver == "azure" else {"key": key}}
        bucket, _, prefix = self.root.partition("://")[2].rstrip("/").partition("/")
        return {self.driver: {"bucket": bucket, "key": f"{prefix}/{key}" if prefix else key}}

    def step_artifact(self, uri: str, unused_path: str) -> tuple[dict[str, JSON], str]:
        """Return where Argo finds an artifact that a step made, and where it puts the artifact in the pod.

        A step may set the URI of its artifact itself (``model.uri = …``). Argo can fetch the artifact if it is in the store's
        bucket. If it is not, the consumer gets only the URI, and Argo mounts an empty folder at a path that nothing reads.

        Args:
            uri: An expression that gives the URI.
            unused_path: Path of the empty folder.

        Returns:
            Argo's location of the artifact, and an expression that gives its path in the pod.
        """
        readable, path = self.base, uri
        location = self.location(str(Tag(f"trimPrefix({uri}, {literal(readable)})")))
        if self.root:
            scheme, _, rest = self.root.partition("://")
            bucket = rest.partition("/")[0]
            readable = f"{scheme}://{bucket}/"
            key = f"trimPrefix({uri}, {literal(readable)})"
            path = f"{literal(f'{_MOUNTS[scheme]}/{bucket}/')} + {key}"
            location = {self.driver: {"bucket": bucket, "key": str(Tag(key))}}
        return location, f"hasPrefix({uri}, {literal(readable)}) ? {path} : {literal(unused_path)}"


def imported_artifact(kind: str, uri: str) -> tuple[dict[str, str], str]:
    """Return where Argo finds an imported artifact, and where it puts the artifact in the pod.

    Args:
        kind: Scheme of the URI: ``gs``, ``s3``, ``minio``, ``http`` or ``https``.
        uri: An expression that gives the URI.

    Returns:
        The fields of Argo's location, as ``driver.field`` → expression, and an expression that gives the path at which KFP's
        runtime expects the artifact.
    """
    if kind in {"http", "https"}:
        return {"http.url": uri}, f"{literal(_LOCAL)} + replace({uri}, '://', '/')"
    rest = f"split({uri}, '://')[1]"
    driver = "gcs" if kind == "gs" else "s3"
    return (
        {f"{driver}.bucket": f"split({rest}, '/')[0]", f"{driver}.key": f"join(split({rest}, '/')[1:], '/')"},
        f"{literal(_MOUNTS[kind] + '/')} + {rest}",
    )
