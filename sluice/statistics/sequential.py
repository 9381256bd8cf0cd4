"""Sequential evidence that a canary fails more often than stable: an e-process that may be checked after every request.

If the canary is no worse than stable, each error comes from the canary with a probability of at most its share of the requests.
Each error therefore multiplies the evidence by a likelihood ratio: the probability under "the canary fails r times as often",
divided by the probability under "no worse". The evidence is the mean over several r (2x2 e-variables, Turner, Ly & Grünwald,
arXiv 2106.02693; conditioning as in Lindon & Malek, arXiv 2011.03567).

By Ville's inequality, the evidence against a canary that is no worse ever reaches 100 with a probability of at most 1 %, no
matter how often it is checked. An incident that affects both releases alike does not change the evidence.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RATIOS = (3.0, 5.0, 10.0, 20.0, 50.0)
"""The ratios of the canary's error rate to stable's that the evidence looks for."""

_LARGEST_LOG = 690.0  # Its exponential is still a finite double, so that JSON can hold the e-value.


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvidence:
    """The evidence of the errors so far against the canary.

    Attributes:
        log_terms: Logarithm of the likelihood ratio for each of `ratios`.
        ratios: The ratios of error rates that the evidence looks for.
        tolerated_ratio: Ratio of error rates that still counts as no worse, at least 1.
        burst: Largest number of errors that occur together. The logarithms are divided by it. 1 if errors are independent.
        canary_requests: Requests of the canary in all windows.
        canary_errors: Errors among them.
        stable_requests: Requests of stable in all windows.
        stable_errors: Errors among them.
        waiting_canary: The canary's requests since the last error. The next error is compared with their share.
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
        """The e-value, always finite. It starts at 1.

        A canary that is no worse reaches an e-value of e with a probability of at most 1 / e.
        """
        return math.exp(min(self.log_e_value, _LARGEST_LOG))

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types. `from_dict` reads them without loss."""
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
    """Return the evidence before the first request: an e-value of 1.

    Args:
        tolerated_ratio: Ratio of the canary's error rate to stable's that still counts as no worse, at least 1.
        ratios: Ratios to look for. Those that are tolerated are left out.
        burst: Largest number of errors that occur together. The evidence is divided by it, and its guarantee holds as long as no
            burst is larger, for any distribution of sizes. Dividing by the mean size is not enough if the sizes have no limit
            (about 4 % false rollbacks for geometric sizes with mean 3). With a burst of 3, finding 2 % against 0.1 % takes about
            490 canary requests instead of 186.

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
    """Return the evidence after one more window: the requests that ended between two observations.

    A window without errors does not change the e-value. The errors of a window are compared with the canary's share of all
    requests since the window with the last error, because under "no worse" each of these requests is equally likely to fail. A
    window may be as small as one request. Call `start_step` when the split of the traffic changes, or pass the configured
    `share`. If only one of the two releases got requests, there is nothing to compare, and the e-value does not change.

    Args:
        evidence: The evidence so far.
        canary_requests: The canary's requests in the window.
        canary_errors: Errors among them.
        stable_requests: Stable's requests in the window.
        stable_errors: Errors among them.
        share: The probability, in [0, 1], that a request goes to the canary. It replaces the measured share, for a proxy that
            routes each request at random.

    Raises:
        ValueError: A count is negative, there are more errors than requests, or the share lies outside [0, 1].
    """
    for name, errors, requests in (("canary", canary_errors, canary_requests), ("stable", stable_errors, stable_requests)):
        if not 0 <= errors <= requests:
            raise ValueError(f"the counts of {name} must satisfy 0 <= {errors} errors <= {requests} requests")
    if share is not None and not 0 <= share <= 1:
        raise ValueError(f"share must lie between 0 and 1, not {share}")
    waiting_canary = evidence.waiting_canary + canary_requests
    waiting_stable = evidence.waiting_stable + stable_requests
    has_errors = canary_errors + stable_errors > 0
    log_terms = evidence.log_terms
    if has_errors:
        measured = waiting_canary / (waiting_canary + waiting_stable)
        log_terms = _update_log_terms(evidence, canary_errors, stable_errors, measured if share is None else share)
    return dataclasses.replace(
        evidence,
        log_terms=log_terms,
        canary_requests=evidence.canary_requests + canary_requests,
        canary_errors=evidence.canary_errors + canary_errors,
        stable_requests=evidence.stable_requests + stable_requests,
        stable_errors=evidence.stable_errors + stable_errors,
        waiting_canary=0 if has_errors else waiting_canary,
        waiting_stable=0 if has_errors else waiting_stable,
    )


def start_step(evidence: ErrorEvidence) -> ErrorEvidence:
    """Discard the requests since the last error, because the split of the traffic changes. The e-value does not change."""
    return dataclasses.replace(evidence, waiting_canary=0, waiting_stable=0)


def _update_log_terms(evidence: ErrorEvidence, canary: int, stable: int, share: float) -> tuple[float, ...]:
    """Return the log terms after errors of both releases, if the canary had `share` of the requests."""
    if share in (0.0, 1.0):
        return evidence.log_terms
    odds = share / (1 - share)
    tolerated_odds = evidence.tolerated_ratio * odds
    terms = []
    for term, ratio in zip(evidence.log_terms, evidence.ratios, strict=True):
        # With o = error ratio x odds of requests, an error is the canary's with probability o / (1 + o), else stable's.
        stable_error_log = math.log1p(tolerated_odds) - math.log1p(ratio * odds)
        canary_error_log = math.log(ratio / evidence.tolerated_ratio) + stable_error_log
        terms.append(term + canary * canary_error_log + stable * stable_error_log)
    return tuple(terms)


def _check_settings(tolerated_ratio: float, ratios: Sequence[float], burst: float) -> None:
    if not (math.isfinite(tolerated_ratio) and tolerated_ratio >= 1):
        raise ValueError(f"tolerated_ratio must be at least 1, not {tolerated_ratio}")
    if not ratios or not all(math.isfinite(ratio) and ratio > tolerated_ratio for ratio in ratios):
        raise ValueError(
            f"the ratios must be finite and above the tolerated ratio {tolerated_ratio}, but they are {tuple(ratios)}"
        )
    if not (math.isfinite(burst) and burst >= 1):
        raise ValueError(f"burst must be at least 1, not {burst}")
