from __future__ import annotations

import pytest

from sluice.rollout.clocks import TimeReference, choose_reference, describe_difference

KNOWN = TimeReference(boot="first", steady=100.0, time=5_000.0)


@pytest.mark.parametrize("system", [1_400.0, 5_050.0, 8_650.0])
def test_a_reference_of_this_boot_counts_whatever_the_system_clock_shows(system: float) -> None:
    chosen = choose_reference(KNOWN, boot="first", steady=150.0, system=system, newest=9_000.0)
    assert chosen.read(150.0) == 5_050.0


@pytest.mark.parametrize(
    ("known", "boot", "steady"),
    [
        (KNOWN, "second", 150.0),
        (KNOWN, "first", 7.0),  # the steady clock began again, so the stored reference says nothing
        (TimeReference(boot="", steady=100.0, time=5_000.0), "", 150.0),
    ],
)
def test_after_another_boot_the_time_follows_the_system_clock_and_never_goes_back(
    known: TimeReference, boot: str, steady: float
) -> None:
    def read(**clocks: float) -> float:
        return choose_reference(known, boot=boot, steady=steady, **clocks).read(steady)

    assert read(system=7_000.0) == 7_000.0
    assert read(system=1_400.0) == 5_000.0
    assert read(system=1_400.0, newest=6_000.0) == 6_000.0


def test_without_a_stored_reference_the_journal_keeps_the_time_from_going_back() -> None:
    assert choose_reference(None, boot="first", steady=3.0, system=1_400.0, newest=5_000.0).read(4.0) == 5_001.0
    assert choose_reference(None, boot="first", steady=3.0, system=6_000.0, newest=5_000.0).read(4.0) == 6_001.0


def test_people_are_told_by_how_much_the_system_clock_differs() -> None:
    assert describe_difference(5_000.0, 5_030.0) == ""
    assert describe_difference(5_000.0, 8_600.0).startswith("the system's clock is 3600 s ahead of the time that rollouts use")
    assert describe_difference(5_000.0, 1_400.0).startswith("the system's clock is 3600 s behind the time")
