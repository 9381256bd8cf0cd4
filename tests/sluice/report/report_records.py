"""Records of an invented story in five acts. They have the shape of real ones: simulated traffic, curves of simulated scores.

The simulation takes about 80 ms, so it runs once. Each caller gets its own copy of a record and may change it.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from datetime import UTC, datetime
from functools import cache
from typing import Any

from report_traffic import back_by_hand, digest_of, first_live, rollout

from sluice.report.record_reader import parse_run
from sluice.report.results import Act, Fact, Release, Report

BEGIN = 1_772_460_000.0
"""Start of the first act, in seconds since the epoch."""

GENERATED = datetime(2026, 3, 2, 14, 10, 9, tzinfo=UTC)
"""When the reports of the tests were made."""


def verdict(check: str, outcome: str = "pass", **fields: object) -> dict[str, Any]:
    return {"check": check, "outcome": outcome, **fields}


def interval(low: float, high: float, method: str = "logit-DeLong", level: float = 0.95) -> dict[str, Any]:
    return {"low": low, "high": high, "level": level, "method": method}


def code_layer(seconds: float = 3.9) -> dict[str, Any]:
    names = (
        "cyclical_encode_shape",
        "cyclical_encode_names",
        "hour_0_equals_hour_24",
        "encoding_stays_in_the_unit_circle",
        "frequencies_sum_to_one",
        "frequency_encode_has_no_nan",
        "unseen_category_is_zero",
        "days_since_reference_is_whole",
        "loader_schema",
        "customer_ids_are_unique",
    )
    verdicts = [verdict(name, detail=f"{name.replace('_', ' ').capitalize()}.") for name in names]
    return {"layer": "code", "outcome": "pass", "seconds": seconds, "verdicts": verdicts}


def data_layer(*, broken: bool = False) -> dict[str, Any]:
    spend = {"threshold": 400.0, "comparison": "<=", "rows": 20000}
    verdicts = [
        verdict("customer_id_not_null", observed=0.0, threshold=0.0, comparison="==", rows=20000, detail="Nulls in customer_id."),
        verdict("customer_id_unique", observed=20000.0, threshold=20000.0, comparison="==", rows=20000),
        verdict(
            "monthly_spend_mean",
            "fail" if broken else "pass",
            observed=7412.6 if broken else 73.4,
            detail="Mean of monthly_spend must lie in 20 to 400: it looks as if it were in cents."
            if broken
            else "Mean of monthly_spend.",
            **spend,
        ),
        verdict("contract_type_in_set", detail="All of monthly, annual, multi-year."),
        verdict("tenure_null_rate", observed=0.031, threshold=0.1, comparison="<=", rows=20000),
        verdict("row_count", observed=20000.0, threshold=5000.0, comparison=">=", rows=20000),
    ]
    return {"layer": "data", "outcome": "fail" if broken else "pass", "seconds": 4.6, "verdicts": verdicts}


def model_layer(auc: float = 0.846) -> dict[str, Any]:
    verdicts = [
        verdict(
            "auc_overall", observed=auc, interval=interval(auc - 0.019, auc + 0.017), threshold=0.8, comparison=">=", rows=2511
        ),
        verdict(
            "auc_enterprise",
            observed=0.781,
            interval=interval(0.702, 0.842),
            threshold=0.74,
            comparison=">=",
            rows=203,
            unproven=True,
            detail="Above the threshold, but the interval reaches below it.",
        ),
        verdict(
            "contract_effect",
            observed=0.964,
            interval=interval(0.955, 0.971, "Wilson"),
            threshold=0.9,
            comparison=">",
            rows=1702,
            detail="Share of rows where monthly → annual lowers the probability of churn.",
        ),
        verdict(
            "auc_new_customers",
            "inconclusive",
            rows=21,
            detail="21 rows, at least 30 are needed.",
            allowed="few in spring",
        ),
        verdict(
            "coverage",
            observed=1.0,
            threshold=1.0,
            comparison="==",
            rows=2511,
            detail="A finite probability in [0, 1] for every row.",
        ),
    ]
    return {"layer": "model", "outcome": "inconclusive", "seconds": 2.8, "verdicts": verdicts}


def integration_layer() -> dict[str, Any]:
    names = ("golden_rows_equal", "batch_of_256", "unknown_category", "nulls", "malformed_is_400", "parity_with_training")
    return {"layer": "integration", "outcome": "pass", "seconds": 9.7, "verdicts": [verdict(name) for name in names]}


def curve(auc: float, seed: int) -> dict[str, Any]:
    """Return ROC and calibration of simulated scores with about this AUC."""
    source = random.Random(seed)  # noqa: S311 - a simulation needs no secure random numbers
    shift = 2.0 * (auc - 0.5) * 2.05
    rows = []
    for _ in range(2500):
        label = source.random() < 0.22
        score = 1 / (1 + math.exp(-(source.gauss(shift if label else 0.0, 1.2) - 2.0)))
        rows.append((score, label))
    rows.sort(reverse=True)
    positives = sum(label for _, label in rows)
    hits = misses = 0
    fpr, tpr = [0.0], [0.0]
    for place, (_, label) in enumerate(rows):
        hits, misses = hits + label, misses + (not label)
        if place % 14 == 0:
            fpr.append(misses / (len(rows) - positives))
            tpr.append(hits / positives)
    bins = [rows[start : start + 250] for start in range(0, 2500, 250)][::-1]
    predicted = [sum(score for score, _ in part) / 250 for part in bins]
    observed = [sum(label for _, label in part) / 250 for part in bins]
    spread = [1.96 * math.sqrt(max(rate * (1 - rate), 0.002) / 250) for rate in observed]
    return {
        "roc": {"fpr": [*fpr, 1.0], "tpr": [*tpr, 1.0], "auc": auc, "interval": interval(auc - 0.018, auc + 0.016)},
        "calibration": {
            "predicted": predicted,
            "observed": observed,
            "low": [max(0.0, rate - half) for rate, half in zip(observed, spread, strict=True)],
            "high": [min(1.0, rate + half) for rate, half in zip(observed, spread, strict=True)],
            "rows": [250] * 10,
        },
    }


def gate(*, first: bool = False) -> dict[str, Any]:
    if first:
        judged = verdict("gate", detail="There is no champion to compare with.", rows=2489)
        return {"promote": True, "verdict": judged, "first": True, "unproven": True, "uses": 1, "budget": 52}
    judged = verdict(
        "gate", observed=0.0224, interval=interval(0.0131, 0.0317, "paired DeLong"), threshold=0.005, comparison=">", rows=2489
    )
    decided = {
        "first": False,
        "unproven": False,
        "difference": 0.0224,
        "lower_bound": 0.0077,
        "level": 0.99904,
        "uses": 2,
        "budget": 52,
    }
    return {"promote": True, "verdict": judged} | decided


def release(number: int, *, dirty: bool = False) -> dict[str, Any]:
    parent = digest_of(f"layer {number - 1}") if number > 1 else None
    return {
        "number": number,
        "digest": digest_of(f"layer {number}"),
        "image_digest": digest_of(f"image {number}"),
        "tags": [f"release-{number}"],
        "manifest": {
            "code": {"commit": hashlib.sha1(f"commit {number}".encode(), usedforsecurity=False).hexdigest(), "dirty": dirty},
            "snapshot": digest_of("snapshot"),
            "holdout": digest_of("holdout"),
            "lock": digest_of("lock"),
            "environment": {
                "python": "3.11.9",
                "machine": "x86_64",
                "libraries": {"numpy": "1.26.4", "pandas": "3.0.6", "scikit-learn": "1.9.1", "scipy": "1.17.1"},
            },
            "parameters": {"C": 1.0, "max_iter": 400},
            "gate": gate(first=number == 1),
            "parent": parent,
        },
    }


def steps(start: float, durations: dict[str, float], *, last: str = "pass", detail: str = "") -> list[dict[str, Any]]:
    finished, now = [], start
    details = {"pin-snapshot": "data/customers.parquet, sha256:51c0", "code-tests": "10 checks", "train": "20,000 rows in 1.1 s"}
    for name, seconds in durations.items():
        finished.append(
            {"name": name, "outcome": "pass", "started": now, "ended": now + seconds, "detail": details.get(name, "")}
        )
        now += seconds + 0.25
    finished[-1] |= {"outcome": last, "detail": detail}
    return finished


STEPS = {"pin-snapshot": 0.6, "code-tests": 4.4, "data-tests": 5.2, "train": 2.1, "model-tests": 3.4, "gate": 0.9}
REST = {"package": 1.0, "integration-tests": 10.4, "approval": 2.2, "canary": 41.0}


def run(number: int, start: float, **fields: object) -> dict[str, Any]:
    base = {
        "id": f"20260302-14{number:02d}11-9f3{number}",
        "pipeline": "release",
        "commit": hashlib.sha1(f"commit {number}".encode(), usedforsecurity=False).hexdigest(),
        "dirty": False,
        "message": "Add features",
        "started": start,
        "ended": start + 74.2,
        "outcome": "promoted",
        "reason": "",
        "steps": steps(start, STEPS | REST),
        "snapshot": {"digest": digest_of("snapshot"), "rows": 20000, "source": "data/customers.parquet"},
        "layers": [code_layer(), data_layer(), model_layer(), integration_layer()],
        "gate": gate(),
        "curves": {"challenger": curve(0.846, number), "champion": curve(0.824, number + 50)},
        "release": release(number),
        "rollout": None,
    }
    return base | fields


def story_run(place: int) -> dict[str, Any]:
    """Return a fresh copy of one act's run record; `place` counts from 0."""
    record: dict[str, Any] = json.loads(_simulated_records()[place])
    return record


def story_runs() -> list[dict[str, Any]]:
    """Return fresh copies of the run records of the five acts."""
    return [story_run(place) for place in range(len(ACTS))]


@cache
def _simulated_records() -> tuple[str, ...]:
    """Return the run records as JSON texts. Reading a text again is much faster than simulating the traffic again."""
    return tuple(json.dumps(record) for record in _simulate_runs())


def _simulate_runs() -> list[dict[str, Any]]:
    begin = BEGIN
    return [
        run(
            1,
            begin,
            message="First model: tenure, contract and spend",
            gate=gate(first=True),
            curves={"challenger": curve(0.824, 51), "champion": None},
            rollout=first_live(begin),
            ended=begin + 46,
            reason="release 1 is champion",
        ),
        run(
            2,
            begin + 90,
            message="Encode the hour as a circle",
            rollout=rollout(1, 2, start=begin + 125, broken=False),
            reason="release 2 is champion",
        ),
        run(
            3,
            begin + 190,
            message="Faster category lookup",
            dirty=True,
            outcome="rolled_back",
            reason="release 3 was rolled back: e = 131 ≥ 100: the canary fails more often than stable.",
            release=release(3, dirty=True),
            rollout=rollout(2, 3, start=begin + 225, broken=True),
            steps=steps(begin + 190, STEPS | REST | {"canary": 13.0}, last="fail", detail="release 3 was rolled back"),
            ended=begin + 238,
        ),
        run(
            4,
            begin + 260,
            message="Take the nightly export",
            outcome="failed",
            reason="data tests failed: monthly_spend_mean: Mean of monthly_spend must lie in 20 to 400.",
            layers=[code_layer(), data_layer(broken=True)],
            steps=steps(
                begin + 260,
                {"pin-snapshot": 0.6, "code-tests": 4.4, "data-tests": 5.2},
                last="fail",
                detail="data tests failed: monthly_spend_mean",
            ),
            gate=None,
            curves=None,
            release=None,
            ended=begin + 271,
        ),
        {
            "id": "20260302-140511-77aa",
            "started": begin + 280,
            "ended": begin + 290,
            "outcome": "restored",
            "reason": "N-1 has all traffic again",
            "rollout": back_by_hand(begin + 280),
        },
    ]


ACTS = (
    (
        "A first release gets live traffic",
        "promoted",
        "There is no champion to compare with, so it is promoted and marked as unproven.",
    ),
    (
        "A better challenger is promoted",
        "promoted",
        "It passes all four test layers and the gate, and then gets 5, 25 and 100 % of the live traffic.",
    ),
    (
        "A broken release is rolled back automatically",
        "rolled_back",
        "It passes every offline test and fails on rows that only production sends.",
    ),
    (
        "A broken snapshot is stopped",
        "failed",
        "monthly_spend arrives in cents. The data tests stop the run before anything is trained.",
    ),
    ("A person rolls back to N-1", "restored", "One command restores model and preprocessing together."),
)


def story() -> Report:
    """Return the whole story as a report."""
    acts = [
        Act(title=title, run=parse_run(raw), expected=expected, expectation=expectation)
        for (title, expected, expectation), raw in zip(ACTS, story_runs(), strict=True)
    ]
    return Report(
        title="From a commit to production, five times",
        generated=GENERATED,
        acts=tuple(acts),
        releases=tuple(
            Release.model_validate(release(number, dirty=number == 3) | {"tags": tags})
            for number, tags in ((1, ["release-1", "champion"]), (2, ["release-2", "previous"]), (3, ["release-3"]))
        ),
        facts=(Fact(label="Live traffic", value="82 requests/s", detail="all the time"),),
    )
