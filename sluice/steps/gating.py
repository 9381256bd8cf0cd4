"""The step that asks the gate: gate rows in, one bit out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from sluice.checks.judgements import predict_probability
from sluice.data.holdout import LabelledRows, holdout_digest, read_holdout
from sluice.gate import questions
from sluice.gate.ledger import Ledger
from sluice.gate.ledger_documents import GateRule
from sluice.project.projects import Project, read_project
from sluice.steps.records import record_part, running_step
from sluice.steps.scoring import read_champion, score_release
from sluice.steps.training import checked_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from sluice.gate.decision import GateDecision
    from sluice.release.store.releases import Release


def ask_gate(model: str, metadata: Mapping[str, Any], outputs: Mapping[str, str]) -> bool:
    """Decide whether the challenger replaces the champion.

    Args:
        model: Local path of the fitted model.
        metadata: Its metadata, with the digest that it must have.
        outputs: Paths to write: ``decision`` (JSON, the public part) and ``scores`` (the challenger's gate scores, .npy).

    Returns:
        True to promote, False to keep the champion; neither is an error.

    Raises:
        IntegrityError: The model's bytes are not those that were trained.
    """
    project = read_project()
    with running_step("gate") as step:
        challenger = joblib.load(checked_model(Path(model), metadata))
        rows = read_holdout(project, part="gate")
        scores = predict_probability(challenger, rows.features)
        decision = decide(project, rows, scores, challenger=str(metadata["digest"]))
        _write(decision, scores, outputs)
        step.detail = decision.verdict.detail
    return decision.promote


def decide(project: Project, rows: LabelledRows, scores: npt.NDArray[np.float64], *, challenger: str) -> GateDecision:
    """Count the question in the ledger, then answer it."""
    settings = project.settings.gate
    holdout = holdout_digest(project)
    ledger = Ledger(project.state / "ledger")
    champion = read_champion(project)
    return questions.ask_gate(
        ledger,
        rows.labels,
        holdout=holdout,
        challenger=(challenger, scores),
        champion=(champion.digest, champion_scores(project, ledger, champion, holdout, rows)) if champion else None,
        rule=GateRule(margin=settings.margin, alpha=settings.alpha, budget=settings.budget),
    )


def champion_scores(
    project: Project, ledger: Ledger, champion: Release, holdout: str, rows: LabelledRows
) -> npt.NDArray[np.float64]:
    """The champion's gate scores: as stored when it was the challenger, else made by its own code, for a new holdout."""
    stored = ledger.load_scores(champion.digest, holdout)
    if stored is not None and len(stored) == len(rows.labels):
        return stored
    scores = score_release(project, champion, rows.features)
    ledger.save_scores(champion.digest, holdout, scores)
    return scores


def _write(decision: GateDecision, scores: npt.NDArray[np.float64], outputs: Mapping[str, str]) -> None:
    public = decision.to_public_dict()
    record_part("gate", public)
    for name in outputs.values():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(outputs["decision"]).write_text(json.dumps(public), encoding="utf-8")
    with Path(outputs["scores"]).open("wb") as file:  # a file, since np.save adds an ending to a name
        np.save(file, scores)
