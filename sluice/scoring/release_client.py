"""Asking a release that is being served, wherever its server runs."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

import httpx
import numpy as np

from sluice.errors import DataError, ServiceError
from sluice.release.columns import frame_to_rows
from sluice.release.golden import Golden, read_golden

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

PREDICT_PATH = "/api/v1.0/predictions"
HEALTH_PATH = "/health/status"
_TIMEOUT_SECONDS = 30.0


class ReleaseClient:
    """A served release, to be asked.

    Attributes:
        url: Where it listens.
        digest: The release.
        advice: What to look at when it does not answer.
    """

    def __init__(self, url: str, *, digest: str, folder: Path, advice: str) -> None:
        """`folder` is its unpacked layer, for the golden rows."""
        self.url, self.digest, self.advice = url, digest, advice
        self._folder = folder

    @cached_property
    def golden(self) -> Golden:
        """The release's golden rows.

        Raises:
            IntegrityError: They cannot be read.
        """
        return read_golden(self._folder)

    def post(self, payload: object) -> httpx.Response:
        """Ask for predictions, and give the answer whatever it is.

        Args:
            payload: What is sent as JSON; bytes and texts are sent as they are.

        Raises:
            ServiceError: There was no answer.
        """
        content = payload if isinstance(payload, bytes | str) else json.dumps(payload)
        try:
            return self._client.post(PREDICT_PATH, content=content, headers={"content-type": "application/json"})
        except httpx.TransportError as error:
            raise ServiceError(
                f"release {self.digest[:19]} at {self.url} did not answer: {type(error).__name__}: {error}", hint=self.advice
            ) from error

    def predict(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Probabilities of rows, over HTTP.

        Args:
            frame: The model's columns, any order.

        Returns:
            One probability per row, shape (rows,), every digit as the server has it.

        Raises:
            DataError: The server refuses the rows, or they cannot be sent.
            ServiceError: It fails, does not answer, or answers for another release.
        """
        response = self.post({"data": {"names": [str(name) for name in frame.columns], "ndarray": frame_to_rows(frame)}})
        if response.status_code == httpx.codes.BAD_REQUEST:
            raise DataError(f"release {self.digest[:19]} refused the rows: {_read_info(response)}", hint="Correct the rows.")
        if response.status_code != httpx.codes.OK:
            what = f"release {self.digest[:19]} answered {response.status_code}: {_read_info(response)}"
            raise ServiceError(what, hint=self.advice)
        answer = response.json()
        if (release := answer["meta"]["tags"]["release"]) != self.digest:
            raise ServiceError(f"{self.url} serves {release}, not {self.digest}", hint="Another server has taken its place.")
        return np.array([row[0] for row in answer["data"]["ndarray"]], dtype=np.float64)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if "_client" in self.__dict__:
            self._client.close()

    @cached_property
    def _client(self) -> httpx.Client:
        """Past any proxy of the environment: the server is on this machine, or in this cluster."""
        return httpx.Client(base_url=self.url, timeout=_TIMEOUT_SECONDS, trust_env=False)


def _read_info(response: httpx.Response) -> str:
    """The reason in an answer of Seldon's, else its beginning."""
    try:
        return str(response.json()["status"]["info"])
    except (ValueError, LookupError, TypeError):
        return response.text[:200]
