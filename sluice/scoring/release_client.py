"""The client of a server that serves a release, as a process or as a Pod."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

import httpx
import numpy as np

from sluice.errors import DataError, ServiceError
from sluice.release.feature_columns import frame_to_rows
from sluice.release.golden_rows import GoldenRows, read_golden_rows
from sluice.scoring.containers.server_containers import PREDICT_PATH

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

_TIMEOUT_SECONDS = 30.0


class ReleaseClient:
    """The client of a server that serves one release.

    Attributes:
        url: The server's URL.
        digest: The digest of the release.
        advice: The hint of an error if the server fails or does not answer.
    """

    def __init__(self, url: str, *, digest: str, folder: Path, advice: str) -> None:
        """Set the server. `folder` is the release's unpacked layer, which contains the golden rows."""
        self.url, self.digest, self.advice = url, digest, advice
        self._folder = folder

    @cached_property
    def golden(self) -> GoldenRows:
        """The release's golden rows.

        Raises:
            IntegrityError: The golden rows cannot be read.
        """
        return read_golden_rows(self._folder)

    def post(self, payload: object) -> httpx.Response:
        """Send a request for predictions, and return the answer with any status.

        Args:
            payload: The request, which is sent as JSON. Bytes and texts are sent unchanged.

        Raises:
            ServiceError: The server did not answer.
        """
        content = payload if isinstance(payload, bytes | str) else json.dumps(payload)
        try:
            return self._client.post(PREDICT_PATH, content=content, headers={"content-type": "application/json"})
        except httpx.TransportError as error:
            raise ServiceError(
                f"the server of release {self.digest[:19]} at {self.url} did not answer: {type(error).__name__}: {error}",
                hint=self.advice,
            ) from error

    def predict(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the probabilities of rows from the server.

        Args:
            frame: The rows, with the model's columns in any order.

        Returns:
            One probability per row, shape (rows,), with every digit of the server's value.

        Raises:
            DataError: The server refuses the rows, or they cannot be sent as JSON.
            ServiceError: The server fails, does not answer, or serves another release.
        """
        response = self.post({"data": {"names": [str(name) for name in frame.columns], "ndarray": frame_to_rows(frame)}})
        if response.status_code == httpx.codes.BAD_REQUEST:
            raise DataError(
                f"the server of release {self.digest[:19]} refused the rows: {_read_info(response)}", hint="Correct the rows."
            )
        if response.status_code != httpx.codes.OK:
            what = f"the server of release {self.digest[:19]} answered {response.status_code}: {_read_info(response)}"
            raise ServiceError(what, hint=self.advice)
        answer = response.json()
        if (release := answer["meta"]["tags"]["release"]) != self.digest:
            raise ServiceError(
                f"{self.url} serves release {release}, not {self.digest}",
                hint="Another server uses this address now. Start the server of the release again.",
            )
        return np.array([row[0] for row in answer["data"]["ndarray"]], dtype=np.float64)

    def close(self) -> None:
        """Close the connection if there is one."""
        if "_client" in self.__dict__:
            self._client.close()

    @cached_property
    def _client(self) -> httpx.Client:
        """The HTTP client. It ignores the environment's proxy settings: the server is on this machine or in this cluster."""
        return httpx.Client(base_url=self.url, timeout=_TIMEOUT_SECONDS, trust_env=False)


def _read_info(response: httpx.Response) -> str:
    """Return the reason from an answer in Seldon's format, otherwise the beginning of the answer."""
    try:
        return str(response.json()["status"]["info"])
    except (ValueError, LookupError, TypeError):
        return response.text[:200]
