"""The step that asks the gate whether the challenger replaces the champion."""

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
from sluice.steps.training import verify_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from sluice.gate.decision import GateDecision
    from sluice.release.store.releases import Release


def ask_gate(model: str, metadata: Mapping[str, Any], outputs: Mapping[str, str]) -> bool:
    """Decide whether the challenger replaces the champion.

    Args:
        model: Local path of the fitted model.
        metadata: The model's metadata, with the digest that it must have.
        outputs: Paths to write: ``decision`` (JSON, the public part) and ``scores`` (the challenger's scores of the gate rows,
            .npy).

    Returns:
        True to promote the challenger, False to keep the champion. Neither is an error.

    Raises:
        IntegrityError: The model does not have the digest that training recorded.
    """
    project = read_project()
    with running_step("gate") as step:
        challenger = joblib.load(verify_model(Path(model), metadata))
        rows = read_holdout(project, part="gate")
        scores = predict_probability(challenger, rows.features)
        decision = decide(project, rows, scores, challenger=str(metadata["digest"]))
        _write(decision, scores, outputs)
        step.detail = decision.verdict.detail
    return decision.promote


def decide(project: Project, rows: LabelledRows, scores: npt.NDArray[np.float64], *, challenger: str) -> GateDecision:
    """Record the question in the ledger, and then decide it."""
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
    """Return the champion's scores of the gate rows, shape (rows,).

    They were stored when the champion was the challenger. For a new holdout the champion's own code computes them.
    """
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
    with Path(outputs["scores"]).open("wb") as file:  # an open file, because np.save adds a suffix to a path
        np.save(file, scores)
