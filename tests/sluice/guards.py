"""The time limit of waiting tests."""

from __future__ import annotations

GUARD_SECONDS = 300.0
"""How long a test waits for an event before it counts as hanging. No test fails earlier because the machine is slow."""
