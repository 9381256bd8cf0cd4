"""A pytest plugin that skips every test that would start after a deadline, so that a run ends in time and in good order.

`tools/check_changes.py` loads it. The tests that ran keep their results, and fixtures shut down their servers as usual. The first
tests run in any case, so that a result never stands for nothing.
"""

from __future__ import annotations

import os
import time

import pytest

DEADLINE_VARIABLE = "CHECK_DEADLINE"
"""Environment variable with the deadline in seconds since 1970. pytest's workers inherit it."""

REASON = "the time for this check is over"
"""What pytest prints as the reason of each skip."""

LEAST_SECONDS = 3.0
"""Each worker runs tests for so long even if the deadline has passed before its first test, for example on a busy machine."""

_FIRST_START = pytest.StashKey[float]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the test if the time is over. No fixture is set up for it."""
    now = time.time()
    first_start = item.config.stash.setdefault(_FIRST_START, now)
    if now > max(float(os.environ[DEADLINE_VARIABLE]), first_start + LEAST_SECONDS):
        pytest.skip(REASON)
