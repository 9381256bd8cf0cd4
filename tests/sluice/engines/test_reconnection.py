"""A watch survives a server that is away for a while, and gives up in the end."""

from __future__ import annotations

import pytest

from sluice.engines.reconnection import TRIES, Patience, UnreachableError


def test_a_few_failures_are_waited_out_and_many_in_a_row_are_an_error() -> None:
    patience, error = Patience(first_pause_seconds=0.0), UnreachableError("away")
    for _ in range(TRIES):
        patience.wait(error)
    patience.answered()
    for _ in range(TRIES):
        patience.wait(error)
    with pytest.raises(UnreachableError, match="away"):
        patience.wait(error)
