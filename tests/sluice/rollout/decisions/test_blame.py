"""Whose fault a rejected request is."""

from __future__ import annotations

from sluice.rollout.decisions.blame import BlameCollector, Rejections
from sluice.rollout.decisions.evidence import Counts

A, B = "sha256:a", "sha256:b"


def test_the_canary_is_blamed_for_the_share_of_its_rejections_that_stable_accepts() -> None:
    assert Rejections(rejected=100, asked=8, accepted=2).blamed == 25
    assert Rejections(rejected=100, asked=8, accepted=0).blamed == 0
    assert Rejections(rejected=100, asked=8, accepted=8).blamed == 100
    assert Rejections(rejected=1, asked=1, accepted=1).blamed == 1
    assert Rejections(rejected=100).blamed == 0, "nobody could be asked"


def test_one_request_that_stable_accepts_counts_even_among_many() -> None:
    assert Rejections(rejected=8, asked=8, accepted=1).blamed == 1


def test_blamed_rejections_are_requests_and_errors_of_the_canary_only() -> None:
    blame = BlameCollector()
    blame.add("r", B, Rejections(rejected=10, asked=4, accepted=4))
    counts = {A: Counts(100, 1, rejected=3), B: Counts(20, 0, rejected=10)}
    assert blame.add_to_counts(counts) == {A: Counts(100, 1, rejected=3), B: Counts(30, 10, rejected=10)}
    assert blame.add_to_counts(None) is None


def test_a_release_is_blamed_for_no_more_rejections_than_came_through_the_proxy() -> None:
    """A Pod that asks a server directly adds to what the server rejected, and not to what the proxy counted."""
    blame = BlameCollector()
    blame.add("r", B, Rejections(rejected=500, asked=8, accepted=8))
    assert blame.add_to_counts({B: Counts(20, 0, rejected=0)}) == {B: Counts(20, 0, rejected=0)}
    assert blame.add_to_counts({B: Counts(40, 0, rejected=3)}) == {B: Counts(43, 3, rejected=3)}


def test_blamed_rejections_never_fall_although_a_rollout_of_the_same_release_begins_again() -> None:
    blame = BlameCollector()
    blame.add("r", B, Rejections(rejected=10, asked=4, accepted=4))
    blame.add("another", B, Rejections())
    assert (blame.blamed[B], blame.decided) == (10, 0)


def test_rejections_about_which_nobody_could_be_asked_stop_a_canary_that_rejects_more_than_stable() -> None:
    blame = BlameCollector()
    blame.add("r", B, Rejections(rejected=70))
    blame.add("r", B, Rejections(rejected=2, asked=2))
    problem = blame.describe_problem(Counts(240, 0, rejected=62), Counts(1000, 0, rejected=2))
    assert "the canary rejected 62 of 302 requests, stable 2 of 1002" in problem
    assert "could not be asked about 60 of them" in problem
    assert "does not advance" in problem


def test_rejections_about_which_nobody_could_be_asked_do_not_stop_a_canary_that_rejects_no_more_than_stable() -> None:
    blame = BlameCollector()
    blame.add("r", B, Rejections(rejected=15))
    assert not blame.describe_problem(Counts(300, 0, rejected=15), Counts(1000, 0, rejected=50))


def test_rejections_that_stable_was_asked_about_do_not_stop_a_canary() -> None:
    blame = BlameCollector()
    blame.add("r", B, Rejections(rejected=300, asked=8))
    assert not blame.describe_problem(Counts(100, 0, rejected=300), Counts(1000))
