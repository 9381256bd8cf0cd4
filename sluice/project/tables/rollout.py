"""The table ``[rollout]``: the steps of a canary, and the limits for its evidence."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - beside types that pydantic reads
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator, field_validator, model_validator

from sluice.project.base import Table

ALL_TRAFFIC = 100

LATENCY_BOUNDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Bounds of latency in seconds for which both Seldon's executor and Envoy count requests."""


def _explain_step(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """Say in one sentence what a step is, because pydantic names both of its own types."""
    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError(f'a step is a per cent from 1 to 100 or a text like "300 requests", and not {value!r}') from error


Step: TypeAlias = Annotated[
    Annotated[int, Field(ge=1, le=100)] | Annotated[str, Field(pattern=r"^[1-9][0-9]* requests$")], WrapValidator(_explain_step)
]


def are_canary_steps(steps: Sequence[int]) -> bool:
    """Return whether these are the steps of a canary: per cents above 0 that rise and end at 100."""
    return bool(steps) and list(steps) == sorted(set(steps)) and steps[0] > 0 and steps[-1] == ALL_TRAFFIC


class RolloutTable(Table):
    """``[rollout]``: the steps and limits of a rollout."""

    splitter: Literal["envoy", "seldon"] = Field(
        default="envoy",
        description="What splits the traffic: `envoy`, started by `sluice serve`, or `seldon` for Seldon Core in a cluster.",
    )
    steps: list[Step] = Field(
        default=[5, 25, 100],
        description="Shares of the traffic for the canary, in per cent. A step may also be a number of requests, for example"
        ' `"300 requests"`: the start of the rollout chooses the share from the measured traffic.',
    )
    step_seconds: float = Field(
        default=600.0,
        gt=0,
        description="Time in which a step that is given as a number of requests should get them. The share is 50 % at most.",
    )
    margin: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="How much the canary's error rate may exceed stable's for the canary to advance. A canary within the margin"
        " can still be rolled back: see `tolerated_excess`.",
    )
    first_look: int = Field(default=300, ge=1, description="Canary requests at a step before the first interim look.")
    look_growth: float = Field(default=1.5, gt=1, description="Factor between the requests of two successive interim looks.")
    evidence: float = Field(default=100.0, gt=1, description="e-value at which the canary is rolled back.")
    tolerated_ratio: float = Field(
        default=1.0, ge=1, description="Ratio of the canary's error rate to stable's that still counts as no worse."
    )
    tolerated_excess: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="How much the canary's error rate may exceed stable's without counting as worse, so that the canary is not"
        " rolled back for it. At most `margin`. A higher value finds a broken canary later.",
    )
    block_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Errors within this time count as one error against the canary, because errors come in bursts.",
    )
    shadow_requests: int = Field(
        default=0,
        ge=0,
        description="Requests to stable that are copied to the canary before it takes traffic. 0 means that there is no shadow.",
    )
    shadow_difference: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Largest allowed mean difference between the probabilities of the canary and of stable in the shadow.",
    )
    bake_seconds: float = Field(
        default=60.0, ge=0, description="How long the canary is watched with all traffic before it becomes champion."
    )
    holdback: int = Field(
        default=5,
        ge=0,
        le=50,
        description="Share of the traffic, in per cent, that stable keeps during the bake for comparison. 0 means none.",
    )
    deadline_seconds: float = Field(
        default=3600.0, gt=0, description="A rollout that has not ended after this time is ended, with all traffic on stable."
    )
    pods_wait_seconds: float = Field(
        default=120.0,
        ge=0,
        description="How long a rollback or an abort by a person waits for Pods, if the release that gets the traffic has too few"
        " ready ones in the cluster. Meanwhile it gets as much as they can take, and then all of it. 0 moves everything at once.",
    )
    approval_seconds: float = Field(default=86400.0, gt=0, description="How long an approval is valid.")
    slow_seconds: float = Field(
        default=0.5,
        description="An answer that takes longer is slow. Slow answers of the canary are a second, weaker kind of evidence.",
    )
    request_timeout_seconds: float = Field(default=5.0, gt=0, description="A prediction that takes longer is an error.")
    show_values: bool = Field(
        default=False,
        description="Whether the explanation of a rollback may contain values of requests and whole lines of the server's log.",
    )

    @property
    def shares(self) -> tuple[int, ...] | None:
        """The steps in per cent; None if one of them is a number of requests."""
        shares = tuple(step for step in self.steps if isinstance(step, int))
        return shares if len(shares) == len(self.steps) else None

    @property
    def in_cluster(self) -> bool:
        """Whether production runs in a cluster, and not on this machine."""
        return self.splitter == "seldon"

    @field_validator("slow_seconds")
    @classmethod
    def _is_a_bound(cls, seconds: float) -> float:
        if seconds not in LATENCY_BOUNDS:
            raise ValueError(f"the value must be one of {', '.join(f'{bound:g}' for bound in LATENCY_BOUNDS)}")
        return seconds

    @field_validator("steps")
    @classmethod
    def _rises_to_all(cls, steps: list[int | str]) -> list[int | str]:
        if not steps or steps[-1] != ALL_TRAFFIC or not are_canary_steps([step for step in steps if isinstance(step, int)]):
            raise ValueError("the steps must rise and end at 100, for example [5, 25, 100]")
        return steps

    @model_validator(mode="after")
    def _tolerates_at_most_the_margin(self) -> Self:
        """Check that no canary is tolerated which can never advance."""
        if self.tolerated_excess > self.margin:
            raise ValueError(f"tolerated_excess must be at most the margin of {self.margin:g}, not {self.tolerated_excess:g}")
        return self

    @model_validator(mode="after")
    def _rises_to_the_bake(self) -> Self:
        """Check that the bake gives the canary more traffic than the step before it. The default holdback shrinks if it must."""
        before = [step for step in self.steps[:-1] if isinstance(step, int)]
        if "holdback" in self.model_fields_set and before and before[-1] >= ALL_TRAFFIC - self.holdback:
            raise ValueError(f"holdback must leave the canary more traffic than the step of {before[-1]} %")
        return self
