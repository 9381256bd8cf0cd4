"""The gate of a project: where its ledger is, what it says about the present holdout, and what the gate can see with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.data.holdout import Holdout, open_holdout
from sluice.errors import StateError
from sluice.gate.budgets import UNRECORDED, measure_budget
from sluice.gate.decision import MIN_PER_CLASS, refuse_few
from sluice.gate.ledger import Ledger
from sluice.gate.ledger_documents import (
    AcceptedRowsRecord,
    ChampionLossRecord,
    GateRule,
    LossRecord,
    OverrideRecord,
    RotationRecord,
)
from sluice.gate.power import GatePower, plan_power
from sluice.gate.refusals import check_question
from sluice.gate.score_files import ScoreFiles
from sluice.gate.stores.config_maps import connect_config_map
from sluice.gate.stores.folders import FolderStore
from sluice.gate.stores.head_files import HeadFile
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests.statuses import read_status
from sluice.statistics.auc import compare_auc
from sluice.statistics.samples import count_smaller_class

if TYPE_CHECKING:
    from sluice.gate.ledger_documents import LedgerDocument, QuestionRecord
    from sluice.project.projects import Project

LEDGER_FOLDER, HEAD_FOLDER = "ledger", "ledger-heads"
_CHANGES = RotationRecord | LossRecord | ChampionLossRecord | AcceptedRowsRecord
_NO_HEAD = (
    f"the file with the ledger's head ({HEAD_FOLDER}/) is missing, so nothing shows whether the ledger is an older copy: if it "
    "was restored from a backup, restore the newest one"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def open_ledger(project: Project) -> Ledger:
    """Return the ledger of a project: in a ConfigMap if gate.config_map names one, otherwise in the state folder.

    A file of the state folder, apart from the ledger, stores the ledger's head a second time. Each place has its own file.
    Nothing of the ledger is read yet.

    Raises:
        ServiceError: gate.config_map is set, and no cluster can be reached.
    """
    folder = FolderStore(project.state / LEDGER_FOLDER)
    if not project.settings.gate.config_map:
        return Ledger(folder, head_file=HeadFile(project.state / HEAD_FOLDER / "folder"))
    store = connect_config_map(project.settings.gate.config_map, earlier=folder)
    return Ledger(store, head_file=HeadFile(project.state / HEAD_FOLDER / f"configmap-{store.namespace}-{store.name}"))


def open_scores(project: Project) -> ScoreFiles:
    """Return the stored scores of a project's releases on holdouts."""
    return ScoreFiles(project.state / LEDGER_FOLDER / "scores")


def read_rule(project: Project) -> GateRule:
    """Return the rule that sluice.toml sets for the gate."""
    settings = project.settings.gate
    return GateRule(
        margin=settings.margin, alpha=settings.alpha, budget=settings.budget, gate_fraction=project.settings.data.gate_fraction
    )


def read_heads(project: Project) -> tuple[str, ...]:
    """Return the links that the ledger must contain: those of the question that promoted the champion.

    The rollout journal names one, and the champion's manifest another one. They are equal unless somebody changed one of them.
    Releases of earlier versions name none.
    """
    history = open_journal(project).read().history
    if not history:
        return ()
    champion = history[-1]
    named = [champion.ledger_head]
    store = ReleaseStore(project.state / "releases")
    named += [
        str((release.manifest.get("gate") or {}).get("ledger_head") or "")
        for release in store.list()
        if release.digest == champion.release
    ]
    return tuple(dict.fromkeys(link for link in named if link))


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStatus:
    """What the gate's ledger says about the present holdout. All values are plain JSON types.

    Attributes:
        place: Where the ledger is.
        head: The link of its last record; empty if there is none.
        holdout: The digest of the holdout's bytes.
        row_set: The digest of its row set.
        test_rows: The number of test rows, by label: ``{"0": …, "1": …}``.
        gate_rows: The same for the gate rows.
        budget: The number of questions that gate.budget allows.
        used: The number of questions that count now.
        left: The number of questions that can still be asked.
        own: The questions about these rows, which count for ever.
        carried: The questions about other rows in the last 365 days.
        frees_at: When the first carried question expires, in epoch seconds; None if none is carried.
        refusal: Why the gate would refuse every question now, as ``message`` and ``hint``; None if it would answer.
        warnings: What needs attention.
        questions: The last questions about any rows with their public answers, oldest first.
        overrides: The overrides of the gate that people have recorded, oldest first.
        rotations: The rotations of the holdout, confirmed losses of ledger or champion, and accepted changes of the loader,
            oldest first.
    """

    place: str
    head: str
    holdout: str
    row_set: str
    test_rows: dict[str, int]
    gate_rows: dict[str, int]
    budget: int
    used: int
    left: int
    own: int
    carried: int
    frees_at: float | None
    refusal: dict[str, str] | None
    warnings: list[str]
    questions: list[dict[str, Any]]
    overrides: list[dict[str, Any]]
    rotations: list[dict[str, Any]]


def read_gate_status(project: Project, *, last: int = 10, now: float) -> GateStatus:
    """Read the gate's ledger and the holdout.

    Args:
        project: The project.
        last: The number of questions to return.
        now: The time, in seconds since the epoch.

    Raises:
        DataError: The holdout cannot be read.
        StateError: The ledger cannot be read, or was deleted, shortened or replaced.
    """
    holdout, ledger, rule = open_holdout(project), open_ledger(project), read_rule(project)
    document = ledger.read()
    ledger.check_heads(read_heads(project))
    refused = find_refusal(project, holdout, document)
    use = measure_budget(document, holdout.row_set, holdout=holdout.digest, rule=rule, now=now)
    rows = {part: {"0": counts["negative"], "1": counts["positive"]} for part, counts in holdout.count().items()}
    warnings_about_place = [_NO_HEAD] if not project.settings.gate.config_map and ledger.lacks_head else []
    few = min(rows["gate"].values()) < MIN_PER_CLASS
    warnings = ([f"the gate refuses every question: {refused.message}"] if refused else []) + warnings_about_place
    warnings += ([use.warning] if use.warning else []) + ([UNRECORDED] if use.unrecorded else [])
    warnings += [refuse_few(holdout.gate.labels, used=use.used, budget=use.budget).verdict.detail] if few else []
    return GateStatus(
        place=ledger.store.place,
        head=document.head,
        holdout=holdout.digest,
        row_set=holdout.row_set.digest,
        test_rows=rows["test"],
        gate_rows=rows["gate"],
        budget=use.budget,
        used=use.used,
        left=use.left,
        own=use.own,
        carried=use.carried,
        frees_at=use.frees_at,
        refusal={"message": refused.message, "hint": refused.hint} if refused else None,
        warnings=warnings,
        questions=[_show_question(record, document) for record in document.questions()[-last:]],
        overrides=[_show(record) for record in document.records if isinstance(record, OverrideRecord)],
        rotations=[_show(record) for record in document.records if isinstance(record, _CHANGES)],
    )


def find_refusal(project: Project, holdout: Holdout, document: LedgerDocument) -> StateError | None:
    """Return why the gate would refuse every question now, whoever is the challenger; None if it would answer."""
    try:
        check_question(
            document, holdout.row_set, champion=read_status(project).champion, holdout=holdout.digest, rule=read_rule(project)
        )
    except StateError as error:
        return error
    return None


def check_gate(project: Project, *, now: float) -> list[str]:
    """Check before the training that the gate will accept a question, and return its warnings.

    Raises:
        DataError: The holdout cannot be read.
        StateError: The gate would refuse every question, or the ledger cannot be read, or was deleted, shortened or replaced.
    """
    status = read_gate_status(project, now=now)
    if status.refusal is not None:
        raise StateError(status.refusal["message"], hint=status.refusal["hint"])
    return status.warnings


def predict_power(project: Project) -> GatePower:
    """Return what the gate can see with the project's holdout. It reads labels and ids, and trains and scores nothing.

    If the scores of the champion and of N-1 on these gate rows are stored, the standard error between them replaces the
    assumption. Both were promoted, and the result shows neither AUC.

    Raises:
        DataError: The holdout cannot be read.
    """
    return describe_power(project, open_holdout(project))


def describe_power(project: Project, holdout: Holdout) -> GatePower:
    """Return what the gate can see with a holdout that has been read."""
    labels = holdout.gate.labels
    error = _measure_error(project, holdout)
    return plan_power(len(labels), int(labels.sum()), read_rule(project), standard_error=error)


def _measure_error(project: Project, holdout: Holdout) -> float | None:
    """Return the standard error of the difference between champion and N-1; None if their scores are not stored."""
    history = open_journal(project).read().history[-2:]
    files, gate = open_scores(project), holdout.gate
    stored = [
        files.load(term.release, row_set=holdout.row_set.digest, holdout=holdout.digest, ids=gate.ids)
        for term in history
        if _DIGEST.fullmatch(term.release)
    ]
    found = [scores.align(gate.ids) for scores in stored if scores is not None]
    if len(found) < 2 or count_smaller_class(gate.labels) < MIN_PER_CLASS:  # noqa: PLR2004 - two releases are compared
        return None
    return compare_auc(gate.labels, *found).standard_error or None


def _show_question(record: QuestionRecord, document: LedgerDocument) -> dict[str, Any]:
    answer = document.find_answer(record.link)
    return {
        "at": record.at,
        "challenger": record.question.challenger,
        "champion": record.question.champion,
        "row_set": record.question.row_set,
        "uses": record.uses,
        "link": record.link,
        "answer": answer,
    }


def _show(record: OverrideRecord | RotationRecord | LossRecord | ChampionLossRecord | AcceptedRowsRecord) -> dict[str, Any]:
    return record.model_dump(mode="json")
