"""Simulate or measure every figure about the statistics that the documentation quotes.

Run ``python -m benchmarks.statistics`` in the project's root. Name sections to run only those. ``--scale 0.1`` is a quick run.
All draws are seeded. Times depend on the machine; set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import math
import time
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2, norm

from benchmarks.costs.auc import show_auc_costs
from benchmarks.costs.drift_streams import show_drift
from benchmarks.costs.overlaps import show_overlap_costs
from sluice.statistics.auc import AucDifference, compare_auc, estimate_auc
from sluice.statistics.proportions import upper_bound_difference
from sluice.statistics.psi import build_numeric_reference, estimate_psi
from sluice.statistics.sequential import add_block, start_evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluice.statistics.sequential import ErrorEvidence

Floats: TypeAlias = NDArray[np.float64]

ROOT_TWO = math.sqrt(2)
POSITIVES, SLICE = 0.2, 0.80
MARGIN, ALPHA, BUDGET = 0.005, 0.05, 52
ROLLBACK_E_VALUE = 100.0
BLOCK = 100  # requests of one second
GATE_RULES: dict[str, Callable[[AucDifference], bool]] = {
    "d > .005": lambda d: d.difference > MARGIN,
    "Ladder, parameter-free": lambda d: d.difference > d.standard_error,
    "d > .005 and LCB(95 %) > 0": lambda d: d.difference > MARGIN and d.lower_bound(ALPHA) > 0,
    "d > .005 and LCB(.05/52) > 0": lambda d: d.difference > MARGIN and d.lower_bound(ALPHA / BUDGET) > 0,
}


class Rows:
    """Gate rows of two classes as overlapping normal distributions.

    Within a class, the scores of any two models are correlated.
    """

    def __init__(self, rng: np.random.Generator, rows: int, *, correlation: float = 0.9) -> None:
        """Draw the rows, and the part of the scores that all models share."""
        self.rng, self.own = rng, math.sqrt(1 - correlation)
        self.labels = np.arange(rows) < POSITIVES * rows
        self.common = math.sqrt(correlation) * rng.normal(size=rows)

    def score(self, auc: float) -> Floats:
        """Return the scores, shape (rows,), of another model with this true AUC."""
        own: Floats = self.own * self.rng.normal(size=self.labels.size)
        return self.common + own + ROOT_TWO * norm.ppf(auc) * self.labels


def show_gates(scale: float) -> Table:
    """Simulate a year of weekly gates.

    Every challenger equals the champion. At the end of the year, there is a challenger that is 0.010 better.
    """
    table = Table("rule", title="A year of 52 gates: P(>= 1 false promotion) / power for +.010")
    columns = []
    for rows, years in ((1_000, 600), (5_000, 200), (10_000, 120), (50_000, 20)):
        table.add_column(f"{rows:,} rows", justify="right")
        columns.append(simulate_gates(rows, max(4, round(years * scale))))
    for rule in GATE_RULES:
        table.add_row(rule, *(f"{false[rule]:.2f} / {power[rule]:.2f}" for false, power in columns))
    return table


def simulate_gates(rows: int, years: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return for each rule the probability of a false promotion in a year, and of promoting a better model at its end.

    A promoted challenger is the champion from then on. A rule that promotes a lucky model therefore also rejects better ones.
    """
    rng = np.random.default_rng(rows)
    false, power = dict.fromkeys(GATE_RULES, 0), dict.fromkeys(GATE_RULES, 0)
    for _ in range(years):
        sample = Rows(rng, rows)
        equal = [sample.score(0.85) for _ in range(BUDGET + 1)]
        better = [sample.score(0.86) for _ in range(4)]
        first = [compare_auc(sample.labels, equal[0], challenger) for challenger in equal[1:]]
        for name, rule in GATE_RULES.items():
            champion = equal[0]
            for challenger, compared in zip(equal[1:], first, strict=True):
                if rule(compared if champion is equal[0] else compare_auc(sample.labels, champion, challenger)):
                    champion = challenger
            false[name] += champion is not equal[0]
            power[name] += sum(rule(compare_auc(sample.labels, champion, challenger)) for challenger in better)
    return {name: n / years for name, n in false.items()}, {name: n / years / 4 for name, n in power.items()}


def show_gate_rows(scale: float) -> Table:
    """Show the rows that a one-sided 95 % bound needs to resolve +0.005, and the rows for a power of 80 %."""
    table = Table(
        "correlation", "rows to resolve +.005", "rows for 80 % power", title="Gate rows needed, AUC .85, 20 % positives"
    )
    rng = np.random.default_rng(2)
    for correlation in (0.8, 0.9, 0.95):
        variances = []
        for _ in range(max(3, round(20 * scale))):
            sample = Rows(rng, 20_000, correlation=correlation)
            compared = compare_auc(sample.labels, sample.score(0.85), sample.score(0.85))
            variances.append(compared.standard_error**2 * 20_000)
        per_row = float(np.mean(variances)) / MARGIN**2
        z, power = float(norm.ppf(0.95)), float(norm.ppf(0.8))
        table.add_row(f"{correlation}", f"{z**2 * per_row:,.0f}", f"{(z + power) ** 2 * per_row:,.0f}")
    return table


def show_slices(scale: float) -> Table:
    """Show the coverage of 95 % intervals on small slices, and how often the estimate of a good slice is below its threshold."""
    table = Table(
        "rows", "Wald covers", "logit-DeLong covers", "P(AUC < .74)", title="Small slices, true AUC .80, 20 % positives"
    )
    rng = np.random.default_rng(3)
    for rows in (30, 100, 500):
        labels = np.arange(rows) < POSITIVES * rows
        shift = ROOT_TWO * norm.ppf(SLICE) * labels
        estimates = [estimate_auc(labels, rng.normal(size=rows) + shift) for _ in range(max(500, round(20_000 * scale)))]
        reach = float(norm.ppf(0.975))
        wald = np.mean([bool(abs(one.auc - SLICE) <= reach * one.standard_error) for one in estimates])
        logit = np.mean([one.interval.low <= SLICE <= one.interval.high for one in estimates])
        below = np.mean([one.auc < 0.74 for one in estimates])  # noqa: PLR2004 - the threshold of the example's slice
        table.add_row(f"{rows}", f"{wald:.3f}", f"{logit:.3f}", f"{below:.0%}")
    return table


def show_attack(scale: float) -> Table:
    """Show that exact AUCs allow overfitting to a holdout, and that the gate's single bit does not."""
    del scale
    table = Table(
        "what is shown", "queries", "AUC on the holdout", "true AUC", title="Overfitting to a holdout of 1,000 rows from .850"
    )
    for name, queries, one_bit in (("exact AUC", 400, False), ("exact AUC", BUDGET, False), ("the gate's one bit", BUDGET, True)):
        seen, true = np.mean([climb_holdout(np.random.default_rng(seed), queries, one_bit=one_bit) for seed in range(10)], axis=0)
        table.add_row(name, f"{queries}", f"{seen:.3f}", f"{true:.3f}")
    return table


def climb_holdout(rng: np.random.Generator, queries: int, *, one_bit: bool) -> tuple[float, float]:
    """Keep each random change that the answer favours.

    Returns:
        The AUC on the 1,000 rows that give the answers, and the AUC on 20,000 other rows.
    """
    labels = np.arange(21_000) % 5 == 0
    scores = rng.normal(size=labels.size) + ROOT_TWO * norm.ppf(0.85) * labels
    shown = slice(0, 1_000)
    best = estimate_auc(labels[shown], scores[shown]).auc
    for _ in range(queries):
        changed = scores + 0.15 * rng.normal(size=scores.size)
        if one_bit:
            kept = GATE_RULES["d > .005 and LCB(.05/52) > 0"](compare_auc(labels[shown], scores[shown], changed[shown]))
        else:
            auc = estimate_auc(labels[shown], changed[shown]).auc
            kept, best = auc > best, max(auc, best)
        scores = changed if kept else scores
    return estimate_auc(labels[shown], scores[shown]).auc, estimate_auc(labels[1_000:], scores[1_000:]).auc


def show_rollbacks(scale: float) -> Table:
    """Show how fast the e-process finds a broken canary, and how often it rolls back one that is no worse."""
    table = Table("rule", "mean", "p95", "false", "shared", title="Canary requests to rollback (5 % share, 0.1 % -> 2 %)")
    settings = {
        "e-process": start_evidence(),
        "tolerated ratio 1.5": start_evidence(tolerated_ratio=1.5),
        "tolerated excess .2 points": start_evidence(tolerated_excess=0.002),
    }
    rollouts = max(200, round(1_500 * scale))
    for name, start in settings.items():
        rng = np.random.default_rng(4)
        needed = [roll_back(rng, start, canary=0.02, stable=0.001) for _ in range(rollouts)]
        found = [requests for requests in needed if requests is not None]
        false = np.mean([roll_back(rng, start, canary=0.001, stable=0.001) is not None for _ in range(rollouts)])
        shared = np.mean(
            [roll_back(rng, start, canary=0.02, stable=0.02, max_requests=10_000) is not None for _ in range(rollouts)]
        )
        table.add_row(name, f"{np.mean(found):.0f}", f"{np.quantile(found, 0.95):.0f}", f"{false:.2%}", f"{shared:.2%}")
    false = np.mean([roll_through_steps(np.random.default_rng(seed)) for seed in range(rollouts)])
    table.add_row("5 -> 25 -> 95 % as one", "", "", f"{false:.2%}", "")
    return table


def roll_back(
    rng: np.random.Generator, start: ErrorEvidence, *, canary: float, stable: float, max_requests: int = 200_000
) -> int | None:
    """Return the canary's requests until it is rolled back; None if that does not happen within `max_requests` requests."""
    evidence = add_blocks(rng, start, canary=canary, stable=stable, share=0.05, max_requests=max_requests)
    return evidence.canary_requests if evidence.e_value >= ROLLBACK_E_VALUE else None


def roll_through_steps(rng: np.random.Generator) -> bool:
    """Return whether a healthy canary is rolled back on its way through all steps."""
    evidence = start_evidence()
    for share in (0.05, 0.25, 0.95):
        evidence = add_blocks(rng, evidence, canary=0.001, stable=0.001, share=share, max_requests=60_000)
    return evidence.e_value >= ROLLBACK_E_VALUE


def add_blocks(
    rng: np.random.Generator, evidence: ErrorEvidence, *, canary: float, stable: float, share: float, max_requests: int
) -> ErrorEvidence:
    """Return the evidence at the rollback or after `max_requests` requests, in blocks of 100 requests."""
    blocks = max_requests // BLOCK
    sent = rng.binomial(BLOCK, share, blocks)
    failed = rng.binomial(sent, canary), rng.binomial(BLOCK - sent, stable)
    for requests, *errors in zip(sent.tolist(), failed[0].tolist(), failed[1].tolist(), strict=True):
        evidence = add_counts(evidence, requests, errors[0], BLOCK - requests, errors[1], share)
        if evidence.e_value >= ROLLBACK_E_VALUE:
            break
    return evidence


def add_counts(evidence: ErrorEvidence, canary: int, failed: int, stable: int, others: int, share: float) -> ErrorEvidence:
    """Add one block."""
    return add_block(
        evidence, canary_requests=canary, canary_errors=failed, stable_requests=stable, stable_errors=others, share=share
    )


def show_bursts(scale: float) -> Table:
    """Show false rollbacks if errors come in bursts of one release, if each error counts and if each block counts once."""
    table = Table(
        "sizes of bursts", "each error counts", "each block counts", title="False rollbacks of a healthy canary over 60 bursts"
    )
    sizes: dict[str, Callable[[np.random.Generator], int]] = {
        "always 3": lambda _: 3,
        "geometric, mean 3": lambda rng: int(rng.geometric(1 / 3)),
        "geometric, mean 5": lambda rng: int(rng.geometric(1 / 5)),
        "geometric, mean 10": lambda rng: int(rng.geometric(1 / 10)),
    }
    rollouts = max(200, round(3_000 * scale))
    for name, draw in sizes.items():
        rates = []
        for in_one_block in (False, True):
            rng = np.random.default_rng(5)
            found = [is_rolled_back_after_bursts(rng, draw, in_one_block=in_one_block) for _ in range(rollouts)]
            rates.append(np.mean(found))
        table.add_row(name, *(f"{rate:.1%}" for rate in rates))
    return table


def is_rolled_back_after_bursts(
    rng: np.random.Generator, draw: Callable[[np.random.Generator], int], *, in_one_block: bool
) -> bool:
    """Return whether a healthy canary at 5 % is rolled back within 60 bursts."""
    evidence = start_evidence()
    for _ in range(60):
        size, hit = draw(rng), rng.random() < 0.05  # noqa: PLR2004 - the canary's share
        for errors in [size] if in_one_block else [1] * size:
            canary, stable = (errors, 0) if hit else (0, errors)
            evidence = add_counts(evidence, 50 + canary, canary, 950 + stable, stable, 0.05)
        if evidence.e_value >= ROLLBACK_E_VALUE:
            return True
    return False


def show_promotions(scale: float) -> Table:
    """Show how a canary advances: interim looks after 300, 450, 675, ... canary requests, with a margin of 1 percentage point."""
    table = Table(
        "canary's rate", "passes", "mean canary requests", title="Advancing (5 % share, stable at 0.1 %, margin 1 point)"
    )
    for rate in (0.001, 0.02):
        rng = np.random.default_rng(6)
        ends = [requests_until_advance(rng, rate) for _ in range(max(200, round(5_000 * scale)))]
        passed = [requests for requests in ends if requests is not None]
        table.add_row(f"{rate:.1%}", f"{len(passed) / len(ends):.1%}", f"{np.mean(passed):.0f}" if passed else "")
    for requests in (60, 300):
        table.add_row("bound at 0 errors", f"{upper_bound_difference(0, requests, 0, 19 * requests):.3%}", f"{requests}")
    return table


def requests_until_advance(rng: np.random.Generator, rate: float) -> int | None:
    """Return the canary's requests at the interim look that passes; None if the canary is rolled back first or never passes."""
    evidence, look = start_evidence(), 300
    while look < 20_000:  # noqa: PLR2004 - far more requests than any decision needs
        for _ in range((look - evidence.canary_requests) // 5):
            failed, others = int(rng.binomial(5, rate)), int(rng.binomial(95, 0.001))
            evidence = add_counts(evidence, 5, failed, 95, others, 0.05)
            if evidence.e_value >= ROLLBACK_E_VALUE:
                return None
        counts = evidence.canary_errors, evidence.canary_requests, evidence.stable_errors, evidence.stable_requests
        if upper_bound_difference(*counts) <= 0.01:  # noqa: PLR2004 - the default margin
            return look
        look = math.ceil(look * 1.5)
    return None


def show_psi(scale: float) -> Table:
    """Compare the false alarms of the customary PSI > 0.2 without drift with those of the p-value."""
    columns = ("rows", "bins", "PSI > 0.2 by theory", "simulated", "p < .01")
    table = Table(*columns, title="False alarms of PSI without drift, as many rows at training")
    for rows, bins in ((50, 10), (100, 10), (200, 10), (200, 20), (500, 10)):
        rng = np.random.default_rng(7)
        draws = max(200, round(4_000 * scale))
        estimates = [
            estimate_psi(build_numeric_reference(rng.normal(size=rows), bins=bins), rng.normal(size=rows)) for _ in range(draws)
        ]
        theory = chi2.sf(0.2 * rows / 2, bins - 1)
        fired = np.mean([one.psi > 0.2 for one in estimates])  # noqa: PLR2004 - the customary limit
        alarmed = np.mean([one.p_value < 0.01 for one in estimates])  # noqa: PLR2004 - the level that fires
        table.add_row(f"{rows}", f"{bins}", f"{theory:.1%}", f"{fired:.1%}", f"{alarmed:.1%}")
    return table


def show_shifts(scale: float) -> Table:
    """Show the index of a shifted normal distribution, and so what an index of 0.2 means."""
    del scale
    table = Table("shift in standard deviations", "PSI", title="PSI of a shifted normal, 10 bins")
    grid = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    reference = build_numeric_reference(grid)
    for shift in (0.2, 0.3, 0.4, 0.45, 0.6, 0.8):
        table.add_row(f"{shift}", f"{estimate_psi(reference, grid + shift).psi:.3f}")
    return table


def show_times(scale: float) -> Table:
    """Show the best time of three runs."""
    table = Table("rows", "estimate_auc", "compare_auc", "estimate_psi", title="Time, one thread")
    rng = np.random.default_rng(8)
    for rows in (10_000, 100_000, round(1_000_000 * min(1.0, max(scale, 0.2)))):
        sample = Rows(rng, rows)
        a, b = sample.score(0.85), sample.score(0.85)
        reference = build_numeric_reference(a)
        calls: Sequence[Callable[[], object]] = (
            partial(estimate_auc, sample.labels, a),
            partial(compare_auc, sample.labels, a, b),
            partial(estimate_psi, reference, b),
        )
        table.add_row(f"{rows:,}", *(f"{1000 * min(measure(call) for _ in range(3)):.1f} ms" for call in calls))
    return table


def measure(call: Callable[[], object]) -> float:
    """Return the time of one call in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


SECTIONS: dict[str, Callable[[float], Table]] = {
    "gates": show_gates,
    "gate-rows": show_gate_rows,
    "slices": show_slices,
    "attack": show_attack,
    "rollbacks": show_rollbacks,
    "bursts": show_bursts,
    "promotions": show_promotions,
    "psi": show_psi,
    "shifts": show_shifts,
    "drift": show_drift,
    "auc": show_auc_costs,
    "overlap": show_overlap_costs,
    "times": show_times,
}


def main() -> None:
    """Print the named sections, or all of them."""
    parser = argparse.ArgumentParser(description="Simulate or measure the figures about the statistics.")
    parser.add_argument("sections", nargs="*", metavar="section", help=f"one of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the number of draws; 0.1 is a quick run")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.sections) - set(SECTIONS))
    if unknown:
        parser.error(f"there is no section {unknown[0]!r}: the sections are {', '.join(SECTIONS)}")
    console = Console()
    for name in arguments.sections or SECTIONS:
        start = time.perf_counter()
        console.print(SECTIONS[name](arguments.scale))
        console.print(f"{name}: {time.perf_counter() - start:.0f} s\n", style="dim")


if __name__ == "__main__":
    main()
