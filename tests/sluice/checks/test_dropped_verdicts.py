"""A test that drops a verdict fails, because it would pass for every model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sluice.checks.announcements import listening
from sluice.checks.judgements import judge_auc, judge_calibration, judge_share
from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.checks.layers import LayerResult

    Run = Callable[..., LayerResult]

SUITE = """
    import dataclasses
    import pytest
    from sluice.checks.judgements import judge_share
    from sluice.verdicts import Outcome

    def test_dropped():
        judge_share("dropped", 10, 400, threshold=0.9)

    def test_asserted_by_mistake(verify):
        assert judge_share("asserted", 10, 400, threshold=0.9)

    def test_one_of_two(verify):
        verify(judge_share("one", 390, 400, threshold=0.9))
        judge_share("two", 399, 400, threshold=0.9)

    def test_renamed(verify):
        verify(dataclasses.replace(judge_share("name", 395, 400, threshold=0.9), check="renamed"))

    @pytest.fixture(scope="module")
    def shared():
        return judge_share("shared", 396, 400, threshold=0.9)

    def test_with_a_fixture(shared, verify):
        verify(shared)

    def test_that_ignores_a_fixture(shared): ...
"""


def test_a_test_that_drops_a_verdict_fails_and_says_what_to_write(run: Run) -> None:
    result = run(SUITE)
    outcomes = {verdict.check: verdict.outcome for verdict in result.verdicts}
    assert outcomes["test_dropped"] is outcomes["test_asserted_by_mistake"] is outcomes["test_one_of_two"] is Outcome.FAIL
    assert outcomes["renamed"] is outcomes["shared"] is Outcome.PASS
    texts = {verdict.check: verdict.detail for verdict in result.verdicts}
    assert "did not pass 1 verdict to verify (fail: dropped: 0.025" in texts["test_dropped"]
    assert "Write verify(judge_…(…))" in texts["test_dropped"]


def test_a_judgement_announces_what_it_returns_and_nothing_that_it_calls() -> None:
    labels, scores = np.arange(400) % 2, np.linspace(0.1, 0.9, 400)
    with listening() as heard:
        auc = judge_auc("auc", labels, scores, threshold=0.4)
        calibration = judge_calibration("calibration", labels, scores, most=0.5)
    assert heard == [auc, *calibration]
    judge_share("share", 390, 400, threshold=0.9)
    assert len(heard) == 1 + len(calibration)
