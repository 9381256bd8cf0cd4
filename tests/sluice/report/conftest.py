from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import report_records

from sluice.project.tables.rollout import RolloutTable

if TYPE_CHECKING:
    from sluice.report.results import Report


@pytest.fixture(scope="session")
def story() -> Report:
    return report_records.story()


@pytest.fixture
def rollout_settings() -> RolloutTable:
    return RolloutTable()
