"""The gate outside a run: a preview on the test rows, which anybody may repeat, and the one question that counts.

The preview compares the challenger with the champion on the holdout's test rows. Every report shows their scores anyway, so a
preview gives away nothing about the gate rows, and the ledger does not count it. It cannot replace the question: the more
often people look at the test rows, the more a model fits them by chance.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.checks.judgements import predict_probability
from sluice.data.holdout import read_holdout
from sluice.errors import CheckFailedError, DataError, RefusedError
from sluice.statistics.auc import compare_auc, estimate_auc
from sluice.steps.champions import read_champion, score_release
from sluice.steps.curves import measure_curves
from sluice.steps.gating import ask_gate
from sluice.steps.ledgers import read_rule
from sluice.steps.scoring import score_gate_rows
from sluice.steps.standalone.candidates import (
    CURVES_FILE,
    DECISION_FILE,
    GATE_FOLDER,
    GOLDEN_FILE,
    SCORES_FILE,
    plan_candidate,
)
from sluice.steps.standalone.results import read_document
from sluice.steps.training import load_trained_model
from sluice.verdicts import Verdict

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.steps.standalone.candidates import Candidate

PREVIEW_FILE = "preview.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePreview:
    """How the challenger compares with the champion on the test rows. All values are plain JSON types.

    Attributes:
        model: The digest of the challenger's model.
        champion: The champion's digest; None if there is no champion.
        rows: The number of test rows.
        auc: The challenger's AUC.
        champion_auc: The champion's AUC; None if there is no champion.
        difference: The challenger's AUC minus the champion's; None if there is no champion.
        interval: The paired 95 % interval of the difference, as ``low`` and ``high``; None if there is no champion.
        margin: What the difference must exceed at the gate.
        champion_known: Whether this machine can know which release is champion.
    """

    model: str
    champion: str | None
    rows: int
    auc: float
    champion_auc: float | None
    difference: float | None
    interval: dict[str, float] | None
    margin: float
    champion_known: bool = True

    @property
    def outcome(self) -> str:
        """``first``, ``better``, ``worse`` or ``unclear``, as the interval says; ``unknown`` if the champion is not known."""
        if not self.champion_known:
            return "unknown"
        if self.interval is None:
            return "first"
        if self.interval["low"] > 0:
            return "better"
        return "worse" if self.interval["high"] < 0 else "unclear"

    @property
    def detail(self) -> str:
        """What the comparison shows, and that it decides nothing."""
        end = f"{self.rows:,} test rows were compared. The gate was not asked, and its budget is unchanged."
        if not self.champion_known:
            return (
                f"The AUC of the model is {self.auc:.4f}. It was compared with no champion, because the champion is in a cluster "
                f"that this machine does not ask (rollout.splitter). {end}"
            )
        if self.difference is None or self.interval is None:
            return f"There is no champion, so the gate would let this model pass (AUC {self.auc:.4f}). {end}"
        found = (
            f"The challenger's AUC is {self.auc:.4f} and the champion's {self.champion_auc:.4f}: a difference of "
            f"{self.difference:+.4f} (95 % interval {self.interval['low']:+.4f} to {self.interval['high']:+.4f}). "
        )
        rule = f"The gate promotes only a difference above {self.margin:g} that is certain on its own rows. "
        return found + rule + end


def preview_gate(project: Project) -> GatePreview:
    """Compare the model that was trained last with the champion on the test rows, and store the result for the report.

    Raises:
        DataError: The test rows or the scores cannot be used.
        IntegrityError: The model or the champion was altered.
        ServiceError: The champion cannot be scored.
        StateError: No model was trained in this project yet.
    """
    candidate = plan_candidate(project)
    champion = read_champion(project)
    rows = read_holdout(project, part="test")
    model = load_trained_model(candidate.model, candidate.training)
    scores = predict_probability(model, rows.features)
    other = score_release(project, champion, rows.features)[0] if champion else None
    try:
        auc = estimate_auc(rows.labels, scores).auc
        compared = compare_auc(rows.labels, other, scores) if other is not None else None
    except ValueError as error:
        raise DataError(
            f"the models cannot be compared on the test rows: {error}", hint="Use a holdout whose test rows have both labels."
        ) from error
    preview = GatePreview(
        model=candidate.digest,
        champion=champion.digest if champion else None,
        rows=len(rows.labels),
        auc=auc,
        champion_auc=compared.auc_a if compared else None,
        difference=compared.difference if compared else None,
        interval={"low": compared.interval.low, "high": compared.interval.high} if compared else None,
        margin=read_rule(project).margin,
        # The ledger is in a cluster, so the champion is there too. A job of a pull request has no account in it.
        champion_known=champion is not None or project.settings.rollout.in_cluster or not project.settings.gate.config_map,
    )
    folder = project.state / GATE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stored = dataclasses.asdict(preview) | {"outcome": preview.outcome, "detail": preview.detail}
    (folder / PREVIEW_FILE).write_text(json.dumps(stored), encoding="utf-8")
    return preview


def ask_about_candidate(project: Project) -> dict[str, Any]:
    """Ask the gate about the model that was trained last, and store its decision for `build_candidate`.

    The question counts, so it is asked only about a model whose code, data and model tests passed. The same question about the
    same model gets the same answer and is not counted again.

    Returns:
        The gate's public decision.

    Raises:
        CheckFailedError: A check of a layer blocks the model.
        RefusedError: A layer was not run about this code, this snapshot and this model.
        StateError: No model was trained yet, or the ledger refuses the question.
        UndecidedError: The gate could not judge the model, and no person let it pass.
    """
    candidate = plan_candidate(project)
    check_tested(candidate)
    folder = project.state / GATE_FOLDER
    (folder / DECISION_FILE).unlink(missing_ok=True)
    model, scores = str(candidate.model), str(folder / SCORES_FILE)
    measure_curves(model, candidate.training, str(folder / CURVES_FILE))
    score_gate_rows(model, candidate.training, scores, str(folder / GOLDEN_FILE))
    ask_gate(model, candidate.training, scores, str(folder / DECISION_FILE))
    return read_document(folder / DECISION_FILE)


def check_tested(candidate: Candidate) -> None:
    """Check that the first three layers ran about what the release will contain, and that no check blocks it.

    Raises:
        CheckFailedError: A check failed, or is inconclusive and may not be.
        RefusedError: A layer's verdicts are about something else, or the layer was not run.
    """
    for layer, reason in candidate.left_out.items():
        if reason:
            raise RefusedError(
                f"the gate was not asked, because {reason}",
                hint=f"Run `sluice test {layer}` for this model first, then ask again.",
            )
        blocking = [one for one in map(Verdict.from_dict, candidate.verdicts[layer]) if one.blocks]
        if blocking:
            raise CheckFailedError(
                f"the gate was not asked, because the {layer} tests do not pass: {blocking[0].check} "
                f"({len(blocking)} of {len(candidate.verdicts[layer])} checks block the model)",
                hint=f"`sluice test {layer} --verbose` shows every check.",
            )
