"""`sluice gate status | power | override | confirm-loss | accept-rows`."""

from __future__ import annotations

import dataclasses
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.options_and_output import (
    DryRunOption,
    Envelope,
    Format,
    OutputOption,
    ProjectOption,
    YesOption,
    confirm,
    facts,
    name_person,
    open_project,
    show,
)
from sluice.errors import UsageError

if TYPE_CHECKING:
    from sluice.steps.ledgers import GateStatus

app = typer.Typer(help="Show what the gate can still judge, and record what people decide about it.", no_args_is_help=True)

WhyOption = Annotated[str, typer.Option("--why", help="The reason. The ledger keeps it, and the report shows it.")]
ByOption = Annotated[str, typer.Option("--by", help="The person who decides this; default: the user of this machine.")]

DEFAULT_HOURS = 24.0
_NEVER_ASKED = (
    "the ledger has no question about this model, so the gate never judged it; compare the digest with `sluice gate status`"
)
_LOSSES = {
    "loss": ("the ledger", "make a new holdout from fresh labelled rows"),
    "champion-loss": ("the champion", "the next model passes the gate as the first champion"),
}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@app.command("status")
def status(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Show the holdout, how many questions to the gate are left, and the last questions with their answers."""
    from rich.console import Group
    from rich.table import Table

    from sluice.steps.ledgers import read_gate_status

    found = read_gate_status(open_project(project_folder), now=time.time())
    table = Table("asked", "question", "answer", "challenger", box=None, pad_edge=False)
    table.columns[-1].overflow = "fold"  # a person copies this digest for an override
    for question in found.questions:
        answer = (question["answer"] or {}).get("verdict") or {}
        text = "promote" if (question["answer"] or {}).get("promote") else str(answer.get("outcome") or "none")
        table.add_row(_write_time(question["at"]), str(question["uses"]), text, question["challenger"])
    parts = [facts(_status_facts(found)), *([table] if found.questions else [])]
    outcome = "refused" if found.refusal else "spent" if not found.left else "warning" if found.warnings else "ready"
    show(output, Envelope("gate status", outcome, dataclasses.asdict(found)), Group(*parts))


def _status_facts(found: GateStatus) -> dict[str, object]:
    rows: dict[str, object] = {
        "holdout": found.holdout,
        "rows": found.row_set,
        "gate rows": _describe_rows(found.gate_rows["1"], found.gate_rows["0"]),
        "questions": f"{found.used} of {found.budget} used, {found.left} left",
    }
    if found.carried:
        expires = _write_time(found.frees_at) if found.frees_at else ""
        verb = "was" if found.carried == 1 else "were"
        rows["of these"] = f"{found.carried} {verb} about other holdouts in the last 365 days; the first one expires on {expires}"
    rows["ledger"] = f"{found.place}, head {found.head[:19] or 'none'}"
    # One line for each record, because there may be several of one kind.
    lines: dict[str, list[str]] = {}
    for record in found.rotations:
        text = f"{_write_time(record['at'])} by {record['by']}: {record['why']}"
        lines.setdefault(str(record["kind"]), []).append(text)
    for override in found.overrides:
        until = _write_time(override["until"])
        text = f"{override['model'][:19]} until {until} by {override['by']}: {override['why']}"
        lines.setdefault("override", []).append(text)
    rows |= {name: "\n".join(texts) for name, texts in lines.items()}
    return rows | ({"warning": "; ".join(found.warnings)} if found.warnings else {})


@app.command("power")
def power(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Say before training how many gate rows the holdout has and which difference of AUCs the gate can find with them."""
    from sluice.steps.ledgers import predict_power

    found = predict_power(open_project(project_folder))
    needed = "unknown" if found.rows_without_margin is None else "no number of gate rows is enough"
    needed = needed if found.rows_for_target is None else f"{found.rows_for_target:,} gate rows"
    rows: dict[str, object] = {
        "gate rows": _describe_rows(found.positives, found.rows - found.positives),
        "finds": "nothing: too few rows of a class"
        if found.detectable is None
        else f"+{found.detectable:.4f} AUC with power 0.8",
        f"for +{found.target:g}": needed,
        "": found.describe(),
    }
    outcome = "too-few-rows" if found.detectable is None else "enough"
    show(output, Envelope("gate power", outcome, found.to_dict()), facts(rows))


@app.command("override")
def override(
    model: Annotated[
        str, typer.Argument(metavar="DIGEST", help="The digest of the model, as `sluice run` and `sluice gate status` show it.")
    ],
    why: WhyOption,
    until: Annotated[
        str, typer.Option("--until", help="When the override expires, as 2026-01-31 or 2026-01-31T18:00; default: in 24 hours.")
    ] = "",
    scores: Annotated[
        str,
        typer.Option(
            "--scores",
            metavar="DIGEST",
            help="The digest of the model's scores, as `sluice run` shows it; default: those of the gate's question about it.",
        ),
    ] = "",
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Let one model with its present feature code pass the gate. The gate's own answer stays in all records."""
    from sluice.steps.ledgers import open_ledger

    project = open_project(project_folder)
    now = time.time()
    end = _read_until(until, now)
    person = name_person(by)
    _check_override(model, scores, why)
    ledger = open_ledger(project)
    known = ledger.read()
    scores = scores or known.find_scores(model)
    warning = "" if known.was_asked(model) else _NEVER_ASKED
    data: dict[str, Any] = {
        "model": model,
        "scores": scores,
        "by": person,
        "why": why,
        "at": now,
        "until": end,
        "warning": warning,
    }
    if not dry_run:
        question = f"Let model {model[:19]} pass the gate until {_write_time(end)}?"
        confirm(yes, output, f"Warning: {warning}. {question}" if warning else question, change="overrides the gate")
        ledger.override(model, scores, by=person, why=why, until=end, at=now)
    outcome = "would-override" if dry_run else "overridden"
    rows = {"would let pass" if dry_run else "lets pass": model, "scores": scores, "by": person, "why": why}
    rows |= {"until": _write_time(end)} | ({"warning": warning} if warning else {})
    done = "run the pipeline again, with the same data and code"
    rows["next"] = "nothing was recorded; repeat it without --dry-run" if dry_run else done
    show(output, Envelope("gate override", outcome, data), facts(rows))


@app.command("confirm-loss")
def confirm_loss(
    why: WhyOption,
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Record that the gate's ledger or the champion is lost.

    Without the ledger, the rows of the present holdout answer no more questions. Without the champion, the next model passes the
    gate as the first one.
    """
    from sluice.data.holdout import open_holdout
    from sluice.rollout.requests.statuses import read_status
    from sluice.steps.ledgers import open_ledger, read_heads

    project = open_project(project_folder)
    holdout, person = open_holdout(project), name_person(by)
    _check_reason(why)
    data: dict[str, Any] = {"row_set": holdout.row_set.digest, "by": person, "why": why}
    if not dry_run:
        question = "Give up what is lost: the rows of the present holdout if it is the ledger, the champion if it is the journal?"
        confirm(yes, output, question, change="gives up a holdout or the champion")
        data["lost"] = open_ledger(project).confirm_loss(
            holdout.row_set,
            read_heads(project),
            champion=read_status(project).champion,
            holdout=holdout.digest,
            by=person,
            why=why,
            at=time.time(),
        )
    outcome = "would-confirm" if dry_run else "confirmed"
    rows = {"would be confirmed for" if dry_run else "rows": holdout.row_set.digest, "by": person, "why": why}
    rows |= {f"lost: {_LOSSES[kind][0]}": _LOSSES[kind][1] for kind in data.get("lost", ())}
    show(output, Envelope("gate confirm-loss", outcome, data), facts(rows))


@app.command("accept-rows")
def accept_rows(
    why: WhyOption,
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Record that the loader reads other rows or labels from the holdout's file on purpose. The questions so far still count."""
    from sluice.data.holdout import open_holdout
    from sluice.steps.ledgers import open_ledger

    project = open_project(project_folder)
    holdout, person = open_holdout(project), name_person(by)
    _check_reason(why)
    data: dict[str, Any] = {"holdout": holdout.digest, "row_set": holdout.row_set.digest, "by": person, "why": why}
    if not dry_run:
        question = f"Judge models by the {holdout.row_set.rows:,} rows that the loader reads now?"
        confirm(yes, output, question, change="changes the rows by which the gate judges")
        open_ledger(project).accept_rows(holdout.row_set, holdout=holdout.digest, by=person, why=why, at=time.time())
    rows = {"rows": _describe_rows(holdout.row_set.positives, holdout.row_set.rows - holdout.row_set.positives)}
    rows |= {"would be accepted by" if dry_run else "accepted by": person, "why": why}
    show(output, Envelope("gate accept-rows", "would-accept" if dry_run else "accepted", data), facts(rows))


def _check_override(model: str, scores: str, why: str) -> None:
    for digest, what in ((model, "a model"), (scores or model, "scores")):
        if not _DIGEST.fullmatch(digest):
            raise UsageError(
                f"{digest!r} is not the digest of {what}", hint="Copy the whole digest, sha256:…, from the record of the run."
            )
    _check_reason(why)


def _check_reason(why: str) -> None:
    if not why.strip():
        raise UsageError("--why is empty", hint="Say why in a sentence. Other people will read it in the ledger and the report.")


def _read_until(text: str, now: float) -> float:
    """Return the end of an override in epoch seconds. A date without a time means the end of that day.

    Raises:
        UsageError: The text is no date, or it is in the past.
    """
    if not text:
        return now + DEFAULT_HOURS * 3600
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--until {text!r} is not a date", hint="Write it as 2026-01-31 or 2026-01-31T18:00.") from error
    end = moment.timestamp() + (86_400 if len(text) == len("2026-01-31") else 0)
    if end <= now:
        raise UsageError(f"--until {text} is in the past", hint="Name a time in the future.")
    return end


def _describe_rows(positives: int, negatives: int) -> str:
    return f"{positives + negatives:,}: {positives:,} with label 1, {negatives:,} with label 0"


def _write_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
