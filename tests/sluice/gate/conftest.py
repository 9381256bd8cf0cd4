"""Fixtures of the tests of the ledger. Because of this file, tests in the folders below can import `gate_inputs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluice.gate.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger"


@pytest.fixture
def ledger(folder: Path) -> Ledger:
    return Ledger(folder)
