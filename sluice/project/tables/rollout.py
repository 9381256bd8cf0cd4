"""The table ``[rollout]``: the steps of a canary and the limits that its evidence must keep."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - beside types that pydantic reads
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from sluice.project.base import Table

ALL_TRAFFIC = 100

SLOW_BOUNDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Bounds of latency, in seconds, that both Seldon's executor and Envoy count."""


def rises_to_all(steps: Sequence[int]) -> bool:
    """Whether these are a canary's steps: per cents above 0 that rise and end with all of the traffic."""
    return bool(steps) and list(steps) == sorted(set(steps)) and steps[0] > 0 and steps[-1] == ALL_TRAFFIC


class RolloutTable(Table):
    """``[rollout]``."""

    splitter: Literal["envoy", "seldon"] = Field(
        default="envoy", description="What splits the traffic: the Envoy of `sluice serve`, or Seldon Core in a cluster."
    )
    steps: list[Annotated[int, Field(ge=1, le=100)]] = Field(default=[5, 25, 100], description="Canary shares, in %.")
    margin: float = Field(default=0.01, gt=0, lt=1, description="Tolerated excess of the canary's error rate over stable's.")
    first_look: int = Field(default=300, ge=1, description="Canary requests at a step before the first look.")
    look_growth: float = Field(default=1.5, gt=1, description="Each further look comes after this many times the requests.")
    evidence: float = Field(default=100.0, gt=1, description="e-value at which the canary is condemned.")
    tolerated_ratio: float = Field(default=1.0, ge=1, description="Error ratio canary/stable that is still no worse.")
    shadow_requests: int = Field(
        default=0, ge=0, description="Requests of stable that the canary is asked as well before any traffic; 0: no shadow."
    )
    shadow_difference: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Tolerated mean difference of the canary's probabilities from stable's in the shadow.",
    )
    bake_seconds: float = Field(default=60.0, ge=0, description="How long the canary is watched at 100 % before it is champion.")
    holdback: int = Field(
        default=0, ge=0, le=50, description="Per cent that stable keeps while the canary bakes, to compare it with; 0: none."
    )
    deadline_seconds: float = Field(default=3600.0, gt=0, description="A rollout that has not ended by then is rolled back.")
    approval_seconds: float = Field(default=86400.0, gt=0, description="How long an approval holds.")
    slow_seconds: float = Field(
        default=0.5, description="An answer that takes longer is slow: the canary's slow answers are a second, weaker evidence."
    )
    request_timeout_seconds: float = Field(default=5.0, gt=0, description="A prediction that takes longer is an error.")

    @property
    def in_cluster(self) -> bool:
        """Whether production is in a cluster, and not on this machine."""
        return self.splitter == "seldon"

    @field_validator("slow_seconds")
    @classmethod
    def _is_a_bound(cls, seconds: float) -> float:
        if seconds not in SLOW_BOUNDS:
            raise ValueError(f"must be one of {', '.join(f'{bound:g}' for bound in SLOW_BOUNDS)}")
        return seconds

    @field_validator("steps")
    @classmethod
    def _rises_to_all(cls, steps: list[int]) -> list[int]:
        if not rises_to_all(steps):
            raise ValueError("must rise and end at 100, for example [5, 25, 100]")
        return steps

    @model_validator(mode="after")
    def _rises_to_the_bake(self) -> Self:
        """A canary that gets less at 100 % than at the step before would go down where it goes up."""
        if len(self.steps) > 1 and self.steps[-2] >= ALL_TRAFFIC - self.holdback:
            raise ValueError(f"holdback must leave more than the step of {self.steps[-2]} % to the canary")
        return self
