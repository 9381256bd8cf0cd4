"""The step that asks the gate whether the challenger replaces the champion.

It holds the access to the gate's ledger, so it loads no model: the step `score` (`sluice.steps.scoring`) made the scores.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.holdout import open_holdout
from sluice.errors import UndecidedError
from sluice.gate import questions
from sluice.gate.budgets import UNRECORDED, WARN_AT
from sluice.gate.submitted_scores import check_scores, read_submitted_scores
from sluice.project.projects import read_project
from sluice.release.gate_statements import read_answer, sign_answer
from sluice.release.packaging import check_sources
from sluice.rollout.requests.statuses import read_status
from sluice.run_warnings import RunWarning
from sluice.steps.before_training.keys import check_gate_key
from sluice.steps.before_training.places import check_places, warn_of_lost_journal
from sluice.steps.ledgers import describe_power, open_ledger, read_heads, read_rule
from sluice.steps.records import record_part, record_warnings, running_step
from sluice.steps.training import verify_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.data.holdout import Holdout
    from sluice.gate.decision import GateDecision
    from sluice.gate.ledger_documents import OverrideRecord
    from sluice.gate.power import GatePower
    from sluice.gate.submitted_scores import SubmittedScores
    from sluice.project.projects import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class GateAnswer:
    """The gate's decision about a model, and a person's override of it.

    Attributes:
        model: The digest of the model.
        scores: The digest of its scores on the gate rows.
        decision: The gate's own decision. An override never changes it.
        override: The override that is valid now; None if there is none, or if the gate promotes the model anyway.
        power: What the gate can see with this holdout.
        champion: The digest of the champion that the model was compared with; None if there is none.
        holdout: The digest of the holdout.
        asked_at: When the question was recorded, in seconds since the epoch; None if it was not recorded, because the gate could
            not judge.
    """

    model: str
    scores: str
    decision: GateDecision
    override: OverrideRecord | None
    power: GatePower
    champion: str | None
    holdout: str
    asked_at: float | None

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


def ask_gate(model: str, metadata: Mapping[str, Any], scores: str, target: str) -> bool:
    """Decide whether the challenger replaces the champion.

    Args:
        model: Local path of the fitted model. Its bytes are compared with its digest, and it is not loaded.
        metadata: The model's metadata, with the digest that it must have.
        scores: Local path of the scores that `sluice.steps.scoring.score_gate_rows` wrote.
        target: Path to write the public part of the decision to (JSON).

    Returns:
        True to promote the challenger, or if a person let it pass; False to keep the champion. Neither is an error.

    Raises:
        ConfigurationError: A path in project.packages or serving.lock does not exist, the ledger would be lost with the state
            folder, or the key that must sign the answer is missing or cannot be used.
        DataError: The scores cannot be read, or one is not a number in [0, 1].
        IntegrityError: The model does not have the digest that training recorded, or the scores are not those of this model on
            exactly the gate rows.
        StateError: The champion is not the one that the model was compared with, or the ledger refuses the question.
        UndecidedError: The gate could not judge the challenger, and no person let it pass.
    """
    project = read_project()
    with running_step("gate") as step:
        check_places(project)
        check_gate_key(project)
        check_sources(project)  # a question about a model that cannot be packaged would be wasted
        verify_model(Path(model), metadata)
        holdout = open_holdout(project)
        answer = decide(project, holdout, read_submitted_scores(Path(scores)), challenger=str(metadata["digest"]))
        record_warnings("gate", warn_about_holdout(project, holdout) + warn_of_lost_journal(project))
        _write(sign(answer, project), Path(target))
        step.detail = answer.detail
        if answer.decision.undecided and not answer.passes:
            raise UndecidedError(
                answer.decision.verdict.detail,
                hint="`sluice gate status` shows the budget. A person may let this model pass nevertheless: "
                f"`sluice gate override {answer.model} --scores {answer.scores} --why …`, then run the pipeline again.",
            )
    return answer.passes


def decide(project: Project, holdout: Holdout, submitted: SubmittedScores, *, challenger: str) -> GateAnswer:
    """Check the scores, record the question in the ledger, decide it, and look for an override of the model."""
    champion, scores = read_status(project).champion, submitted.challenger
    check_scores(submitted, holdout, model=challenger, champion=champion)
    ledger = open_ledger(project)
    decision = questions.ask_gate(
        ledger,
        holdout,
        challenger=(challenger, scores),
        champion=(champion, submitted.champion_scores) if champion and submitted.champion_scores else None,
        rule=read_rule(project),
        heads=read_heads(project),
    )
    recorded = ledger.read()
    override = None if decision.promote else recorded.find_override(challenger, scores.digest, time.time())
    asked = recorded.find_link(decision.ledger_head)
    return GateAnswer(
        model=challenger,
        scores=scores.digest,
        decision=decision,
        override=override,
        power=describe_power(project, holdout),
        champion=champion,
        holdout=holdout.digest,
        asked_at=asked.at if asked else override.at if override else None,
    )


def sign(answer: GateAnswer, project: Project) -> dict[str, Any]:
    """Return the gate's public answer, signed if a key is configured.

    The time in the statement is that of the question in the ledger, so that the same question gives the same release. An override
    is a part of the answer, so the gate's key signs it as well. An answer to a question that was not recorded decides nothing,
    and is not signed.

    Raises:
        ConfigurationError: The key cannot be used.
    """
    public = answer.to_dict()
    if answer.asked_at is None:
        return public
    name = project.settings.project.name
    return sign_answer(public, project=name, champion=answer.champion, holdout=answer.holdout, at=answer.asked_at)


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


def _write(public: dict[str, Any], target: Path) -> None:
    record_part("gate", read_answer(public))  # lists of runs carry it, and the release's manifest has the envelope
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(public), encoding="utf-8")
