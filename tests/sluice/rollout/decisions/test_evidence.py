from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.evidence import (
    Counts,
    Evidence,
    Window,
    add_window_to_evidence,
    choose_reference,
    compare_with_rate,
    count_since,
    describe,
    enter_state,
    judge,
)
from sluice.rollout.decisions.interim_looks import next_look
from sluice.rollout.decisions.states import Phase, Request, State
from sluice.statistics.sequential import start_evidence

SETTINGS = RolloutTable()
REQUEST = Request(id="r", release="canary", by="ada", at=0.0, steps=(5, 25, 100))
STEP = State(phase=Phase.STEP, step=0)


def begin(state: State = STEP, settings: RolloutTable = SETTINGS) -> Evidence:
    return enter_state(None, REQUEST, state, settings)


def window(canary: tuple[int, int], stable: tuple[int, int], share: int = 5) -> Window:
    return Window(canary=Counts(*canary), stable=Counts(*stable), share=share)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), max_size=20))
def test_windows_add_up_to_all_requests_whenever_the_proxy_restarts(steps: list[tuple[int, int, bool]]) -> None:
    """A restarted proxy counts from zero, so the next window contains its whole count, unless that exceeds the old count."""
    before, total, happened = Counts(), Counts(), Counts()
    now = Counts()
    for requests, errors, reset in steps:
        grown = Counts(requests, min(errors, requests))
        overtakes = grown.requests >= before.requests and grown.errors >= before.errors
        now = grown if reset and not overtakes else now + grown
        total += count_since(before, now)
        happened += grown
        before = now
    assert total == happened


@given(*(st.integers(0, 100) for _ in range(4)))
def test_a_window_never_has_more_errors_than_requests(a: int, b: int, c: int, d: int) -> None:
    grown = count_since(Counts(a, b), Counts(c, d))
    assert 0 <= grown.errors <= grown.requests


def test_the_first_reading_counts_completely() -> None:
    assert count_since(None, Counts(7, 2)) == Counts(7, 2)


def test_looks_are_due_at_300_450_675_and_so_on() -> None:
    due, looks = 0, []
    for _ in range(5):
        due = next_look(due, SETTINGS.first_look, SETTINGS.look_growth)
        looks.append(due)
    assert looks == [300, 450, 675, 1013, 1519]
    assert next_look(449, 300, 1.5) == 450
    assert next_look(451, 300, 1.5) == 675


def test_too_few_requests_are_inconclusive_even_without_errors() -> None:
    evidence = add_window_to_evidence(begin(), window((299, 0), (6000, 0)), SETTINGS)
    judgement = judge(evidence, SETTINGS)
    assert not judgement.passed
    assert not judgement.failed
    assert "299 of 300" in judgement.reason


def test_a_healthy_canary_passes_at_the_first_look() -> None:
    evidence = add_window_to_evidence(begin(), window((300, 0), (6000, 3)), SETTINGS)
    assert judge(evidence, SETTINGS).passed
    assert evidence.upper_bound == pytest.approx(0.0095, abs=1e-3)


def test_a_failed_look_is_not_repeated_before_the_next_one_is_due() -> None:
    evidence = add_window_to_evidence(begin(), window((300, 2), (6000, 0)), SETTINGS)
    assert not judge(evidence, SETTINGS).passed
    assert judge(evidence, SETTINGS).reason.endswith("next look at 450 requests, 300 so far")
    evidence = add_window_to_evidence(evidence, window((149, 0), (3000, 0)), SETTINGS)
    assert evidence.looked == 300
    evidence = add_window_to_evidence(evidence, window((1, 0), (0, 0)), SETTINGS)
    assert evidence.looked == 450


def test_a_later_look_may_withdraw_an_earlier_pass() -> None:
    settings = RolloutTable(evidence=1e300)
    evidence = add_window_to_evidence(begin(settings=settings), window((300, 0), (6000, 0)), settings)
    assert judge(evidence, settings).passed
    evidence = add_window_to_evidence(evidence, window((150, 15), (3000, 0)), settings)
    assert not judge(evidence, settings).passed


def test_a_broken_canary_fails_long_before_the_first_look() -> None:
    evidence = begin()
    for _ in range(3):
        evidence = add_window_to_evidence(evidence, window((10, 1), (190, 0)), SETTINGS)
    judgement = judge(evidence, SETTINGS)
    assert judgement.failed
    assert "3 of 30" in judgement.reason


def test_a_shared_incident_does_not_fail_the_canary() -> None:
    generator = random.Random(4)  # noqa: S311
    evidence = begin()
    for _ in range(300):
        bad = (sum(generator.random() < 0.3 for _ in range(5)), sum(generator.random() < 0.3 for _ in range(95)))
        evidence = add_window_to_evidence(evidence, window((5, bad[0]), (95, bad[1])), SETTINGS)
        assert not judge(evidence, SETTINGS).failed


def test_the_e_process_continues_over_steps_and_the_looks_start_again() -> None:
    evidence = add_window_to_evidence(begin(), window((300, 1), (6000, 0)), SETTINGS)
    after = enter_state(evidence, REQUEST, dataclasses.replace(STEP, step=1), SETTINGS)
    assert after.process.e_value == evidence.process.e_value
    assert after.canary == evidence.canary
    assert after.step_canary == Counts()
    assert not judge(after, SETTINGS).passed
    assert enter_state(after, REQUEST, dataclasses.replace(STEP, step=1, since=9.0), SETTINGS) is after


def test_another_rollout_starts_without_evidence() -> None:
    evidence = add_window_to_evidence(begin(), window((300, 100), (6000, 0)), SETTINGS)
    other = enter_state(evidence, dataclasses.replace(REQUEST, id="other"), STEP, SETTINGS)
    assert other.canary == Counts()
    assert not judge(other, SETTINGS).failed


MANY = Counts(6000, 6)
BAKING = State(phase=Phase.BAKING, step=2)


def bake(*windows: tuple[int, int], stable: Counts = MANY, recorded: Counts | None = None) -> Evidence:
    evidence = dataclasses.replace(begin(BAKING), stable=stable)
    for canary in windows:
        evidence = add_window_to_evidence(evidence, window(canary, (0, 0), share=100), SETTINGS, recorded=recorded)
    return evidence


def test_the_bake_compares_the_canary_with_the_recorded_rate() -> None:
    assert judge(bake((300, 0)), SETTINGS).passed
    assert not judge(bake((1000, 1)), SETTINGS).failed
    assert judge(bake((40, 1), (40, 1), (40, 1), (40, 1)), SETTINGS).failed


def test_the_bake_tolerates_the_error_rate_that_stable_had() -> None:
    assert not judge(bake((100, 10), (100, 10), (100, 10), stable=Counts(1000, 100)), SETTINGS).failed


def test_the_bake_uses_the_whole_record_if_the_rollout_saw_few_requests() -> None:
    assert choose_reference(Counts(10, 5), Counts(9000, 9), SETTINGS) == Counts(9000, 9)
    assert choose_reference(Counts(300, 5), Counts(9000, 9), SETTINGS) == Counts(300, 5)
    assert choose_reference(Counts(10, 5), None, SETTINGS) == Counts(10, 5)


def test_the_bake_without_any_record_neither_fails_nor_passes_the_canary() -> None:
    evidence = bake((400, 40), stable=Counts())
    assert evidence.process.e_value == 1.0
    assert not judge(evidence, SETTINGS).passed


@given(st.integers(0, 400), st.integers(400, 4000), st.sampled_from([1.0, 1.5, 3.0]))
def test_each_request_multiplies_the_e_value_by_a_mean_of_at_most_one(errors: int, requests: int, tolerated: float) -> None:
    """The defining property of an e-process, computed exactly for one request at the record's own rate."""
    start = start_evidence(tolerated_ratio=tolerated, ratios=[tolerated * ratio for ratio in (3, 5, 50)])
    reference = Counts(requests, errors)
    rate = min(1.0, errors / requests * tolerated)
    failed, fine = (compare_with_rate(start, canary, reference).e_value for canary in (Counts(1, 1), Counts(1, 0)))
    assert rate * failed + (1 - rate) * fine <= 1 + 1e-9


@pytest.mark.slow
def test_false_alarms_at_the_bake_are_rare() -> None:
    generator = random.Random(8)  # noqa: S311
    alarms = 0
    for _ in range(400):
        stable = Counts(2000, sum(generator.random() < 0.002 for _ in range(2000)))
        evidence = dataclasses.replace(begin(BAKING), stable=stable)
        for _ in range(100):
            errors = sum(generator.random() < 0.002 for _ in range(20))
            evidence = add_window_to_evidence(evidence, window((20, errors), (0, 0), share=100), SETTINGS)
            if judge(evidence, SETTINGS).failed:
                alarms += 1
                break
    assert alarms <= 8


def test_stored_evidence_is_read_back_exactly() -> None:
    evidence = add_window_to_evidence(begin(), window((300, 1), (6000, 7)), SETTINGS)
    adapter = TypeAdapter(Evidence)
    assert adapter.validate_json(adapter.dump_json(evidence, by_alias=True)) == evidence


def test_the_described_numbers_are_those_of_the_evidence() -> None:
    numbers = describe(add_window_to_evidence(begin(), window((300, 1), (6000, 7)), SETTINGS), SETTINGS)
    assert (numbers["canary_requests"], numbers["stable_errors"], numbers["next_look"]) == (300, 7, 450)
