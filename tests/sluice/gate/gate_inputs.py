"""Holdouts, scores and questions for the tests of the gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sluice.data.holdout import Holdout
from sluice.data.labelled_rows import LabelledRows
from sluice.data.row_scores import bind_scores
from sluice.data.row_sets import describe_row_set
from sluice.data.snapshots import Snapshot
from sluice.gate.ledger_documents import GateRule, Question

if TYPE_CHECKING:
    from sluice.data.row_scores import RowScores
    from sluice.data.row_sets import RowSet
    from sluice.gate.budgets import AskedQuestion
    from sluice.gate.ledger import Ledger

DAY = 86_400.0
BYTES, OTHER_BYTES = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
CHAMPION_RELEASE = "sha256:" + "c1" * 32
RULE = GateRule(margin=0.005, alpha=0.05, budget=52, gate_fraction=0.5)


def make_row_set(first: int = 0, rows: int = 1_000) -> RowSet:
    return describe_row_set(range(first, first + rows), [0, 1] * (rows // 2))


ROWS, FRESH = make_row_set(), make_row_set(10_000)


def ask(
    ledger: Ledger, challenger: str, *, row_set: RowSet = ROWS, holdout: str = BYTES, rule: GateRule = RULE, **changes: object
) -> AskedQuestion:
    """Ask the ledger about a challenger. `changes` may contain fields of the question, `heads` and `at`."""
    options = {key: changes.pop(key) for key in ("heads", "at") if key in changes}
    question = Question(challenger=challenger, **{"champion": "champion", "rule": rule, "row_set": row_set.digest, **changes})
    return ledger.ask(question, row_set, holdout=holdout, rule=rule, **options)


def make_holdout(labels: np.ndarray, *, first: int = 0, digest: str = BYTES) -> Holdout:
    """Return a holdout whose gate rows have these labels. It has ten test rows."""
    ids = np.arange(first, first + len(labels) + 10)
    values = np.concatenate([labels, np.zeros(10)]).astype(np.int8)
    frame = pd.DataFrame({"id": ids, "x": 0.0, "y": values})
    rows = LabelledRows(frame=frame, features=frame[["x"]], labels=values, ids=ids.astype(object))
    gate = np.arange(len(ids)) < len(labels)
    pinned = Snapshot(Path("holdout.parquet"), digest, "holdout.parquet")
    return Holdout(pinned=pinned, rows=rows, row_set=describe_row_set(ids, values), is_gate=gate)


def bind(holdout: Holdout, scores: np.ndarray) -> RowScores:
    """Bind scores to the gate rows of a holdout."""
    return bind_scores(holdout.gate.ids, scores, holdout=holdout.digest, row_set=holdout.row_set.digest)
