"""How much of the traffic a release can take, given how many of its Pods are ready. Pure.

A release that gets more traffic than its Pods can take fails although its model is sound. Argo Rollouts had this in issue 4612: a
rollback sent all traffic to a release that had been scaled down. Therefore a move that can wait goes only as far as the ready
Pods allow: no Pod gets more traffic than a Pod of the other release would carry with all of it. The rest follows in later rounds.

A move that cannot wait is not limited: a rollback because of the evidence, and a diversion from a release that answers nobody.
"""

from __future__ import annotations

from sluice.rollout.decisions.states import ALL_TRAFFIC


def limit_share(share: int, pods: int | None, others: int | None) -> int:
    """Return the largest share that a release can take now, at most `share`.

    Args:
        share: The share that it should get in the end, in per cent.
        pods: Its ready Pods; None if the platform does not count them. Then nothing is limited.
        others: The ready Pods of the release that takes the traffic now. With 0 it answers nobody, and nothing is limited.

    Returns:
        Whole per cents, rounded down. With it, a Pod gets at most as much traffic as a Pod of the other release would carry if
        that release had all the traffic.
    """
    if pods is None or not others or pods >= others:
        return share
    return min(share, ALL_TRAFFIC * pods // others)


def describe_shortage(share: int, pods: int | None, others: int | None, owner: str) -> str:
    """Return what a release waits for before it can take its share: "N-1's Pods (1 of 4 ready)"; empty if for nothing.

    Args:
        share: The share that it should get, in per cent.
        pods: Its ready Pods; None if the platform does not count them.
        others: The ready Pods of the release that takes the traffic now.
        owner: The release, in the genitive.
    """
    if limit_share(share, pods, others) >= share:
        return ""
    return f"{owner} Pods ({pods} of {others} ready)"
