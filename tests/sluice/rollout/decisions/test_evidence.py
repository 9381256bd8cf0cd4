from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.evidence import (
    Counts,
    Evidence,
    Window,
    count_since,
)
from sluice.rollout.decisions.evidence_updates import add_window_to_evidence, choose_reference, enter_state
from sluice.rollout.decisions.interim_looks import next_look
from sluice.rollout.decisions.judgements import describe, judge
from sluice.rollout.decisions.shadow_comparisons import Comparison
from sluice.rollout.decisions.states import Phase, Request, State

SETTINGS = RolloutTable()
REQUEST = Request(id="r", release="canary", by="ada", at=0.0, steps=(5, 25, 100))
STEP = State(phase=Phase.STEP, step=0)


def begin(state: State = STEP, settings: RolloutTable = SETTINGS) -> Evidence:
    return enter_state(None, REQUEST, state, settings)


def window(canary: tuple[int, ...], stable: tuple[int, ...], share: int = 5, seconds: float = 1.0) -> Window:
    return Window(canary=Counts(*canary), stable=Counts(*stable), share=share, seconds=seconds)


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


def test_a_burst_of_errors_within_a_second_does_not_fail_the_canary() -> None:
    """Three such errors failed the canary when each counted on its own."""
    evidence = add_window_to_evidence(begin(), window((10, 5), (190, 0)), SETTINGS)
    assert not judge(evidence, SETTINGS).failed
    assert evidence.e_value < 20


def test_windows_that_are_shorter_than_a_block_count_together() -> None:
    """A supervisor makes ten rounds a second, so a burst of half a second is spread over five windows."""
    one = add_window_to_evidence(begin(), window((10, 5), (190, 1)), SETTINGS)
    evidence = begin()
    for errors in (1, 0, 2, 1, 1, 0, 0, 0, 0):
        assert evidence.process.e_value == 1.0, "the block is not over"
        evidence = add_window_to_evidence(evidence, window((1, errors), (19, 0), seconds=0.1), SETTINGS)
    evidence = add_window_to_evidence(evidence, window((8, 0), (171, 1), seconds=0.1), SETTINGS)
    assert evidence.process.log_terms == pytest.approx(one.process.log_terms, rel=0.2)
    assert evidence.canary == Counts(17, 5)


@pytest.mark.parametrize("rounds", [1, 10])
def test_a_burst_across_two_blocks_counts_as_one_error_however_short_the_rounds_are(rounds: int) -> None:
    """The supervisor makes ten rounds a second, the controller one. The errors come from 0.8 s to 1.2 s."""
    evidence, seconds = begin(), 1 / rounds
    for index in range(4 * rounds):
        errors = (2, 3, 0, 0)[index] if rounds == 1 else {8: 1, 9: 1, 10: 2, 11: 1}.get(index, 0)
        counts = (10 // rounds, errors) if rounds == 1 else (2, errors)
        evidence = add_window_to_evidence(evidence, window(counts, (190 // rounds, 0), seconds=seconds), SETTINGS)
    aligned = add_window_to_evidence(begin(), window((10, 5), (190, 0)), SETTINGS)
    assert evidence.process.log_terms == pytest.approx(aligned.process.log_terms)


def test_a_stall_of_a_few_seconds_does_not_fail_the_canary() -> None:
    evidence = begin()
    for second in range(60):
        late = 25 if 20 <= second < 24 else 0
        evidence = add_window_to_evidence(evidence, window((25, 0, 25, late), (75, 0, 75, 0), share=25), SETTINGS)
        assert not judge(evidence, SETTINGS).failed
    assert evidence.latency.e_value > 1


def test_a_canary_that_stays_slow_fails() -> None:
    evidence = begin()
    for _ in range(60):
        evidence = add_window_to_evidence(evidence, window((5, 0, 5, 2), (95, 0, 95, 0)), SETTINGS)
    judgement = judge(evidence, SETTINGS)
    assert judgement.failed
    assert "slow 120 of 300 at the canary" in judgement.reason


SHADOWED = RolloutTable(shadow_requests=300)


def after_shadow(failed: int, requests: int = 300) -> Evidence:
    shadow = Comparison(requests=requests, failed=failed, difference=float(failed))
    return dataclasses.replace(begin(settings=SHADOWED), shadow=shadow)


def test_requests_of_the_shadow_count_for_the_first_look() -> None:
    evidence = add_window_to_evidence(after_shadow(0), window((29, 0), (600, 0)), SHADOWED)
    assert not judge(evidence, SHADOWED).passed, "some requests of users must confirm it"
    evidence = add_window_to_evidence(evidence, window((1, 0), (20, 0)), SHADOWED)
    judgement = judge(evidence, SHADOWED)
    assert judgement.passed
    assert (
        judgement.reason == "the shadow's 300 requests bound the excess error rate to 0.99%, and 30 requests of users confirm it"
    )


@pytest.mark.parametrize(("failed", "requests", "live_errors"), [(1, 300, 0), (0, 299, 0), (0, 300, 1)])
def test_the_first_look_waits_for_users_if_the_shadow_failed_or_was_short_or_users_see_errors(
    failed: int, requests: int, live_errors: int
) -> None:
    evidence = add_window_to_evidence(after_shadow(failed, requests), window((30, live_errors), (600, 0)), SHADOWED)
    assert not judge(evidence, SHADOWED).passed
    evidence = add_window_to_evidence(evidence, window((300, 0), (5700, 0)), SHADOWED)
    assert evidence.looked == 330


def test_the_shadow_counts_at_the_first_step_only() -> None:
    later = enter_state(after_shadow(0), REQUEST, dataclasses.replace(STEP, step=1), SHADOWED)
    assert not judge(add_window_to_evidence(later, window((100, 0), (300, 0), share=25), SHADOWED), SHADOWED).passed


def test_a_tolerated_excess_does_not_fail_the_canary() -> None:
    tolerant = RolloutTable(tolerated_excess=0.01)
    judgements = {}
    for settings in (SETTINGS, tolerant):
        evidence = begin(settings=settings)
        for second in range(200):
            error = second % 20 == 0  # 1 % of the canary's requests
            evidence = add_window_to_evidence(evidence, window((5, int(error)), (95, 0)), settings)
        judgements[settings.tolerated_excess] = judge(evidence, settings).failed
    assert judgements == {0.0: True, 0.01: False}


def test_no_more_than_the_margin_may_be_tolerated() -> None:
    with pytest.raises(ValidationError, match=r"tolerated_excess must be at most the margin of 0.01, not 0.02"):
        RolloutTable(tolerated_excess=0.02)


MANY = Counts(6000, 6)
BAKING = State(phase=Phase.BAKING, step=2)


def bake(*windows: tuple[int, int], stable: Counts = MANY, recorded: Counts | None = None) -> Evidence:
    evidence = dataclasses.replace(enter_state(begin(), REQUEST, BAKING, SETTINGS), stable=stable)
    for canary in windows:
        evidence = add_window_to_evidence(evidence, window(canary, (0, 0), share=100), SETTINGS, recorded=recorded)
    return evidence


def test_in_the_bake_errors_above_the_recorded_rate_raise_an_alarm_and_do_not_fail_the_canary() -> None:
    """Without traffic of stable, an incident of the platform looks like a fault of the canary."""
    assert judge(bake((300, 0)), SETTINGS).passed
    assert not judge(bake((1000, 1)), SETTINGS).alarm
    judgement = judge(bake((40, 4), (40, 4), (40, 4)), SETTINGS)
    assert judgement.alarm == "12 of 120 requests failed, more than stable's record allows"
    assert not judgement.failed
    assert not judge(bake((40, 40)), SETTINGS).alarm, "no single burst raises it"


def test_in_the_bake_slow_answers_raise_an_alarm() -> None:
    evidence = enter_state(begin(), REQUEST, BAKING, SETTINGS)
    evidence = dataclasses.replace(evidence, stable=Counts(6000, 6, 6000, 12))
    for _ in range(20):
        evidence = add_window_to_evidence(evidence, window((100, 0, 100, 20), (0, 0), share=100), SETTINGS)
    assert "requests were slow" in judge(evidence, SETTINGS).alarm


def test_the_bake_tolerates_the_error_rate_that_stable_had() -> None:
    assert not judge(bake((100, 10), (100, 10), (100, 10), stable=Counts(1000, 100)), SETTINGS).alarm


def test_the_bake_tolerates_the_error_rate_that_stable_had_last() -> None:
    """After an incident moved the canary back to a step, stable's latest rate is the one to compare with."""
    calm = dataclasses.replace(bake(stable=Counts(60_000, 60)), recent=Counts(500, 0))
    failing = dataclasses.replace(calm, recent=Counts(500, 50))
    alarms = []
    for evidence in (calm, failing):
        after = evidence
        for _ in range(10):
            after = add_window_to_evidence(after, window((95, 8), (0, 0), share=100), SETTINGS)
        alarms.append(bool(judge(after, SETTINGS).alarm))
    assert alarms == [True, False]


def test_the_bake_uses_the_whole_record_if_the_rollout_saw_few_requests() -> None:
    assert choose_reference(Counts(10, 5), Counts(9000, 9), SETTINGS) == Counts(9000, 9)
    assert choose_reference(Counts(300, 5), Counts(9000, 9), SETTINGS) == Counts(300, 5)
    assert choose_reference(Counts(10, 5), None, SETTINGS) == Counts(10, 5)


def test_the_bake_without_any_record_neither_alarms_nor_passes_the_canary() -> None:
    judgement = judge(bake((400, 40), stable=Counts()), SETTINGS)
    assert not judgement.alarm
    assert not judgement.passed


@given(st.integers(0, 400), st.integers(400, 4000), st.sampled_from([1.0, 1.5, 3.0]))
def test_each_request_multiplies_the_alarm_by_a_mean_of_at_most_one(errors: int, requests: int, tolerated: float) -> None:
    """The defining property of an e-process, computed exactly for one request at the record's own rate."""
    settings = RolloutTable(tolerated_ratio=tolerated)
    start = dataclasses.replace(enter_state(begin(settings=settings), REQUEST, BAKING, settings), stable=Counts(requests, errors))
    rate = min(1.0, errors / requests * tolerated)
    values = []
    for failed in (1, 0):
        after = add_window_to_evidence(start, window((1, failed), (0, 0), share=100), settings)
        assert after.alarm is not None
        values.append(after.alarm.e_value)
    assert rate * values[0] + (1 - rate) * values[1] <= 1 + 1e-9


def test_after_an_alarm_the_good_time_before_does_not_hide_a_canary_that_fails() -> None:
    """The errors that stable had while the canary was still fine weighed against the later ones of the canary."""
    evidence = begin(dataclasses.replace(STEP, step=1))
    for _ in range(60):
        evidence = add_window_to_evidence(evidence, window((25, 0), (75, 1), share=25), SETTINGS)
    baking = enter_state(evidence, REQUEST, BAKING, SETTINGS)
    back = enter_state(baking, REQUEST, dataclasses.replace(STEP, step=1), SETTINGS)
    assert back.retrial is not None
    decided = []
    for start in (evidence, back):
        after = start
        for _ in range(15):
            after = add_window_to_evidence(after, window((25, 5), (75, 0), share=25), SETTINGS)
        decided.append(judge(after, SETTINGS).failed)
    assert decided == [False, True]


RECORD = Counts(60_000, 60)


def during_incident(canary_rate: float, seconds: int = 400) -> Evidence:
    """Stable fails in 5 % of its requests, and failed in 0.1 % before the rollout."""
    generator = random.Random(5)  # noqa: S311
    evidence = enter_state(None, REQUEST, STEP, SETTINGS, champion_record=RECORD)
    for _ in range(seconds):
        failed = sum(generator.random() < canary_rate for _ in range(10)), sum(generator.random() < 0.05 for _ in range(90))
        evidence = add_window_to_evidence(evidence, window((10, failed[0]), (90, failed[1]), share=10), SETTINGS)
    return evidence


def test_a_canary_that_fixes_a_failing_stable_advances_and_the_reason_says_why() -> None:
    """The fix of a broken champion waited for ever, because nobody advanced during an incident of stable."""
    judgement = judge(during_incident(0.001), SETTINGS)
    assert judgement.passed
    assert judgement.reason.startswith("stable itself has an incident: ")
    assert "the canary surely fails less often" in judgement.reason
    assert "exceeds stable's usual rate by at most" in judgement.reason


@pytest.mark.parametrize("rate", [0.05, 0.025])
def test_during_an_incident_of_stable_no_other_canary_advances(rate: float) -> None:
    judgement = judge(during_incident(rate), SETTINGS)
    assert not judgement.passed
    assert judgement.reason.startswith("paused, because stable itself has an incident")


def test_a_bake_of_an_earlier_version_gets_an_alarm() -> None:
    old = dataclasses.replace(bake((300, 0)), alarm=None, latency_alarm=None)
    after = enter_state(old, REQUEST, BAKING, SETTINGS)
    assert after.alarm is not None
    assert (after.process, after.step_canary) == (old.process, Counts())
    assert enter_state(after, REQUEST, BAKING, SETTINGS) is after


def test_evidence_of_an_earlier_version_continues_and_waits_during_an_incident() -> None:
    old = dataclasses.replace(during_incident(0.001), better=None, record_bound=None)
    assert not judge(old, SETTINGS).passed
    assert add_window_to_evidence(old, window((10, 0), (90, 4), share=10), SETTINGS).better is None


def test_stored_evidence_is_read_back_exactly() -> None:
    evidence = add_window_to_evidence(begin(), window((300, 1), (6000, 7)), SETTINGS)
    adapter = TypeAdapter(Evidence)
    assert adapter.validate_json(adapter.dump_json(evidence, by_alias=True)) == evidence


def test_the_described_numbers_are_those_of_the_evidence() -> None:
    numbers = describe(add_window_to_evidence(begin(), window((300, 1), (6000, 7)), SETTINGS), SETTINGS)
    assert (numbers["canary_requests"], numbers["stable_errors"], numbers["next_look"]) == (300, 7, 450)
