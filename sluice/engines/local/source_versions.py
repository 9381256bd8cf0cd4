"""Which version of a data set is at a location, without reading data at a URL.

A store that names the version of an object (an ETag, a checksum, a generation) names it in the same answer as its size. The time
of the last change is no version: it has a resolution of a second, and an upload may keep the old one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.external_errors import external_call
from sluice.data.snapshots import digest_data, is_folder, is_url, strip_credentials
from sluice.errors import SluiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCAL = "file://"
_VERSIONS = (
    "etag",
    "md5hash",
    "md5",
    "content_md5",
    "crc32c",
    "checksum",
    "sha256",
    "generation",
    "versionid",
    "version_id",
    "sha",
)
"""What stores call the version of an object, in small letters."""


def read_version(location: str) -> str | None:
    """Return a text that changes with the bytes at a location; None if nobody can say whether they have changed.

    Args:
        location: An absolute path, or a URL. The URL of a folder ends with ``/``.

    Returns:
        For a path the digest of the bytes, for a URL a digest of what the store calls the versions. None if the store does not
        name a version of each object, if it does not answer, or if the URL is chained, for example a file inside an archive.
    """
    path = location.removeprefix(_LOCAL)
    try:
        if not is_url(path):
            return digest_data(Path(path))
        return None if "::" in path else _digest_versions(_ask_store(path), location)
    except SluiceError:
        return None


def _ask_store(url: str) -> dict[str, dict[str, Any]]:
    """Return what the store says about each object of a data set, by its path."""
    import fsspec  # noqa: PLC0415 - it takes 0.1 s, and local files do not need it

    with external_call(f"cannot look at {strip_credentials(url)}", hint="Check the URL and your credentials."):
        system, path = fsspec.core.url_to_fs(url)
        system.invalidate_cache()  # otherwise a second question in one process gets the first answer
        if is_folder(url):
            return dict(system.find(path.rstrip("/"), detail=True))
        return {path: dict(system.info(path))}


def _digest_versions(objects: Mapping[str, Mapping[str, Any]], location: str) -> str | None:
    """Return a digest of the versions of all objects; None if there is none, or if one has no version."""
    versions = {path: find_version(found) for path, found in objects.items()}
    if not versions or not all(versions.values()):
        return None
    stored = json.dumps([location, versions], sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(stored.encode()).hexdigest()}"


def find_version(found: Mapping[str, Any]) -> dict[str, str]:
    """Return what identifies the bytes of an object in the answer of a store; empty if nothing does. Pure.

    A weak ETag (``W/…``) does not count, because other bytes may have the same one.

    >>> find_version({"name": "a", "size": 9, "LastModified": "today", "ETag": '"5d41"'})
    {'ETag': '"5d41"', 'size': '9'}
    >>> find_version({"name": "a", "size": 9, "LastModified": "today", "ETag": 'W/"5d41"'})
    {}
    """
    named = {key: str(value) for key, value in found.items() if key.lower() in _VERSIONS and value not in (None, "", "null")}
    strong = {key: value for key, value in named.items() if not value.startswith("W/")}
    return strong | {"size": str(found.get("size"))} if strong else {}
