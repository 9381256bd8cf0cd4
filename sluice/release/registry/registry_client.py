"""A client of the HTTP API of an OCI registry. It reads and writes blobs and manifests.

Specification: opencontainers/distribution-spec v1.1. The client does not send a blob that the registry already has. It repeats a
failed request a few times, and it checks everything that it downloads against its digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
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
MAX_ANSWER_BYTES = 4 << 20
"""The largest answer that is kept in memory: the specification's limit for a manifest. A requester may name any registry, and its
answer must not fill the memory of a controller.
"""
_SUBJECT_HEADER = "OCI-Subject"
_NO_SUCH_API = {404, 405}
_OF_THE_ENCODED_BODY = {"content-encoding", "content-length", "transfer-encoding"}
_OK, _CREATED, _ACCEPTED_STATUS, _UNAUTHORIZED, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 200, 201, 202, 401, 404, 429, 500


@dataclass(slots=True)
class RegistryClient:
    """A client for one repository of a registry. Use it as a context manager.

    Args:
        host: The registry's host, with its port.
        repository: The repository.
        plain_http: Whether to use HTTP, for a registry on this machine or inside a cluster.
        verify: Whether the registry's certificate must be valid.
        tries: How often a request is repeated that the registry does not answer.
        timeout_seconds: Time limit of each connection, read and write.
    """

    host: str
    repository: str
    plain_http: bool = False
    verify: bool = True
    tries: int = _TRIES
    timeout_seconds: float = _TIMEOUT_SECONDS
    _client: httpx.Client = field(init=False)
    _authorization: str = ""

    def __post_init__(self) -> None:
        """Create the HTTP client. No request is sent yet."""
        base = f"{'http' if self.plain_http else 'https'}://{self.host}"
        self._client = httpx.Client(base_url=base, timeout=self.timeout_seconds, verify=self.verify, follow_redirects=True)

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the connections."""
        self._client.close()

    # --- manifests

    def read_manifest(self, target: str) -> tuple[bytes, str]:
        """Download a manifest by tag or digest, and return its bytes and its media type.

        Raises:
            IntegrityError: The bytes do not have the requested digest.
            ServiceError: The manifest does not exist, or the registry does not answer.
        """
        answer = self._request("GET", f"manifests/{target}", headers={"Accept": _ACCEPTED})
        if answer.status_code == _NOT_FOUND:
            raise ServiceError(
                f"{self.host} has no image {self.repository}:{target}", hint="Push the serving image first, or correct its name."
            )
        self._require(answer, _OK, "the manifest")
        if target.startswith(PREFIX) and _digest(answer.content) != target:
            raise IntegrityError(
                f"{self.host} returned bytes whose digest is not {target}",
                hint="Try again. If it happens again, the registry, or something in between, alters data.",
            )
        return answer.content, answer.headers.get("Content-Type", MANIFEST_TYPE).partition(";")[0]

    def find_manifest(self, target: str) -> str:
        """Return the digest of the manifest with a tag or digest; an empty text if it does not exist."""
        answer = self._request("HEAD", f"manifests/{target}", headers={"Accept": _ACCEPTED})
        if answer.status_code == _NOT_FOUND:
            return ""
        self._require(answer, _OK, "the manifest")
        return str(answer.headers.get("Docker-Content-Digest", ""))

    def write_manifest(self, target: str, data: bytes, media_type: str) -> bool:
        """Upload a manifest under a tag or its digest. The blobs and manifests that it names must be uploaded before.

        Returns:
            Whether the registry has noted the manifest's ``subject``, so that `list_referrers` finds it.
        """
        answer = self._request("PUT", f"manifests/{target}", content=data, headers={"Content-Type": media_type})
        self._require(answer, _CREATED, "the manifest")
        return _SUBJECT_HEADER in answer.headers

    def list_tags(self) -> list[str]:
        """Return all tags of the repository; none if the repository does not exist yet."""
        pages = self._read_pages("tags/list", "the tags", {_NOT_FOUND})
        return [tag for page in pages or () for tag in page.get("tags") or ()]

    def list_referrers(self, digest: str) -> list[Descriptor] | None:
        """Return the descriptors of the manifests whose ``subject`` is an image; None if the registry has no referrers API.

        Args:
            digest: The digest of the image.
        """
        pages = self._read_pages(f"referrers/{digest}", "the referrers", _NO_SUCH_API)
        return None if pages is None else [each for page in pages for each in page.get("manifests") or ()]

    def _read_pages(self, path: str, what: str, absent: set[int]) -> list[dict[str, Any]] | None:
        """Return the pages of a list, or None if the registry answers with a status that says that there is none."""
        pages = []
        while path:
            answer = self._request("GET", path)
            if answer.status_code in absent:
                return None
            self._require(answer, _OK, what)
            try:
                pages.append(dict(answer.json()))
            except (TypeError, ValueError) as error:
                raise ServiceError(
                    f"the registry {self.host} did not answer with JSON for {what} of {self.repository}: {error}",
                    hint="Check that serving.repository names a registry.",
                ) from error
            following = answer.links.get("next", {}).get("url", "")
            path = str(urljoin(str(answer.request.url), following)) if following else ""
        return pages

    @staticmethod
    def describe(data: bytes, media_type: str) -> Descriptor:
        """Return the descriptor of some bytes."""
        return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}

    # --- blobs

    def has_blob(self, digest: str) -> bool:
        """Return whether the repository has a blob."""
        answer = self._request("HEAD", f"blobs/{digest}")
        if answer.status_code == _NOT_FOUND:
            return False
        self._require(answer, _OK, "a blob")
        return True

    def read_blob(self, descriptor: Descriptor, target: Path) -> None:
        """Download a blob to a file.

        Raises:
            IntegrityError: The bytes do not have the blob's digest.
            ServiceError: The blob does not exist, or the registry does not answer.
        """

        def download() -> httpx.Response:
            with self._client.stream("GET", self._path(f"blobs/{descriptor['digest']}"), headers=self._headers()) as answer:
                if answer.status_code == _OK:
                    with target.open("wb") as file:
                        for chunk in answer.iter_bytes(_CHUNK_BYTES):
                            file.write(chunk)
                return answer

        self._require(self._retry(download, self._scope(), f"blobs/{descriptor['digest']}"), _OK, "a blob")
        with target.open("rb") as file:
            if PREFIX + hashlib.file_digest(file, "sha256").hexdigest() != descriptor["digest"]:
                raise IntegrityError(
                    f"{self.host} returned bytes whose digest is not {descriptor['digest']}",
                    hint="Try again. If it happens again, the registry, or something in between, alters data.",
                )

    @contextlib.contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[BlobStream]:
        """Open a blob for reading it piece by piece, without a file. Its digest is not checked.

        Raises:
            ServiceError: The blob does not exist, or the registry does not answer.
        """

        def open_stream() -> httpx.Response:
            request = self._client.build_request("GET", self._path(f"blobs/{descriptor['digest']}"), headers=self._headers())
            answer = self._client.send(request, stream=True)
            return answer if answer.status_code == _OK else _read_bounded(answer)

        answer = self._retry(open_stream, self._scope(), f"blobs/{descriptor['digest']}")
        try:
            self._require(answer, _OK, "a blob")
            yield BlobStream(answer.iter_bytes(_CHUNK_BYTES), self.host)
        finally:
            answer.close()

    def mount_blob(self, digest: str, repository: str) -> bool:
        """Make a blob of another repository in the same registry available here. Return False if the registry refuses."""
        answer = self._request("POST", "blobs/uploads/", params={"mount": digest, "from": repository}, other=repository)
        if answer.status_code == _ACCEPTED_STATUS:  # the registry has started an upload instead of mounting the blob
            with contextlib.suppress(ServiceError):
                self._request("DELETE", self._location(answer))
            return False
        return answer.status_code == _CREATED

    def write_blob(self, descriptor: Descriptor, source: Path) -> bool:
        """Upload a file as a blob, unless the repository has it; return whether it was uploaded.

        Raises:
            ServiceError: The registry refuses the blob or does not answer.
        """
        if self.has_blob(descriptor["digest"]):
            return False

        def upload() -> httpx.Response:
            opened = self._request("POST", "blobs/uploads/")
            self._require(opened, _ACCEPTED_STATUS, "an upload")
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(descriptor["size"])}
            url = httpx.URL(self._location(opened)).copy_merge_params({"digest": descriptor["digest"]})
            return self._client.put(url, content=_chunks(source), headers=self._headers() | headers)

        self._require(self._retry(upload, self._scope(), "an upload"), _CREATED, "a blob")
        return True

    # --- requests

    def _path(self, path: str) -> str:
        return path if "://" in path else f"/v2/{self.repository}/{path}"

    def _location(self, answer: httpx.Response) -> str:
        return str(urljoin(str(answer.request.url), answer.headers.get("Location", "")))

    def _scope(self, other: str = "") -> str:
        own = f"repository:{self.repository}:pull,push"
        return f"{own} repository:{other}:pull" if other else own

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    def _request(
        self,
        method: str,
        path: str,
        *,
        other: str = "",
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        def send() -> httpx.Response:
            given = self._headers() | (headers or {})
            request = self._client.build_request(method, self._path(path), headers=given, params=params, content=content)
            return _read_bounded(self._client.send(request, stream=True))

        return self._retry(send, self._scope(other), path)

    def _retry(self, send: Callable[[], httpx.Response], scope: str, what: str) -> httpx.Response:
        """Repeat a request until the registry answers it.

        If the registry does not answer or is overloaded, the next attempt follows after a pause. If it requires a token, the next
        attempt follows with a token.

        Raises:
            ServiceError: The registry did not answer after several attempts, or it gives no token.
        """
        fault, pause, asked_for_token = "", _FIRST_PAUSE_SECONDS, False
        for attempt in range(self.tries + 1):
            try:
                answer = send()
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
            if attempt < self.tries:
                time.sleep(pause)
                pause *= 2
        raise ServiceError(
            f"the registry {self.host} does not answer the request for {what} of {self.repository}: {fault}",
            hint="Check that the registry is running. If it uses HTTP, pass --plain-http.",
        )

    def _require(self, answer: httpx.Response, status: int, what: str) -> None:
        if answer.status_code == status:
            return
        text = ""
        with contextlib.suppress(httpx.ResponseNotRead):
            text = f": {answer.text.strip()[:200]}"
        raise ServiceError(
            f"the registry {self.host} answered {answer.status_code} for {what} of {self.repository}{text}",
            hint="Check that your account may read and write this repository.",
        )


def _read_bounded(answer: httpx.Response) -> httpx.Response:
    """Read an answer whose body may be of any size, and return it with its decoded body.

    Raises:
        IntegrityError: The body is larger than `MAX_ANSWER_BYTES`.
    """
    body = bytearray()
    with contextlib.closing(answer):
        for chunk in answer.iter_bytes(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise IntegrityError(
                    f"{answer.request.url.host} answered with more than {MAX_ANSWER_BYTES:,} bytes",
                    hint="Check that serving.repository names a registry.",
                )
    headers = [(key, value) for key, value in answer.headers.multi_items() if key.lower() not in _OF_THE_ENCODED_BODY]
    return httpx.Response(answer.status_code, headers=headers, content=bytes(body), request=answer.request)


class BlobStream:
    """The bytes of a blob as they arrive.

    Args:
        chunks: The bytes in pieces.
        host: The registry's host, for the message.
    """

    def __init__(self, chunks: Iterator[bytes], host: str) -> None:
        self._chunks, self._host, self._rest = chunks, host, bytearray()

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end.

        Raises:
            ServiceError: The connection broke.
        """
        try:
            while len(self._rest) < size and (chunk := next(self._chunks, b"")):
                self._rest += chunk
        except httpx.HTTPError as error:
            raise ServiceError(
                f"the registry {self._host} did not send a blob to its end: {error}", hint="Check that the registry is running."
            ) from error
        data = bytes(self._rest[:size])
        del self._rest[:size]
        return data


def _chunks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _digest(data: bytes) -> str:
    return PREFIX + hashlib.sha256(data).hexdigest()
