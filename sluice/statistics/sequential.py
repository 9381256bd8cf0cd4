"""Sequential evidence that a canary fails more often than stable: an e-process that is checked after every block of time.

If the canary is no worse than stable, an error comes from the canary with a probability of at most its share of the requests. A
block multiplies the evidence by a likelihood ratio: the probability under "the canary fails r times as often", divided by the
probability under "no worse". The evidence is the mean over several r (2x2 e-variables, Turner, Ly & Grünwald, arXiv 2106.02693;
conditioning as in Lindon & Malek, arXiv 2011.03567).

Errors often come in bursts: a connection breaks, and five requests fail together. Therefore a block counts as one error, which is
drawn at random from the errors of the block: its likelihood ratio is the mean over them. Under "no worse", the canary's share of
a block's errors has the canary's share of the requests as its mean, whatever the sizes of the bursts are, so the evidence stays
valid. (This is testing by betting on a bounded mean, Waudby-Smith & Ramdas, JRSS B 2024, arXiv 2010.09686.)

A burst may begin in one block and end in the next. If both blocks have errors of the canary, and at least `BURST_ERRORS` in all,
they may be one burst. `add_block` can then let both count as one block. It does so only where this makes the evidence smaller, so
a canary that is no worse never gets more evidence against it than without this rule.

By Ville's inequality, the evidence against a canary that is no worse ever reaches 100 with a probability of at most 1 %, no
matter how often it is checked. An incident that affects both releases alike does not change the evidence.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RATIOS = (3.0, 5.0, 10.0, 20.0, 50.0)
"""The ratios of the canary's error rate to stable's that the evidence looks for."""

SMALL_RATIOS = (1.5, 2.0)
"""Ratios that are looked for as well if an excess is tolerated, because the ratio to the tolerated rate is small then."""

MAX_ERROR_RATE = 0.999
"""Largest alternative for a rate. With an alternative of 1, one success would end all evidence."""

BURST_ERRORS = 3
"""With fewer errors in two successive blocks, both count. Two errors are common at a canary that fails independently in 2 %, so
joining them would find it later."""

_LARGEST_LOG = 690.0  # Its exponential is still a finite double, so that JSON can hold the e-value.


@dataclass(frozen=True, slots=True, kw_only=True)
class LastBlock:
    """The last block of an e-process. A burst may go on from it into the next block.

    Attributes:
        canary_requests: Requests of the canary in the block.
        canary_errors: Errors among them.
        stable_errors: Errors of stable.
        share: The probability that a request went to the canary.
        log_terms: The logarithms before the block.
    """

    canary_requests: int
    canary_errors: int
    stable_errors: int
    share: float
    log_terms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvidence:
    """The evidence of the errors so far against the canary.

    Attributes:
        log_terms: Logarithm of the likelihood ratio for each of `ratios`.
        ratios: The ratios of error rates that the evidence looks for.
        tolerated_ratio: Ratio of error rates that still counts as no worse, at least 1.
        tolerated_excess: What the canary's error rate may exceed that by and still count as no worse.
        burst: The logarithms are divided by it: the size of bursts that a comparison with a known rate allows for; 1 otherwise.
        canary_requests: Requests of the canary in all blocks.
        canary_errors: Errors among them.
        stable_requests: Requests of stable in all blocks.
        stable_errors: Errors among them.
        last: The last block, if a burst may go on from it into the next one; None otherwise.
    """

    log_terms: tuple[float, ...]
    ratios: tuple[float, ...]
    tolerated_ratio: float
    tolerated_excess: float = 0.0
    burst: float = 1.0
    canary_requests: int = 0
    canary_errors: int = 0
    stable_requests: int = 0
    stable_errors: int = 0
    last: LastBlock | None = None

    @property
    def log_e_value(self) -> float:
        """Natural logarithm of the e-value."""
        logs = [term / self.burst for term in self.log_terms]
        highest = max(logs)
        return highest + math.log(sum(math.exp(log - highest) for log in logs) / len(logs))

    @property
    def e_value(self) -> float:
        """The e-value, always finite. It starts at 1.

        A canary that is no worse reaches an e-value of e with a probability of at most 1 / e.
        """
        return math.exp(min(self.log_e_value, _LARGEST_LOG))


def start_evidence(
    *,
    tolerated_ratio: float = 1.0,
    tolerated_excess: float = 0.0,
    ratios: Sequence[float] = RATIOS,
    burst: float = 1.0,
) -> ErrorEvidence:
    """Return the evidence before the first request: an e-value of 1.

    Args:
        tolerated_ratio: Ratio of the canary's error rate to stable's that still counts as no worse, at least 1.
        tolerated_excess: Excess of the canary's error rate that still counts as no worse, in [0, 1). "No worse" means that the
            canary's rate is at most the tolerated ratio of stable's rate, plus this.
        ratios: Ratios to look for. Those that are tolerated are left out.
        burst: Size of bursts that `add_block_against_rate` allows for. A burst of this size counts as one error.

    Raises:
        ValueError: A setting is out of its range, or every ratio is tolerated.
    """
    values = tuple(float(ratio) for ratio in ratios if not ratio <= tolerated_ratio)
    _check_settings(tolerated_ratio, tolerated_excess, values, burst)
    return ErrorEvidence(
        log_terms=(0.0,) * len(values),
        ratios=values,
        tolerated_ratio=float(tolerated_ratio),
        tolerated_excess=float(tolerated_excess),
        burst=float(burst),
    )


def add_block(
    evidence: ErrorEvidence,
    *,
    canary_requests: int,
    canary_errors: int,
    stable_requests: int,
    stable_errors: int,
    share: float,
    joins_bursts: bool = False,
) -> ErrorEvidence:
    """Return the evidence after one more block: the requests of one span of time that is longer than a burst of errors.

    With c and s errors of the canary and of stable, n requests of the canary, the odds o of a request to go to the canary, the
    tolerated ratio t and the tolerated excess d, the block multiplies the term of the ratio r by::

        1 + (r/t - 1) / (1 + r/t * (t*o + d*n)) * (c - t*o*s - d*n) / max(1, c + s)

    The mean of this factor is at most 1 if the canary's error rate is at most t times stable's plus d, for any distribution of
    the sizes of the bursts, provided that both releases have the same one and that no burst crosses the border of a block. For a
    block with one error and d = 0, the factor is the likelihood ratio of that error. With d > 0 this holds for small rates: at
    rates of up to 5 % and d of up to 2 %, the mean exceeds 1 by less than 0.0001, and only in blocks of one or two requests.

    Args:
        evidence: The evidence so far.
        canary_requests: The canary's requests in the block.
        canary_errors: Errors among them.
        stable_requests: Stable's requests in the block.
        stable_errors: Errors among them.
        share: The probability, in [0, 1], that a request goes to the canary. With 0 or 1 there is nothing to compare, and the
            e-value does not change.
        joins_bursts: Whether this block and the one before count as one block if they may hold one burst of the canary. A block
            is joined with at most one other, so it must be at least as long as a burst.

    Raises:
        ValueError: A count is negative, there are more errors than requests, or the share lies outside [0, 1].
    """
    for name, errors, requests in (("canary", canary_errors, canary_requests), ("stable", stable_errors, stable_requests)):
        if not 0 <= errors <= requests:
            raise ValueError(f"the counts of {name} must satisfy 0 <= {errors} errors <= {requests} requests")
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie between 0 and 1, not {share}")
    block = LastBlock(
        canary_requests=canary_requests,
        canary_errors=canary_errors,
        stable_errors=stable_errors,
        share=share,
        log_terms=evidence.log_terms,
    )
    log_terms = _multiply(evidence, block)
    last = block if joins_bursts else None
    if last is not None and (joined := _join(evidence.last, block)) is not None:
        log_terms = tuple(map(min, log_terms, _multiply(evidence, joined)))
        last = None  # a burst that is no longer than a block ends in its second block
    return dataclasses.replace(
        evidence,
        log_terms=log_terms,
        canary_requests=evidence.canary_requests + canary_requests,
        canary_errors=evidence.canary_errors + canary_errors,
        stable_requests=evidence.stable_requests + stable_requests,
        stable_errors=evidence.stable_errors + stable_errors,
        last=last,
    )


def _multiply(evidence: ErrorEvidence, block: LastBlock) -> tuple[float, ...]:
    """Return the logarithms after a block."""
    share, canary, stable = block.share, block.canary_errors, block.stable_errors
    if not 0 < share < 1 or not (canary or stable or evidence.tolerated_excess):
        return block.log_terms
    odds = evidence.tolerated_ratio * share / (1 - share)
    allowed = evidence.tolerated_excess * block.canary_requests
    excess = (canary - odds * stable - allowed) / max(1, canary + stable)
    return tuple(
        term + _compute_log_factor(ratio / evidence.tolerated_ratio, odds + allowed, excess)
        for term, ratio in zip(block.log_terms, evidence.ratios, strict=True)
    )


def _join(last: LastBlock | None, block: LastBlock) -> LastBlock | None:
    """Return two successive blocks as one block if they may hold one burst of the canary; None otherwise."""
    if last is None or last.share != block.share or not (last.canary_errors and block.canary_errors):
        return None
    if last.canary_errors + block.canary_errors < BURST_ERRORS:
        return None
    return LastBlock(
        canary_requests=last.canary_requests + block.canary_requests,
        canary_errors=last.canary_errors + block.canary_errors,
        stable_errors=last.stable_errors + block.stable_errors,
        share=block.share,
        log_terms=last.log_terms,
    )


def add_block_against_rate(
    evidence: ErrorEvidence, *, requests: int, errors: int, rate: float, largest_factor: float = math.inf
) -> ErrorEvidence:
    """Return the evidence after one more block that is compared with a known rate, because there is no stable traffic.

    "No worse" means that the canary's rate is at most the tolerated ratio of `rate`, plus the tolerated excess. The likelihood
    ratio of a request has a mean of at most 1 then. The evidence is valid for bursts of up to ``evidence.burst`` errors.

    Args:
        evidence: The evidence so far.
        requests: The canary's requests in the block.
        errors: Errors among them.
        rate: The rate to compare with, in [0, 1].
        largest_factor: A block multiplies the e-value by at most this, so that no single block decides.
    """
    no_worse = min(1.0, rate * evidence.tolerated_ratio + evidence.tolerated_excess)
    largest = evidence.burst * math.log(largest_factor)
    terms = []
    for term, ratio in zip(evidence.log_terms, evidence.ratios, strict=True):
        worse = min(no_worse * ratio / evidence.tolerated_ratio, MAX_ERROR_RATE)
        if worse <= no_worse:
            terms.append(term)
            continue
        gain, loss = math.log(worse / no_worse), math.log1p(-worse) - math.log1p(-no_worse)
        terms.append(term + min(largest, errors * gain + (requests - errors) * loss))
    return dataclasses.replace(
        evidence,
        log_terms=tuple(terms),
        canary_requests=evidence.canary_requests + requests,
        canary_errors=evidence.canary_errors + errors,
    )


def _compute_log_factor(ratio: float, null_odds: float, excess: float) -> float:
    """Return the logarithm of the factor of one block. The factor is above 0, because the excess is at least -`null_odds`."""
    return math.log1p((ratio - 1) / (1 + ratio * null_odds) * excess)


def _check_settings(tolerated_ratio: float, tolerated_excess: float, ratios: Sequence[float], burst: float) -> None:
    if not (math.isfinite(tolerated_ratio) and tolerated_ratio >= 1):
        raise ValueError(f"tolerated_ratio must be at least 1, not {tolerated_ratio}")
    if not 0 <= tolerated_excess < 1:
        raise ValueError(f"tolerated_excess must lie in [0, 1), not {tolerated_excess}")
    if not ratios or not all(math.isfinite(ratio) and ratio > tolerated_ratio for ratio in ratios):
        raise ValueError(
            f"the ratios must be finite and above the tolerated ratio {tolerated_ratio}, but they are {tuple(ratios)}"
        )
    if not (math.isfinite(burst) and burst >= 1):
        raise ValueError(f"burst must be at least 1, not {burst}")
