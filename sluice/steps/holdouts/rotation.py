"""Replace the holdout by fresh rows, for `sluice holdout rotate`.

Each part can be repeated: the champion's scores are stored by row id, the ledger records the rotation once, and sluice.toml is
changed last. So after an interruption, the same command completes the rotation.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.holdout import SNAPSHOT_FOLDER, open_holdout
from sluice.data.overlaps import find_overlap
from sluice.data.row_sets import estimate_overlap
from sluice.data.snapshots import digest_file, is_url, pin_snapshot
from sluice.errors import ConfigurationError, StateError
from sluice.gate.budgets import SHARED_ROWS
from sluice.gate.ledger_documents import RotationRecord
from sluice.project.edits import set_texts
from sluice.project.projects import Project
from sluice.project.roots import FILE_NAME
from sluice.steps.before_training.requirements import judge_overlap, require_both_classes
from sluice.steps.champions import read_champion
from sluice.steps.holdouts.statuses import read_rows_of_models
from sluice.steps.ledgers import open_ledger, read_heads, read_rule
from sluice.steps.scoring import champion_scores

if TYPE_CHECKING:
    from sluice.data.holdout import Holdout
    from sluice.gate.budgets import BudgetUse

_VARIABLES = ("SLUICE_DATA__HOLDOUT", "SLUICE_DATA__HOLDOUT_DIGEST", "SLUICE_DATA")


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationPlan:
    """A rotation that has passed all checks.

    Attributes:
        unchanged: Whether the file is the present holdout already. Then there is nothing to do.
        project: The project with the new holdout in its settings.
        name: The new value of data.holdout.
        digest: The new value of data.holdout_digest.
        old: The present holdout.
        new: The new holdout.
        champion: The digest of the champion, which has to be scored; None if there is none.
        use: What is left of the gate's budget on the new holdout.
        text: The new text of sluice.toml.
    """

    unchanged: bool
    project: Project
    name: str
    digest: str
    old: Holdout
    new: Holdout
    champion: str | None
    use: BudgetUse
    text: str

    @property
    def same_rows(self) -> bool:
        """Whether the file has the rows of the present holdout. Then only sluice.toml changes, and the ledger records nothing."""
        return self.old.row_set.digest == self.new.row_set.digest

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON types."""
        return {
            "holdout": self.name,
            "digest": self.digest,
            "before": self.old.digest,
            "rows": self.new.count(),
            "champion": self.champion,
            "budget": {"budget": self.use.budget, "used": self.use.used, "carried": self.use.carried, "left": self.use.left},
        }


def plan_rotation(project: Project, location: str) -> RotationPlan:
    """Check everything that a rotation needs, and change nothing.

    Args:
        project: The project.
        location: The new holdout: a path relative to the project, or a URL.

    Raises:
        ConfigurationError: sluice.toml cannot be changed automatically, or an environment variable names the holdout.
        DataError: One of the files is missing or unreadable, or the new holdout has too few rows of a class.
        IntegrityError: The present holdout is not the declared one.
        RefusedError: The new holdout shares rows with data that a model is or was trained on.
        StateError: It shares rows with an earlier holdout, or the gate's ledger was deleted or shortened.
    """
    name, digest = _find_file(project, location)
    later = _with_holdout(project, name, digest)
    text = set_texts(_read_settings(project), "data", {"holdout": name, "holdout_digest": digest})
    old, new = open_holdout(project), open_holdout(later)
    require_both_classes(later, new)
    unchanged = old.digest == digest and text == _read_settings(project)
    if old.row_set.digest != new.row_set.digest:
        _require_unseen(later, old, new)
    champion = read_champion(project)
    return RotationPlan(
        unchanged=unchanged,
        project=later,
        name=name,
        digest=digest,
        old=old,
        new=new,
        champion=champion.digest if champion else None,
        use=open_ledger(later).measure(new.row_set, holdout=digest, rule=read_rule(later)),
        text=text,
    )


def rotate(plan: RotationPlan, *, by: str, why: str) -> None:
    """Score the champion on the new gate rows, record the rotation in the ledger, and change sluice.toml.

    Args:
        plan: The checked rotation.
        by: The person who rotates.
        why: The reason.

    Raises:
        ConfigurationError: sluice.toml has changed since it was read, or cannot be written.
        ServiceError: The champion's server does not become ready or fails. Then nothing is recorded.
        StateError: The reason is empty, or the ledger cannot be written.
    """
    if not why.strip():
        raise StateError("a rotation needs a reason", hint="Say with --why what has changed, or that the budget is spent.")
    if plan.unchanged:
        return
    champion = read_champion(plan.project)
    if champion is not None:
        champion_scores(plan.project, champion, plan.new)
    ledger = open_ledger(plan.project)
    recorded = [record for record in ledger.read().records if isinstance(record, RotationRecord)]
    last = recorded[-1] if recorded else None
    if not plan.same_rows and not (last and last.new == plan.new.row_set.digest):
        ledger.rotate(plan.old.row_set, plan.new.row_set, by=by, why=why, at=time.time())
    _write_settings(plan)


def _find_file(project: Project, location: str) -> tuple[str, str]:
    """Return the value of data.holdout for a file, and the file's digest."""
    if is_url(location):
        return location, pin_snapshot(location, project.state / SNAPSHOT_FOLDER).digest
    file = project.path(location) if not Path(location).exists() else Path(location).resolve()
    inside = project.root.resolve() in file.resolve().parents
    return (str(file.resolve().relative_to(project.root.resolve())) if inside else str(file)), digest_file(file)


def _with_holdout(project: Project, name: str, digest: str) -> Project:
    for variable in _VARIABLES:
        if os.environ.get(variable):
            raise ConfigurationError(
                f"the environment variable {variable} takes precedence over sluice.toml, so changing the file would have no "
                "effect",
                hint="Remove the variable, and run the command again.",
            )
    data = project.settings.data.model_copy(update={"holdout": name, "holdout_digest": digest})
    return Project(project.root, project.settings.model_copy(update={"data": data}))


def _require_unseen(later: Project, old: Holdout, new: Holdout) -> None:
    others = read_rows_of_models(later, consequence="nothing shows that the new holdout has none of its rows")
    for name, other in others.items():
        judge_overlap(later, find_overlap(new.rows, other, name))
    ledger = open_ledger(later)
    ledger.check_heads(read_heads(later))
    known = [one for one in (old.row_set, *ledger.read().row_sets()) if one.digest != new.row_set.digest]
    shared = max(estimate_overlap(new.row_set, one) for one in known)
    if shared > SHARED_ROWS:
        raise StateError(
            f"the new holdout shares about {shared:.0%} of its rows with an earlier one, so it is not a fresh holdout",
            hint="Make the new holdout from rows that no holdout has contained. `sluice holdout new` does that.",
        )


def _read_settings(project: Project) -> str:
    return (project.root / FILE_NAME).read_text(encoding="utf-8")


def _write_settings(plan: RotationPlan) -> None:
    file = plan.project.root / FILE_NAME
    text = set_texts(_read_settings(plan.project), "data", {"holdout": plan.name, "holdout_digest": plan.digest})
    if text != plan.text:
        raise ConfigurationError(
            f"{file} was changed while the holdout was rotated", hint="Run the command again. It completes the rotation."
        )
    draft = file.with_name(f".{file.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.chmod(file.stat().st_mode & 0o777)
        draft.replace(file)
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be written: {error.strerror}",
            hint=f'Set data.holdout = "{plan.name}" and data.holdout_digest yourself.',
        ) from error
    finally:
        draft.unlink(missing_ok=True)
