"""Read objects of the store in which an engine keeps artifacts: S3 and what speaks its protocol, and Google Cloud Storage."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from sluice.data.external_errors import external_call
from sluice.errors import DataError, ServiceError, SluiceError, UnsupportedError

CONNECT_SECONDS, READ_SECONDS, TRIES = 5.0, 30.0, 2
"""Time limits of one request to S3, and how often it is made. A person waits for it."""

ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Environment variables with the URL of S3, as AWS's own programs read them. They win over the address that the engine knows."""

_AMAZON = "amazonaws.com"


@dataclass(frozen=True, slots=True)
class Keys:
    """A pair of access keys."""

    access: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A bucket.

    Attributes:
        driver: ``s3`` or ``gcs``; another one cannot be read.
        bucket: Its name.
        endpoint: Host and port of an S3 server; empty for Amazon's.
        secure: Whether the server speaks TLS.
        region: Region of the bucket; empty if it is unknown.
        keys: Access keys; None to use those of the environment, as AWS's own programs find them.
        keys_problem: Why there are no keys although the engine names a Secret with them; empty if there is no problem.
    """

    driver: str
    bucket: str
    endpoint: str = ""
    secure: bool = True
    region: str = ""
    keys: Keys | None = None
    keys_problem: str = ""


class ObjectReader:
    """Reads objects. A store that cannot be used is asked once and not for every object."""

    def __init__(self) -> None:
        """Create a reader that has opened no store yet."""
        self._systems: dict[Store, object] = {}
        self._failures: dict[Store, SluiceError] = {}

    def read(self, store: Store, key: str) -> bytes:
        """Return an object.

        Raises:
            DataError: The store has no such object.
            ServiceError: The store does not answer, or refuses.
            UnsupportedError: Sluice cannot read this kind of store.
        """
        if store in self._failures:
            raise self._failures[store]
        try:
            return self._read_s3(store, key) if store.driver == "s3" else _read_elsewhere(store, key)
        except DataError:
            raise
        except SluiceError as error:
            self._failures[store] = error
            raise

    def _read_s3(self, store: Store, key: str) -> bytes:
        from pyarrow import fs  # noqa: PLC0415 - it takes half a second, and only reports of a cluster need it

        place = f"s3://{store.bucket}/{key}"
        try:
            system = self._systems.setdefault(store, _open_s3(store))
            assert isinstance(system, fs.S3FileSystem)  # noqa: S101 - for mypy
            with system.open_input_file(f"{store.bucket}/{key}") as file:
                found: bytes = file.read()
        except FileNotFoundError as error:
            raise DataError(f"{place} does not exist", hint="It was deleted, or was never written.") from error
        except OSError as error:
            reason = f" ({store.keys_problem})" if store.keys_problem else ""
            raise ServiceError(
                f"{place} cannot be read from {choose_endpoint(store)[1] or 'Amazon S3'}: {_shorten(error)}{reason}",
                hint="Set the usual variables of AWS: $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY, and "
                f"${ENDPOINT_VARIABLES[0]} if the server has another address here.",
            ) from error
        return found


def _open_s3(store: Store) -> object:
    from pyarrow import fs  # noqa: PLC0415

    scheme, endpoint = choose_endpoint(store)
    options = {"endpoint_override": endpoint, "scheme": scheme} if endpoint else {}
    options |= {"access_key": store.keys.access, "secret_key": store.keys.secret} if store.keys else {}
    region = store.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region and not endpoint:
        region = fs.resolve_s3_region(store.bucket)
    return fs.S3FileSystem(
        region=region or "us-east-1",
        connect_timeout=CONNECT_SECONDS,
        request_timeout=READ_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=TRIES),
        **options,
    )


def choose_endpoint(store: Store) -> tuple[str, str]:
    """Return scheme and address of an S3 server. The address is empty for Amazon's."""
    given = next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), "")
    if given:
        scheme, sign, address = given.partition("://")
        return (scheme, address.rstrip("/")) if sign else ("https", given.rstrip("/"))
    amazon = store.endpoint.rstrip("/").endswith(_AMAZON)
    return "https" if store.secure else "http", "" if amazon else store.endpoint


def _read_elsewhere(store: Store, key: str) -> bytes:
    if store.driver != "gcs":
        raise UnsupportedError(
            f"the artifacts are in a store of the kind {store.driver}, and Sluice reads only s3 and gcs",
            hint="Look at the artifacts in the engine's user interface.",
        )
    import fsspec  # noqa: PLC0415 - only reports of a cluster need it

    url = f"gs://{store.bucket}/{key}"
    hint = "Install gcsfs beside Sluice, and log in with gcloud."
    with external_call(f"{url} cannot be read", hint=hint), fsspec.open(url, "rb") as file:
        found: bytes = file.read()
    return found


def _shorten(error: OSError) -> str:
    """Return the reason that AWS's library gives, without what it was doing and without its advice."""
    text = " ".join(str(error).split())
    return text.partition("AWS Error ")[2] or text
