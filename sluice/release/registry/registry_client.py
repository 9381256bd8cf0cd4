"""An OCI registry over its HTTP API: blobs and manifests in, blobs and manifests out.

Specification: opencontainers/distribution-spec v1.1. What is there already is not sent again; what breaks on the way is tried
again a few times; what arrives is held against its digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin

import httpx

from sluice.errors import IntegrityError, ServiceError
from sluice.release.registry.credentials import answer_challenge, read_credentials
from sluice.release.store.layout import INDEX_TYPE, MANIFEST_TYPE, PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sluice.release.store.layout import Descriptor

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_ACCEPTED = f"{MANIFEST_TYPE}, {INDEX_TYPE}, {DOCKER_MANIFEST}, {DOCKER_LIST}"
_TRIES = 4
_FIRST_PAUSE_SECONDS = 0.2
_TIMEOUT_SECONDS = 60.0
_CHUNK_BYTES = 1 << 20
_OK, _CREATED, _ACCEPTED_STATUS, _UNAUTHORIZED, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 200, 201, 202, 401, 404, 429, 500


@dataclass(slots=True)
class Registry:
    """One repository of a registry; use it as a context manager.

    Args:
        host: The registry, with its port.
        repository: The repository.
        plain_http: Whether to speak HTTP, for a registry on this machine or inside a cluster.
        verify: Whether the certificate must be valid.
    """

    host: str
    repository: str
    plain_http: bool = False
    verify: bool = True
    _client: httpx.Client = field(init=False)
    _authorization: str = ""

    def __post_init__(self) -> None:
        """Nothing is asked yet."""
        base = f"{'http' if self.plain_http else 'https'}://{self.host}"
        self._client = httpx.Client(base_url=base, timeout=_TIMEOUT_SECONDS, verify=self.verify, follow_redirects=True)

    def __enter__(self) -> Self:
        """The registry itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close its connections."""
        self._client.close()

    # --- manifests

    def read_manifest(self, target: str) -> tuple[bytes, str]:
        """A manifest by tag or digest: its bytes and their media type.

        Raises:
            IntegrityError: The bytes are not those of the digest that was asked for.
            ServiceError: There is none, or the registry does not answer.
        """
        answer = self._ask("GET", f"manifests/{target}", headers={"Accept": _ACCEPTED})
        if answer.status_code == _NOT_FOUND:
            raise ServiceError(
                f"{self.host} has no image {self.repository}:{target}", hint="Push the serving image first, or correct its name."
            )
        self._require(answer, _OK, "the manifest")
        if target.startswith(PREFIX) and _digest(answer.content) != target:
            raise IntegrityError(f"{self.host} gave other bytes for {target}", hint="Do not use this registry.")
        return answer.content, answer.headers.get("Content-Type", MANIFEST_TYPE).partition(";")[0]

    def find_manifest(self, target: str) -> str:
        """The digest that a tag or digest leads to; empty where there is none."""
        answer = self._ask("HEAD", f"manifests/{target}", headers={"Accept": _ACCEPTED})
        if answer.status_code == _NOT_FOUND:
            return ""
        self._require(answer, _OK, "the manifest")
        return str(answer.headers.get("Docker-Content-Digest", ""))

    def write_manifest(self, target: str, data: bytes, media_type: str) -> None:
        """Put a manifest under a tag or its digest. Everything that it names must be there before."""
        answer = self._ask("PUT", f"manifests/{target}", content=data, headers={"Content-Type": media_type})
        self._require(answer, _CREATED, "the manifest")

    # --- blobs

    def has_blob(self, digest: str) -> bool:
        """Whether a blob is there."""
        answer = self._ask("HEAD", f"blobs/{digest}")
        if answer.status_code == _NOT_FOUND:
            return False
        self._require(answer, _OK, "a blob")
        return True

    def read_blob(self, descriptor: Descriptor, target: Path) -> None:
        """Download a blob to a file.

        Raises:
            IntegrityError: The bytes are not those of its digest.
            ServiceError: It is not there, or the registry does not answer.
        """

        def download() -> httpx.Response:
            with self._client.stream("GET", self._path(f"blobs/{descriptor['digest']}"), headers=self._headers()) as answer:
                if answer.status_code == _OK:
                    with target.open("wb") as file:
                        for chunk in answer.iter_bytes(_CHUNK_BYTES):
                            file.write(chunk)
                return answer

        self._require(self._retried(download, self._scope()), _OK, "a blob")
        with target.open("rb") as file:
            if PREFIX + hashlib.file_digest(file, "sha256").hexdigest() != descriptor["digest"]:
                raise IntegrityError(f"{self.host} gave other bytes for {descriptor['digest']}", hint="Do not use this registry.")

    def mount_blob(self, digest: str, repository: str) -> bool:
        """Let a blob of another repository of the same registry be here too; False where the registry does not."""
        answer = self._ask("POST", "blobs/uploads/", params={"mount": digest, "from": repository}, other=repository)
        if answer.status_code == _ACCEPTED_STATUS:  # it has opened an upload instead
            with contextlib.suppress(ServiceError):
                self._ask("DELETE", self._location(answer))
            return False
        return answer.status_code == _CREATED

    def write_blob(self, descriptor: Descriptor, source: Path) -> bool:
        """Upload a file as a blob, unless it is there; gives whether it was sent.

        Raises:
            ServiceError: The registry does not take it.
        """
        if self.has_blob(descriptor["digest"]):
            return False

        def upload() -> httpx.Response:
            opened = self._ask("POST", "blobs/uploads/")
            self._require(opened, _ACCEPTED_STATUS, "an upload")
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(descriptor["size"])}
            url = httpx.URL(self._location(opened)).copy_merge_params({"digest": descriptor["digest"]})
            return self._client.put(url, content=_chunks(source), headers=self._headers() | headers)

        self._require(self._retried(upload, self._scope()), _CREATED, "a blob")
        return True

    # --- how

    def _path(self, path: str) -> str:
        return path if "://" in path else f"/v2/{self.repository}/{path}"

    def _location(self, answer: httpx.Response) -> str:
        return str(urljoin(str(answer.request.url), answer.headers.get("Location", "")))

    def _scope(self, other: str = "") -> str:
        own = f"repository:{self.repository}:pull,push"
        return f"{own} repository:{other}:pull" if other else own

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    def _ask(
        self,
        method: str,
        path: str,
        *,
        other: str = "",
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        return self._retried(
            lambda: self._client.request(
                method, self._path(path), headers=self._headers() | (headers or {}), params=params, content=content
            ),
            self._scope(other),
        )

    def _retried(self, ask: Callable[[], httpx.Response], scope: str) -> httpx.Response:
        """Ask until there is an answer: after a pause where the registry is away or busy, with a token where it wants one.

        Raises:
            ServiceError: There is none after several tries.
        """
        fault, pause, asked_for_token = "", _FIRST_PAUSE_SECONDS, False
        for attempt in range(_TRIES + 1):
            try:
                answer = ask()
            except httpx.HTTPError as error:
                fault = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code == _UNAUTHORIZED and not asked_for_token:
                    asked_for_token = True
                    challenge = answer.headers.get("WWW-Authenticate", "")
                    self._authorization = answer_challenge(self._client, challenge, read_credentials(self.host), scope)
                    continue
                if answer.status_code < _SERVER_ERROR and answer.status_code != _TOO_MANY:
                    return answer
                fault = f"status {answer.status_code}"
            if attempt < _TRIES:
                time.sleep(pause)
                pause *= 2
        raise ServiceError(
            f"the registry {self.host} does not answer: {fault}",
            hint="Is it up, and is it to be spoken to by HTTP (--plain-http)?",
        )

    def _require(self, answer: httpx.Response, status: int, what: str) -> None:
        if answer.status_code == status:
            return
        told = ""
        with contextlib.suppress(httpx.ResponseNotRead):
            told = f": {answer.text.strip()[:200]}"
        raise ServiceError(
            f"the registry {self.host} answered {answer.status_code} for {what} of {self.repository}{told}",
            hint="Has the account the right to use this repository?",
        )


def _chunks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _digest(data: bytes) -> str:
    return PREFIX + hashlib.sha256(data).hexdigest()
