"""The step that asks the challenger and the champion of the run for what later steps need of them.

It loads the challenger, which runs code that is in the model's file. So it has a pod of its own, without access to the ledger and
to production, and without a key. The gate gets scores from it and packaging gets golden rows, so neither loads a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.checks.judgements import predict_probability
from sluice.data.holdout import open_holdout
from sluice.data.row_scores import bind_scores
from sluice.gate.submitted_scores import SubmittedScores
from sluice.project.projects import read_project
from sluice.release.golden_answers import GoldenAnswers, answer_golden_rows
from sluice.steps.champions import read_champion_of_run, score_release
from sluice.steps.ledgers import open_scores
from sluice.steps.records import running_step
from sluice.steps.training import load_trained_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.data.holdout import Holdout
    from sluice.data.row_scores import RowScores
    from sluice.project.projects import Project
    from sluice.release.store.releases import Release


def score_gate_rows(model: str, metadata: Mapping[str, Any], target: str, golden: str) -> None:
    """Score the gate rows for the gate, and let the challenger answer the golden rows for packaging.

    Args:
        model: Local path of the fitted model.
        metadata: The model's metadata, with the digest that it must have and the champion of the run.
        target: Path to write the scores to (.npz), with the ids of their rows and the digests of model, champion and holdout.
        golden: Path to write the golden rows to (JSON). They are chosen from the test rows.

    Raises:
        DataError: The model or the champion does not give one probability for each gate row.
        IntegrityError: The model does not have the digest that training recorded, or the champion was altered.
        RefusedError: The present environment is not the one that the champion was made in. Or the challenger fails on test rows,
            or it would answer differently when served than at training, so that it cannot be packaged.
        ServiceError: The champion's server or process failed, or the registry does not answer.
    """
    project = read_project()
    with running_step("score") as step:
        challenger = load_trained_model(Path(model), metadata)
        holdout = open_holdout(project)
        rows = holdout.gate
        found = predict_probability(challenger, rows.features)
        answers = answer_golden_rows(challenger, holdout.test.features)
        GoldenAnswers(model=str(metadata["digest"]), holdout=holdout.digest, golden=answers).write(Path(golden))
        champion = read_champion_of_run(project, metadata)
        SubmittedScores(
            model=str(metadata["digest"]),
            challenger=bind_scores(rows.ids, found, holdout=holdout.digest, row_set=holdout.row_set.digest),
            champion=champion.digest if champion else None,
            champion_scores=champion_scores(project, champion, holdout) if champion else None,
        ).write(Path(target))
        others = f" and by release {champion.number}, the champion" if champion else "; there is no champion"
        step.detail = f"{len(rows):,} gate rows, scored by the challenger{others}"


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
