"""What the gateway and the executors agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.platforms.seldon.counters.durations import LATE_SECONDS
from sluice.rollout.platforms.seldon.counters.matching import NOTHING_OPEN, match
from sluice.rollout.platforms.seldon.counters.tallies import KINDS, NO_REQUESTS, Tally, tally_counts, tally_since

if TYPE_CHECKING:
    from collections.abc import Sequence

numbers = st.integers(0, 50)
tallies = st.builds(Tally, **dict.fromkeys(KINDS, numbers))
by_executors = st.builds(
    lambda answered, failed, rejected, slow: Tally(
        answered=answered, failed=failed, rejected=rejected, timed=answered + failed, slow=min(slow, answered + failed)
    ),
    numbers,
    numbers,
    numbers,
    numbers,
)


def add_up(readings: Sequence[tuple[Tally, Tally]], seconds: float = 1.0) -> Tally:
    """Return what counts after these readings: what the gateway and what the executors counted since the one before."""
    left, total = NOTHING_OPEN, NO_REQUESTS
    for number, (gateway, executors) in enumerate(readings):
        matched = match(left, gateway, executors, now=number * seconds)
        left, total = matched.left, total + matched.agreed
    return total


@given(st.lists(by_executors, max_size=12))
def test_direct_requests_count_for_nothing_if_the_gateway_counted_none(direct: list[Tally]) -> None:
    assert add_up([(NO_REQUESTS, one) for one in direct]) == NO_REQUESTS


@given(st.lists(st.tuples(by_executors, by_executors), max_size=12))
def test_if_every_request_is_a_prediction_direct_requests_change_nothing(readings: list[tuple[Tally, Tally]]) -> None:
    users = [one for one, _ in readings]
    total = add_up([(one, one + direct) for one, direct in readings])
    assert total == add_up([(one, one) for one in users]) == sum(users, NO_REQUESTS)


@given(st.lists(st.tuples(tallies, by_executors, by_executors), max_size=12))
def test_direct_requests_take_nothing_away_and_nothing_exceeds_the_gateway(readings: list[tuple[Tally, Tally, Tally]]) -> None:
    without = add_up([(gateway, executors) for gateway, executors, _ in readings])
    total = add_up([(gateway, executors + direct) for gateway, executors, direct in readings])
    carried = sum((gateway for gateway, _, _ in readings), NO_REQUESTS)
    for kind in ("answered", "failed", "rejected", "unreached"):
        assert getattr(without, kind) <= getattr(total, kind) <= getattr(carried, kind), kind


@given(st.lists(st.tuples(by_executors, by_executors, st.booleans()), max_size=8))
def test_durations_that_the_gateway_reports_late_count_once_whatever_is_asked_directly(
    seconds: list[tuple[Tally, Tally, bool]],
) -> None:
    """The gateway reports its durations now and then, and the rest at the end."""
    readings, waiting = [], NO_REQUESTS
    for users, direct, reports in seconds:
        waiting += Tally(timed=users.timed, slow=users.slow)
        late, waiting = (waiting, NO_REQUESTS) if reports else (NO_REQUESTS, waiting)
        ended = Tally(answered=users.answered, failed=users.failed, rejected=users.rejected)
        readings.append((ended + late, users + direct))
    total = add_up([*readings, (waiting, NO_REQUESTS)])
    assert total == sum((users for users, _, _ in seconds), NO_REQUESTS)


def test_a_request_that_one_side_counts_a_reading_earlier_is_matched_at_the_next() -> None:
    user = Tally(answered=3, failed=1)
    assert add_up([(user, NO_REQUESTS), (NO_REQUESTS, user)]) == user
    assert add_up([(NO_REQUESTS, user), (user, NO_REQUESTS)]) == user


def test_readings_that_follow_each_other_at_once_do_not_separate_the_two_sides() -> None:
    """A change of the ModelRollout starts a round at once."""
    user, quiet = Tally(answered=3, failed=1), [(NO_REQUESTS, NO_REQUESTS)] * 5
    assert add_up([(NO_REQUESTS, user), *quiet, (user, NO_REQUESTS)], seconds=0.05) == user


def test_a_later_direct_request_does_not_count_for_an_old_request_on_another_path() -> None:
    metadata, direct = Tally(answered=500), Tally(answered=500)
    assert add_up([(metadata, NO_REQUESTS), (NO_REQUESTS, NO_REQUESTS), (NO_REQUESTS, direct)]) == NO_REQUESTS
    assert add_up([(NO_REQUESTS, direct), (NO_REQUESTS, NO_REQUESTS), (metadata, NO_REQUESTS)]) == NO_REQUESTS


def test_durations_of_the_executors_count_at_once_if_the_gateway_carried_every_answer() -> None:
    user = Tally(answered=4, timed=4, slow=2)
    assert add_up([(Tally(answered=4), user)]) == user
    assert add_up([(Tally(answered=4), user), (Tally(timed=4, slow=2), NO_REQUESTS)]) == user, "and only once"


def test_beside_direct_requests_only_what_must_be_users_counts_before_the_gateway_reports_it() -> None:
    users, direct = Tally(answered=40, timed=40), Tally(answered=30, timed=30, slow=30)
    assert add_up([(Tally(answered=40), users + direct)]) == Tally(answered=40, timed=40)
    slow = Tally(answered=40, timed=40, slow=40)
    assert add_up([(Tally(answered=40), slow + direct)]) == slow
    assert add_up([(Tally(answered=40), slow + Tally(answered=30, timed=30))]) == Tally(answered=40, timed=40, slow=10)


def test_a_duration_waits_for_the_gateway_while_envoy_may_be_late_with_it_and_not_longer() -> None:
    early, late = Tally(answered=4, timed=4, slow=4), Tally(timed=4, slow=4)
    direct, quiet = Tally(answered=8, timed=8), [(NO_REQUESTS, NO_REQUESTS)] * 4
    assert add_up([(Tally(answered=4), early + direct), *quiet, (late, NO_REQUESTS)]) == early
    assert add_up([(Tally(answered=4), early + direct), *quiet, (late, NO_REQUESTS)], LATE_SECONDS).slow == 0


def test_what_is_left_over_twice_was_a_direct_request() -> None:
    left = match(NOTHING_OPEN, Tally(answered=10), Tally(answered=17, failed=2, timed=19), now=0.0).left
    once = match(left, NO_REQUESTS, NO_REQUESTS, now=1.0)
    assert once.direct == 0
    assert match(once.left, NO_REQUESTS, NO_REQUESTS, now=2.0).direct == 9


def test_a_request_that_no_executor_answered_is_an_error_of_the_release() -> None:
    assert add_up([(Tally(unreached=3), NO_REQUESTS)]).to_counts() == Counts(3, 3)
    assert Tally(answered=5, failed=1, unreached=1, rejected=2, timed=6, slow=1).to_counts() == Counts(7, 2, 6, 1, 2)
    assert tally_counts(Counts(7, 2, 6, 1, 2)) == Tally(answered=5, failed=2, rejected=2, timed=6, slow=1)


def test_counters_that_fell_count_from_zero() -> None:
    before = Tally(answered=100, failed=5)
    assert tally_since(before, Tally(answered=103, failed=6)) == Tally(answered=3, failed=1)
    assert tally_since(before, Tally(answered=4, failed=0)) == Tally(answered=4)
