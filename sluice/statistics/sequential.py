"""Sequential evidence that a canary errs more often than stable: an e-process that may be watched after every request.

While the canary is no worse, each error comes from it with a chance of at most its share of the requests. Each error
therefore multiplies the evidence by the likelihood ratio of "the canary errs r times as often" over that, mixed over
several r (2x2 e-variables, Turner, Ly & Grünwald, arXiv 2106.02693; conditioning as in Lindon & Malek, arXiv 2011.03567).
By Ville's inequality the evidence of a canary that is no worse ever reaches 100 with a chance of at most 1 %, however often
one looks. An incident that both share moves it nowhere.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RATIOS = (3.0, 5.0, 10.0, 20.0, 50.0)
"""Error ratios, canary to stable, that the evidence looks for."""

_LARGEST_LOG = 690.0  # exp of it is still a finite double, so that JSON can hold the e-value


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvidence:
    """What the errors so far say against the canary.

    Attributes:
        log_terms: Logarithm of the likelihood ratio of each of `ratios`.
        ratios: The error ratios that are looked for.
        tolerated_ratio: Error ratio that still counts as no worse, at least 1.
        burst: Errors that come together at most; the logarithms are divided by it. 1 where errors are independent.
        canary_requests: Requests of the canary in all windows.
        canary_errors: Errors among them.
        stable_requests: Requests of stable in all windows.
        stable_errors: Errors among them.
        waiting_canary: The canary's requests since the last error, whose share that error will be held against.
        waiting_stable: Stable's requests since the last error.
    """

    log_terms: tuple[float, ...]
    ratios: tuple[float, ...]
    tolerated_ratio: float
    burst: float
    canary_requests: int = 0
    canary_errors: int = 0
    stable_requests: int = 0
    stable_errors: int = 0
    waiting_canary: int = 0
    waiting_stable: int = 0

    @property
    def log_e_value(self) -> float:
        """Natural logarithm of the e-value."""
        logs = [term / self.burst for term in self.log_terms]
        highest = max(logs)
        return highest + math.log(sum(math.exp(log - highest) for log in logs) / len(logs))

    @property
    def e_value(self) -> float:
        """The evidence: 1 at the start; 1 / e bounds the chance that a canary that is no worse ever gets there. Always finite."""
        return math.exp(min(self.log_e_value, _LARGEST_LOG))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back to the bit."""
        return dataclasses.asdict(self) | {"log_terms": list(self.log_terms), "ratios": list(self.ratios)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            TypeError: A field is missing or unknown.
            ValueError: The fields do not fit together.
        """
        evidence = cls(**{**values, "log_terms": tuple(values["log_terms"]), "ratios": tuple(values["ratios"])})
        if len(evidence.log_terms) != len(evidence.ratios):
            raise ValueError(f"{len(evidence.log_terms)} log terms for {len(evidence.ratios)} ratios")
        _check_settings(evidence.tolerated_ratio, evidence.ratios, evidence.burst)
        return evidence


def start_evidence(*, tolerated_ratio: float = 1.0, ratios: Sequence[float] = RATIOS, burst: float = 1.0) -> ErrorEvidence:
    """Evidence before the first request: an e-value of 1.

    Args:
        tolerated_ratio: Error ratio, canary to stable, that still counts as no worse; at least 1.
        ratios: Error ratios that are looked for; those that are tolerated are left out.
        burst: Errors that come together at most. Evidence divided by it keeps its promise while no burst is larger,
            whatever their sizes; divided by the mean of sizes without a limit it does not (about 4 % false rollbacks at
            geometric sizes of mean 3). 3 takes about 490 instead of 186 canary requests to find 2 % against 0.1 %.

    Raises:
        ValueError: A setting is out of its range, or every ratio is tolerated.
    """
    values = tuple(float(ratio) for ratio in ratios if not ratio <= tolerated_ratio)
    _check_settings(tolerated_ratio, values, burst)
    return ErrorEvidence(
        log_terms=(0.0,) * len(values), ratios=values, tolerated_ratio=float(tolerated_ratio), burst=float(burst)
    )


def add_window(
    evidence: ErrorEvidence,
    *,
    canary_requests: int,
    canary_errors: int,
    stable_requests: int,
    stable_errors: int,
    share: float | None = None,
) -> ErrorEvidence:
    """Evidence after one more window: the requests that ended since the last look.

    A window without errors leaves the e-value as it is. The share that the errors of a window are held against is the
    canary's part of all requests since the window of the last error: under "no worse" the error is equally likely to be any
    of them. Windows as small as one request are fine. Call `start_step` when the traffic is split anew, or pass the
    configured `share`. Where only one of the two got requests there is nothing to compare, and the e-value stays.

    Args:
        evidence: What was known before.
        canary_requests: The canary's requests in the window.
        canary_errors: Errors among them.
        stable_requests: Stable's requests in the window.
        stable_errors: Errors among them.
        share: The canary's chance to get a request, in [0, 1], in place of the measured one: for a proxy that draws each
            request's way.

    Raises:
        ValueError: Counts that are negative or more errors than requests, or a share outside [0, 1].
    """
    for name, errors, requests in (("canary", canary_errors, canary_requests), ("stable", stable_errors, stable_requests)):
        if not 0 <= errors <= requests:
            raise ValueError(f"{name}: counts must satisfy 0 <= {errors} errors <= {requests} requests")
    if share is not None and not 0 <= share <= 1:
        raise ValueError(f"share must lie between 0 and 1, not {share}")
    waiting_canary = evidence.waiting_canary + canary_requests
    waiting_stable = evidence.waiting_stable + stable_requests
    erred = canary_errors + stable_errors > 0
    log_terms = evidence.log_terms
    if erred:
        measured = waiting_canary / (waiting_canary + waiting_stable)
        log_terms = _weigh_errors(evidence, canary_errors, stable_errors, measured if share is None else share)
    return dataclasses.replace(
        evidence,
        log_terms=log_terms,
        canary_requests=evidence.canary_requests + canary_requests,
        canary_errors=evidence.canary_errors + canary_errors,
        stable_requests=evidence.stable_requests + stable_requests,
        stable_errors=evidence.stable_errors + stable_errors,
        waiting_canary=0 if erred else waiting_canary,
        waiting_stable=0 if erred else waiting_stable,
    )


def start_step(evidence: ErrorEvidence) -> ErrorEvidence:
    """Forget the requests since the last error, because the traffic is split anew from here on; the e-value stays as it is."""
    return dataclasses.replace(evidence, waiting_canary=0, waiting_stable=0)


def _weigh_errors(evidence: ErrorEvidence, canary: int, stable: int, share: float) -> tuple[float, ...]:
    """The log terms after errors of both, where the canary had `share` of the requests."""
    if share in (0.0, 1.0):
        return evidence.log_terms
    odds = share / (1 - share)
    no_worse = evidence.tolerated_ratio * odds
    terms = []
    for term, ratio in zip(evidence.log_terms, evidence.ratios, strict=True):
        # An error is the canary's with chance o / (1 + o), stable's with 1 / (1 + o), where o = error ratio x odds of requests.
        shrink = math.log1p(no_worse) - math.log1p(ratio * odds)
        gain = math.log(ratio / evidence.tolerated_ratio) + shrink
        terms.append(term + canary * gain + stable * shrink)
    return tuple(terms)


def _check_settings(tolerated_ratio: float, ratios: Sequence[float], burst: float) -> None:
    if not (math.isfinite(tolerated_ratio) and tolerated_ratio >= 1):
        raise ValueError(f"tolerated_ratio must be at least 1, not {tolerated_ratio}")
    if not ratios or not all(math.isfinite(ratio) and ratio > tolerated_ratio for ratio in ratios):
        raise ValueError(f"there must be ratios above the tolerated {tolerated_ratio}, all finite: {tuple(ratios)}")
    if not (math.isfinite(burst) and burst >= 1):
        raise ValueError(f"burst must be at least 1, not {burst}")
