"""The step that asks the gate whether the challenger replaces the champion."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib

from sluice.checks.judgements import predict_probability
from sluice.data.holdout import open_holdout
from sluice.data.row_scores import bind_scores
from sluice.errors import UndecidedError
from sluice.gate import questions
from sluice.gate.budgets import UNRECORDED, WARN_AT
from sluice.project.projects import read_project
from sluice.release.packaging import check_sources
from sluice.run_warnings import RunWarning
from sluice.steps.champions import read_champion, score_release
from sluice.steps.ledgers import describe_power, open_ledger, open_scores, read_heads, read_rule
from sluice.steps.records import record_part, record_warnings, running_step
from sluice.steps.training import verify_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.data.holdout import Holdout
    from sluice.data.row_scores import RowScores
    from sluice.gate.decision import GateDecision
    from sluice.gate.ledger_documents import OverrideRecord
    from sluice.gate.power import GatePower
    from sluice.project.projects import Project
    from sluice.release.store.releases import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class GateAnswer:
    """The gate's decision about a model, and a person's override of it.

    Attributes:
        model: The digest of the model.
        scores: The digest of its scores on the gate rows.
        decision: The gate's own decision. An override never changes it.
        override: The override that is valid now; None if there is none, or if the gate promotes the model anyway.
        power: What the gate can see with this holdout.
    """

    model: str
    scores: str
    decision: GateDecision
    override: OverrideRecord | None
    power: GatePower

    @property
    def passes(self) -> bool:
        """Whether the model may become a release."""
        return self.decision.promote or self.override is not None

    @property
    def detail(self) -> str:
        """What to tell people: the decision, what is left of the budget, and the override."""
        decision = self.decision
        budget = f"{decision.uses} of {decision.budget} questions used, {decision.left} left"
        if decision.left and decision.budget - decision.left >= WARN_AT * decision.budget:
            budget += " (`sluice gate status` says how to get more)"
        parts = [decision.verdict.detail, budget]
        if self.override:
            parts.append(f"{self.override.by} let the model pass nevertheless: {self.override.why}")
        return "; ".join(parts) + (f". {self.power.describe()}" if decision.first else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the public decision as plain JSON types, with the digests, the override, and what the gate can see."""
        override = self.override
        shown = override.model_dump(include={"model", "scores", "by", "why", "at", "until"}) if override else None
        judged = {"model": self.model, "scores": self.scores}
        return self.decision.to_public_dict() | judged | {"override": shown, "power": self.power.describe()}


def ask_gate(model: str, metadata: Mapping[str, Any], outputs: Mapping[str, str]) -> bool:
    """Decide whether the challenger replaces the champion.

    Args:
        model: Local path of the fitted model.
        metadata: The model's metadata, with the digest that it must have.
        outputs: Paths to write: ``decision`` (JSON, the public part) and ``scores`` (the challenger's scores with the ids of the
            gate rows, .npz).

    Returns:
        True to promote the challenger, or if a person let it pass; False to keep the champion. Neither is an error.

    Raises:
        ConfigurationError: A path in project.packages or serving.lock does not exist.
        IntegrityError: The model does not have the digest that training recorded.
        UndecidedError: The gate could not judge the challenger, and no person let it pass.
    """
    project = read_project()
    with running_step("gate") as step:
        check_sources(project)  # a question about a model that cannot be packaged would be wasted
        challenger = joblib.load(verify_model(Path(model), metadata))
        holdout = open_holdout(project)
        rows = holdout.gate
        found = predict_probability(challenger, rows.features)
        scores = bind_scores(rows.ids, found, holdout=holdout.digest, row_set=holdout.row_set.digest)
        answer = decide(project, holdout, scores, challenger=str(metadata["digest"]))
        record_warnings("gate", warn_about_holdout(project, holdout))
        _write(answer, scores, outputs)
        step.detail = answer.detail
        if answer.decision.undecided and not answer.passes:
            raise UndecidedError(
                answer.decision.verdict.detail,
                hint="`sluice gate status` shows the budget. A person may let this model pass nevertheless: "
                f"`sluice gate override {answer.model} --scores {answer.scores} --why …`, then run the pipeline again.",
            )
    return answer.passes


def decide(project: Project, holdout: Holdout, scores: RowScores, *, challenger: str) -> GateAnswer:
    """Record the question in the ledger, decide it, and look for an override of the model."""
    ledger = open_ledger(project)
    champion = read_champion(project)
    decision = questions.ask_gate(
        ledger,
        holdout,
        challenger=(challenger, scores),
        champion=(champion.digest, champion_scores(project, champion, holdout)) if champion else None,
        rule=read_rule(project),
        heads=read_heads(project),
    )
    override = None if decision.promote else ledger.read().find_override(challenger, scores.digest, time.time())
    return GateAnswer(
        model=challenger, scores=scores.digest, decision=decision, override=override, power=describe_power(project, holdout)
    )


def warn_about_holdout(project: Project, holdout: Holdout) -> list[RunWarning]:
    """Return the warning about a holdout that replaced another one without a rotation; empty if there is nothing to say."""
    if not open_ledger(project).measure(holdout.row_set, holdout=holdout.digest, rule=read_rule(project)).unrecorded:
        return []
    return [
        RunWarning(
            kind="unrecorded-holdout",
            text=UNRECORDED,
            hint="Set data.holdout in sluice.toml to the earlier file again, and switch with `sluice holdout rotate`.",
        )
    ]


def champion_scores(project: Project, champion: Release, holdout: Holdout) -> RowScores:
    """Return the champion's scores of the gate rows.

    They were stored when the champion was the challenger. If they do not belong to this holdout's bytes and to exactly these
    rows, the champion's own code computes them again.
    """
    stored = open_scores(project)
    rows = holdout.gate
    found = stored.load(champion.digest, row_set=holdout.row_set.digest, holdout=holdout.digest, ids=rows.ids)
    if found is not None:
        return found
    (computed,) = score_release(project, champion, rows.features)
    scores = bind_scores(rows.ids, computed, holdout=holdout.digest, row_set=holdout.row_set.digest)
    stored.save(champion.digest, scores)
    return scores


def _write(answer: GateAnswer, scores: RowScores, outputs: Mapping[str, str]) -> None:
    public = answer.to_dict()
    record_part("gate", public)
    for name in outputs.values():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(outputs["decision"]).write_text(json.dumps(public), encoding="utf-8")
    scores.write(Path(outputs["scores"]))
