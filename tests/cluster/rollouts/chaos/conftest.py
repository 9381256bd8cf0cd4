"""The modules of the chaos run, and those of the tests without a cluster that sign releases."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[3] / "sluice")]
