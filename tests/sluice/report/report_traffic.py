"""Simulated rollouts: requests through a proxy, samples as the supervisor takes them, and the decisions of the rollout."""

from __future__ import annotations

import hashlib
import math
import random
from typing import Any

RATIOS = (3, 5, 10, 20, 50)


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


class Traffic:
    """Simulated requests through a proxy, with a sample every tenth of a second."""

    def __init__(self, start: float, rates: dict[str, float], *, seed: int, per_second: float = 80.0, every: float = 0.1) -> None:
        self.time, self.every, self.per_second = start, every, per_second
        self.rates = rates
        self.random = random.Random(seed)  # noqa: S311 - a simulation needs no secure random numbers
        self.counts = {digest: [0, 0] for digest in rates}
        self.terms = dict.fromkeys(RATIOS, 0.0)
        self.samples: list[dict[str, Any]] = []

    @property
    def e_value(self) -> float:
        return sum(math.exp(term) for term in self.terms.values()) / len(RATIOS)

    def evidence(self, stable: str, canary: str) -> dict[str, Any]:
        counts = {
            f"{arm}_{name}": self.counts[digest][place]
            for arm, digest in (("canary", canary), ("stable", stable))
            for place, name in enumerate(("requests", "errors"))
        }
        return counts | {"e_value": self.e_value, "looked": 60, "next_look": 90}

    def run(self, seconds: float, weights: dict[str, int], canary: str) -> None:
        share = weights.get(canary, 0) / 100
        for _ in range(round(seconds / self.every)):
            for _ in range(self.random.choice((0, 1, 2)) + round(self.per_second * self.every) - 1):
                arm = self.random.choices(list(weights), list(weights.values()))[0]
                failed = self.random.random() < self.rates[arm]
                self.counts[arm][0] += 1
                self.counts[arm][1] += failed
                if failed and 0 < share < 1:
                    for ratio in RATIOS:
                        odds = ratio * share / (ratio * share + 1 - share)
                        self.terms[ratio] += math.log(odds / share if arm == canary else (1 - odds) / (1 - share))
            self.time += self.every
            arms = {
                digest: {"requests": requests, "errors": errors, "p50_ms": 11.0, "p99_ms": round(self.random.gauss(31, 3), 2)}
                for digest, (requests, errors) in self.counts.items()
            }
            self.samples.append(
                {"time": self.time, "weights": dict(weights), "arms": arms, "e_value": self.e_value, "upper_bound": 0.04}
            )
            if self.e_value >= 100 and share < 1:
                return


def transition(time: float, before: str, after: str, reason: str, weights: dict[str, int], **fields: object) -> dict[str, Any]:
    return {
        "time": time,
        "from": before,
        "to": after,
        "reason": reason,
        "weights": weights,
        "decided_at": time,
        "applied_at": time,
    } | fields


def rollout(old: int, new: int, *, start: float, broken: bool) -> dict[str, Any]:
    """Simulate a canary that goes through 5, 25 and 100 %, or, if it is broken, is rolled back because of the evidence."""
    stable, canary = digest_of(f"layer {old}"), digest_of(f"layer {new}")
    traffic = Traffic(start, {stable: 0.0, canary: 0.25 if broken else 0.0}, seed=new)
    traffic.run(4, {stable: 100, canary: 0}, canary)
    moves = [
        transition(start, "awaiting_ready", "awaiting_approval", "The canary is ready.", {stable: 100, canary: 0}, release=canary)
    ]
    state = "awaiting_approval"
    for step, (share, seconds) in enumerate(((5, 16), (25, 9), (100, 8)), start=1):
        weights = {stable: 100 - share, canary: share}
        reason = (
            "Approved by release-manager."
            if step == 1
            else "e < 100, and the upper bound of the excess error rate is within 5 points."
        )
        evidence = traffic.evidence(stable, canary) | {"upper_bound": 0.031}
        after = "baking" if share == 100 else f"step-{step}"
        moves.append(transition(traffic.time, state, after, reason, weights, evidence=evidence, release=canary))
        state = after
        traffic.run(seconds, weights, canary)
        if traffic.e_value >= 100:
            break
    numbers: dict[str, Any] = {
        "evidence_threshold": 100.0,
        "stable_errors": traffic.counts[stable][1],
        "canary_errors": traffic.counts[canary][1],
        "canary_requests": traffic.counts[canary][0],
    }
    if broken:
        decided = traffic.time
        traffic.time += 0.118
        moves.append(
            transition(
                decided,
                state,
                "rolled_back",
                f"e = {traffic.e_value:.0f} ≥ 100: the canary fails more often than stable.",
                {stable: 100, canary: 0},
                evidence=traffic.evidence(stable, canary),
                applied_at=traffic.time,
                release=canary,
            )
        )
        numbers |= {"decision_to_zero_seconds": 0.118, "decided_at": decided}
        traffic.terms = dict.fromkeys(RATIOS, -1e9)
        level = traffic.samples[-1]["e_value"]
        traffic.run(4, {stable: 100, canary: 0}, canary)
        for sample in traffic.samples[-40:]:
            sample["e_value"] = level
    else:
        moves.append(
            transition(traffic.time, state, "promoted", "Baked without a reason to go back.", {canary: 100}, release=canary)
        )
        traffic.run(2, {stable: 0, canary: 100}, canary)
    return {
        "outcome": "rolled_back" if broken else "promoted",
        "started": start,
        "ended": traffic.time,
        "transitions": moves,
        "samples": traffic.samples,
        "numbers": numbers,
    }


def first_live(start: float) -> dict[str, Any]:
    only = digest_of("layer 1")
    traffic = Traffic(start + 40, {only: 0.0}, seed=1)
    traffic.run(6, {only: 100}, "")
    reason = "first release, approved by release-manager: there is nothing to compare it with"
    moves = [transition(start + 40, "awaiting_approval", "promoted", reason, {only: 100}, release=only)]
    numbers = {"evidence_threshold": 100.0, "stable_errors": 0}
    return {
        "outcome": "promoted",
        "started": start + 40,
        "ended": start + 46,
        "transitions": moves,
        "samples": traffic.samples,
        "numbers": numbers,
    }


def back_by_hand(start: float) -> dict[str, Any]:
    now, before = digest_of("layer 2"), digest_of("layer 1")
    traffic = Traffic(start, {now: 0.0, before: 0.0}, seed=9)
    traffic.run(4, {now: 100, before: 0}, "")
    moment = traffic.time
    traffic.run(6, {now: 0, before: 100}, "")
    moves = [
        transition(
            moment, "idle", "rolled_back", "release-manager ordered a rollback to N-1.", {before: 100, now: 0}, release=now
        )
    ]
    moves[0] |= {"decided_at": moment - 0.086, "word_of": "release-manager"}
    numbers = {"seconds": 0.086}
    return {
        "outcome": "rolled_back",
        "started": start,
        "ended": traffic.time,
        "transitions": moves,
        "samples": traffic.samples,
        "numbers": numbers,
    }
