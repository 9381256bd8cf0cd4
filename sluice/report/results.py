"""The result model: everything that a report shows, whatever the surface.

The types read the run records (``run.json``, a layer's ``verdicts.json``, a rollout's transitions and samples) and are lenient
about scalars: a number that is not finite, or a field that an older or a half-written record lacks, is None or empty. Points in
time are seconds since the epoch, shares of traffic are per cent, latencies milliseconds.
"""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from sluice.report.text import clean_json, clean_text, read_count, read_moment, read_number, read_text
from sluice.verdicts import Interval, Outcome, Verdict

LAYERS = ("code", "data", "model", "integration")
"""The four test layers in the order in which they run."""

TONES = ("ok", "bad", "warn", "quiet")
"""How a sign or a number is meant; every surface has a colour for each, and never the colour alone."""


def _clean_verdict(verdict: Verdict) -> Verdict:
    interval = verdict.interval
    usable = interval if interval and math.isfinite(interval.low) and math.isfinite(interval.high) else None
    return dataclasses.replace(
        verdict,
        check=clean_text(verdict.check),
        detail=clean_text(verdict.detail),
        comparison=clean_text(verdict.comparison),
        observed=read_number(verdict.observed),
        threshold=read_number(verdict.threshold),
        upper=read_number(verdict.upper),
        interval=dataclasses.replace(usable, method=clean_text(usable.method)) if usable else None,
    )


def _read_truth(value: object) -> bool:
    return value is True


def _read_tone(value: object) -> str:
    tone = {"good": "ok"}.get(str(value), str(value))
    return tone if tone in TONES else ""


def _order_samples(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    timed = (sample for sample in samples if sample.time is not None)
    return tuple(sorted(timed, key=lambda sample: sample.time or 0.0))


Text = Annotated[str, BeforeValidator(read_text)]
Number = Annotated[float | None, BeforeValidator(read_number)]
Count = Annotated[int | None, BeforeValidator(read_count)]
Moment = Annotated[float | None, BeforeValidator(read_moment)]
Truth = Annotated[bool, BeforeValidator(_read_truth)]
CleanVerdict = Annotated[Verdict, AfterValidator(_clean_verdict)]
Document = Annotated[dict[str, Any], AfterValidator(clean_json)]


class Record(BaseModel):
    """One part of the model: immutable; fields that it does not know are left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Span(Record):
    """Something that began and ended."""

    started: Moment = None
    ended: Moment = None

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None where either is unknown."""
        return max(0.0, self.ended - self.started) if self.started is not None and self.ended is not None else None


class Step(Span):
    """One step of a pipeline: outcome is pass, fail, skipped, waiting, or running where no end was recorded."""

    name: Text = ""
    outcome: Text = ""
    detail: Text = ""


class Layer(Record):
    """One test layer with its verdicts."""

    layer: Text = ""
    outcome: Text = ""
    seconds: Number = None
    detail: Text = ""
    verdicts: tuple[CleanVerdict, ...] = ()

    def count(self, outcome: Outcome) -> int:
        """How many verdicts have this outcome."""
        return sum(verdict.outcome is outcome for verdict in self.verdicts)

    @property
    def unproven(self) -> int:
        """How many verdicts pass without proof: the interval's end lies on the wrong side."""
        return sum(verdict.unproven for verdict in self.verdicts)


class Gate(Record):
    """The gate's public answer; difference and bound are there only after a promotion."""

    promote: Truth = False
    verdict: CleanVerdict | None = None
    first: Truth = False
    unproven: Truth = False
    difference: Number = None
    lower_bound: Number = None
    level: Number = None
    uses: Count = None
    budget: Count = None


class Roc(Record):
    """A receiver operating characteristic and the area under it."""

    fpr: tuple[float, ...] = ()
    tpr: tuple[float, ...] = ()
    auc: Number = None
    interval: Interval | None = None


class Calibration(Record):
    """Mean predicted probability and observed rate of each bin, with the rate's interval and the bin's rows."""

    predicted: tuple[float, ...] = ()
    observed: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    rows: tuple[int, ...] = ()


class Curve(Record):
    """The curves of one model on the test rows."""

    roc: Roc | None = None
    calibration: Calibration | None = None


class Curves(Record):
    """Challenger over champion."""

    challenger: Curve | None = None
    champion: Curve | None = None


class Snapshot(Record):
    """The data that a run was given."""

    digest: Text = ""
    rows: Count = None
    source: Text = ""


class Release(Record):
    """A release and what it is made of."""

    number: Count = None
    digest: Text = ""
    image_digest: Text = ""
    manifest: Document = Field(default_factory=dict)
    tags: tuple[Text, ...] = ()


class Counts(Record):
    """One release's traffic so far: cumulative requests and errors, and present latency in milliseconds."""

    requests: Number = None
    errors: Number = None
    p50_ms: Number = None
    p99_ms: Number = None


class Sample(Record):
    """One look at the proxy."""

    time: Moment = None
    weights: dict[Text, Number] = Field(default_factory=dict)
    arms: dict[Text, Counts] = Field(default_factory=dict, validation_alias=AliasChoices("arms", "releases", "counts"))
    e_value: Number = None
    upper_bound: Number = None


class Transition(Record):
    """One decision of the rollout's plan, about `release`; weights are per cent by release digest, from `applied_at` on.

    `word_of` is who said so; empty where the evidence did.
    """

    time: Moment = None
    from_state: Text = Field(default="", validation_alias=AliasChoices("from", "from_state"))
    to: Text = ""
    reason: Text = ""
    release: Text = ""
    weights: dict[Text, Number] = Field(default_factory=dict)
    evidence: Document = Field(default_factory=dict)
    decided_at: Moment = None
    applied_at: Moment = None
    word_of: Text = ""

    @property
    def decided(self) -> float | None:
        """When the evidence was weighed, as far as known."""
        return next((time for time in (self.time, self.decided_at, self.applied_at) if time is not None), None)

    @property
    def moment(self) -> float | None:
        """When it took effect, as far as known."""
        return next((time for time in (self.applied_at, self.time, self.decided_at) if time is not None), None)


class Rollout(Span):
    """Traffic moved from one release to another, or back."""

    outcome: Text = ""
    target: Text = Field(default="", validation_alias=AliasChoices("target", "canary", "digest"))
    stable: Text = Field(default="", validation_alias=AliasChoices("stable", "champion"))
    transitions: tuple[Transition, ...] = ()
    samples: Annotated[tuple[Sample, ...], AfterValidator(_order_samples)] = ()
    numbers: Document = Field(default_factory=dict)


class RunResult(Span):
    """One run of a pipeline, or of a part of it: what ``run.json`` and its neighbours say."""

    id: Text = ""
    pipeline: Text = ""
    commit: Text = ""
    dirty: Truth = False
    message: Text = ""
    outcome: Text = ""
    reason: Text = ""
    steps: tuple[Step, ...] = ()
    snapshot: Snapshot | None = None
    layers: tuple[Layer, ...] = ()
    gate: Gate | None = None
    curves: Curves | None = None
    release: Release | None = None
    rollout: Rollout | None = None
    notes: tuple[Text, ...] = ()

    def layer(self, name: str) -> Layer | None:
        """The layer of that name, if it was run."""
        return next((layer for layer in self.layers if layer.layer == name), None)


class Fact(Record):
    """A number worth a tile: ``Fact(label="Traffic", value="87 requests/s", detail="all the time", tone="ok")``.

    The tone is one of `TONES` or empty.
    """

    label: Text
    value: Text
    detail: Text = ""
    tone: Annotated[str, BeforeValidator(_read_tone)] = ""


class Act(Record):
    """One run as a part of a story.

    Attributes:
        title: What was tried.
        run: What happened.
        expectation: One sentence about what should happen; empty in reports that are no story.
        expected: The outcome that it should end with; empty where nothing is expected.
        met: Whether it went as expected, where the teller knows better than a comparison of outcomes.
        facts: Further numbers of this act.
    """

    title: Text
    run: RunResult
    expectation: Text = ""
    expected: Text = ""
    met: bool | None = None
    facts: tuple[Fact, ...] = ()

    @property
    def outcome(self) -> str:
        """How the run ended."""
        return self.run.outcome

    @property
    def as_expected(self) -> bool | None:
        """Whether it ended as expected; None where nothing was expected."""
        if self.met is not None:
            return self.met
        return self.outcome == self.expected if self.expected else None


class Report(Record):
    """What is shown.

    Attributes:
        title: Headline.
        generated: When the report was made; a time without a zone is UTC.
        acts: What happened, in order.
        releases: Every release worth telling of; those of the acts are added by `all_releases`.
        facts: Numbers about the whole.
    """

    title: Text
    generated: Annotated[datetime, AfterValidator(lambda moment: moment if moment.tzinfo else moment.replace(tzinfo=UTC))]
    acts: tuple[Act, ...] = ()
    releases: tuple[Release, ...] = ()
    facts: tuple[Fact, ...] = ()

    def all_releases(self) -> tuple[Release, ...]:
        """The given releases and those that the acts made, each once, by number."""
        known = {release.digest: release for act in self.acts if (release := act.run.release) and release.digest}
        known |= {release.digest: release for release in self.releases if release.digest}
        return tuple(sorted(known.values(), key=lambda release: (release.number is None, release.number or 0, release.digest)))
