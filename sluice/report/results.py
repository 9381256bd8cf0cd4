"""The result model: everything that a report shows, in every form.

The types read the run records (``run.json``, a layer's ``verdicts.json``, a rollout's transitions and samples). They tolerate
incomplete records: a number that is not finite, or a field that an older or a half-written record lacks, becomes None or empty.
Points in time are seconds since the epoch, shares of traffic are per cent, latencies are milliseconds.
"""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from sluice.report.safe_values import clean_json, clean_text, read_count, read_moment, read_number, read_text
from sluice.verdicts import Interval, Outcome, Verdict

LAYERS = ("code", "data", "model", "integration")
"""The four test layers in the order in which they run."""

TONES = ("ok", "bad", "warn", "quiet")
"""How good an outcome or a number is. Each form of the report has a colour for each tone, and never shows only the colour."""


def _clean_verdict(verdict: Verdict) -> Verdict:
    interval = verdict.interval
    usable = interval if interval and math.isfinite(interval.low) and math.isfinite(interval.high) else None
    return dataclasses.replace(
        verdict,
        check=clean_text(verdict.check),
        detail=clean_text(verdict.detail),
        allowed=clean_text(verdict.allowed),
        comparison=clean_text(verdict.comparison),
        observed=read_number(verdict.observed),
        threshold=read_number(verdict.threshold),
        upper=read_number(verdict.upper),
        interval=dataclasses.replace(usable, method=clean_text(usable.method)) if usable else None,
    )


def _read_flag(value: object) -> bool:
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
Flag = Annotated[bool, BeforeValidator(_read_flag)]
CleanVerdict = Annotated[Verdict, AfterValidator(_clean_verdict)]
Document = Annotated[dict[str, Any], AfterValidator(clean_json)]


class Record(BaseModel):
    """One part of the model. It is immutable, and it ignores fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Span(Record):
    """Something that started and ended."""

    started: Moment = None
    ended: Moment = None

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None if either is unknown."""
        return max(0.0, self.ended - self.started) if self.started is not None and self.ended is not None else None


class Step(Span):
    """One step of a pipeline. Its outcome is pass, fail, skipped, waiting, or running if no end was recorded."""

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
        """Return how many verdicts have this outcome."""
        return sum(verdict.outcome is outcome for verdict in self.verdicts)

    @property
    def allowed(self) -> int:
        """How many verdicts are inconclusive and do not block production."""
        return sum(bool(verdict.allowed) for verdict in self.verdicts)

    @property
    def unproven(self) -> int:
        """How many verdicts pass although their interval reaches across the threshold."""
        return sum(verdict.unproven for verdict in self.verdicts)


class GateOverride(Record):
    """A person let a model pass the gate until a certain time, and said why."""

    by: Text = ""
    why: Text = ""
    at: Moment = None
    until: Moment = None


class Gate(Record):
    """The gate's public answer. The difference and its lower bound are known only after a promotion.

    An override never changes the answer. `model` is the digest of the judged model, and `power` says what the gate can see with
    its rows.
    """

    promote: Flag = False
    verdict: CleanVerdict | None = None
    first: Flag = False
    unproven: Flag = False
    difference: Number = None
    lower_bound: Number = None
    level: Number = None
    uses: Count = None
    budget: Count = None
    left: Count = None
    model: Text = ""
    power: Text = ""
    override: GateOverride | None = None

    @property
    def outcome(self) -> str:
        """The answer as an outcome: promoted, kept, or undecided if the gate could not judge."""
        if self.promote:
            return "promoted"
        return "undecided" if self.verdict is not None and self.verdict.outcome is Outcome.INCONCLUSIVE else "kept"


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
    """The curves of the challenger and of the champion, on the same rows."""

    challenger: Curve | None = None
    champion: Curve | None = None


class Warned(Record):
    """A warning of a run: what was noticed, and what to do next. It does not stop a run, but a person should know it."""

    kind: Text = ""
    text: Text = ""
    hint: Text = ""


class Snapshot(Record):
    """The data that a run used."""

    digest: Text = ""
    rows: Count = None
    source: Text = ""
    origin: Text = ""

    @property
    def place(self) -> str:
        """Where the data came from, and the pattern or the command that led there; empty if it is not recorded."""
        return f"{self.source} ({self.origin})" if self.source and self.origin else self.source


class Release(Record):
    """A release and what it was made from."""

    number: Count = None
    digest: Text = ""
    image_digest: Text = ""
    manifest: Document = Field(default_factory=dict)
    tags: tuple[Text, ...] = ()


class Counts(Record):
    """The traffic of one release: cumulative requests and errors, and its present latency in milliseconds."""

    requests: Number = None
    errors: Number = None
    p50_ms: Number = None
    p99_ms: Number = None


class Sample(Record):
    """What the proxy reported at one moment."""

    time: Moment = None
    weights: dict[Text, Number] = Field(default_factory=dict)
    arms: dict[Text, Counts] = Field(default_factory=dict, validation_alias=AliasChoices("arms", "releases", "counts"))
    e_value: Number = None
    upper_bound: Number = None


class Transition(Record):
    """One decision about `release`.

    Attributes:
        time: When the decision was recorded.
        from_state: The state before.
        to: The state after.
        reason: Why.
        release: Digest of the release that the decision is about.
        weights: Per cent of the traffic by release digest, from `applied_at` on.
        evidence: The numbers that the decision rests on.
        decided_at: When it was decided.
        applied_at: When the proxy reported the new weights.
        commanded_by: The person who gave the command; empty if the evidence decided.
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
    commanded_by: Text = Field(default="", validation_alias=AliasChoices("word_of", "commanded_by"))

    @property
    def decided(self) -> float | None:
        """When the decision was made, as far as the record says; otherwise when it took effect."""
        return next((time for time in (self.time, self.decided_at, self.applied_at) if time is not None), None)

    @property
    def moment(self) -> float | None:
        """When the decision took effect, as far as the record says; otherwise when it was made."""
        return next((time for time in (self.applied_at, self.time, self.decided_at) if time is not None), None)


class Rollout(Span):
    """A rollout: traffic moves from one release to another, or back.

    `failed` says what failed, one error a line, and whether the release was condemned.
    """

    outcome: Text = ""
    target: Text = Field(default="", validation_alias=AliasChoices("target", "canary", "digest"))
    stable: Text = Field(default="", validation_alias=AliasChoices("stable", "champion"))
    transitions: tuple[Transition, ...] = ()
    samples: Annotated[tuple[Sample, ...], AfterValidator(_order_samples)] = ()
    numbers: Document = Field(default_factory=dict)
    failed: tuple[Text, ...] = ()


class RunResult(Span):
    """One run of a pipeline, or of a part of it, as ``run.json`` and the files beside it say."""

    id: Text = ""
    pipeline: Text = ""
    commit: Text = ""
    dirty: Flag = False
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
    warnings: tuple[Warned, ...] = ()
    notes: tuple[Text, ...] = ()

    def layer(self, name: str) -> Layer | None:
        """Return the layer of that name; None if it was not run."""
        return next((layer for layer in self.layers if layer.layer == name), None)


class Fact(Record):
    """A number with its label: ``Fact(label="Traffic", value="87 requests/s", detail="all the time", tone="ok")``.

    The tone is one of `TONES` or empty.
    """

    label: Text
    value: Text
    detail: Text = ""
    tone: Annotated[str, BeforeValidator(_read_tone)] = ""


class Act(Record):
    """One run in the report. In the report of a demonstration it is one act of the story.

    Attributes:
        title: What was tried.
        run: What happened.
        expectation: One sentence about what should happen; empty if nothing is expected.
        expected: The outcome that the run should have; empty if nothing is expected.
        met: Whether it ended as expected; None to compare the outcomes.
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
        """Whether it ended as expected; None if nothing was expected."""
        if self.met is not None:
            return self.met
        return self.outcome == self.expected if self.expected else None


class Report(Record):
    """Everything that a report shows.

    Attributes:
        title: The title of the report.
        generated: When the report was made. A time without a zone is UTC.
        acts: What happened, in order.
        releases: The releases to describe. `all_releases` adds those that the acts made.
        others: Releases that the acts mention, such as a champion. The report says their names, and does not describe them.
        facts: Numbers about the whole report.
    """

    title: Text
    generated: Annotated[datetime, AfterValidator(lambda moment: moment if moment.tzinfo else moment.replace(tzinfo=UTC))]
    acts: tuple[Act, ...] = ()
    releases: tuple[Release, ...] = ()
    others: tuple[Release, ...] = ()
    facts: tuple[Fact, ...] = ()

    def all_releases(self) -> tuple[Release, ...]:
        """Return the given releases and those that the acts made, each once, ordered by number."""
        known = {release.digest: release for act in self.acts if (release := act.run.release) and release.digest}
        known |= {release.digest: release for release in self.releases if release.digest}
        return tuple(sorted(known.values(), key=lambda release: (release.number is None, release.number or 0, release.digest)))
