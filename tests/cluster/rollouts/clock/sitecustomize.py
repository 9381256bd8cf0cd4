"""Let the clock of a controller jump: ``time.time`` is shifted by the number of seconds in the file $SLUICE_TEST_CLOCK."""

import os
import time
from pathlib import Path

_OFFSET = Path(os.environ["SLUICE_TEST_CLOCK"])
_now = time.time


def _shifted() -> float:
    try:
        return _now() + float(_OFFSET.read_text() or 0)
    except (OSError, ValueError):
        return _now()


time.time = _shifted
