"""`sluice rollout status | start | approve | promote | abort | rollback | history`."""

from __future__ import annotations

import dataclasses
import time
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
from sluice.cli.production.rollout_facts import find_release, list_history_rows, list_status_facts, name_number, write_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.project.projects import Project
    from sluice.rollout.requests.release_references import NamedRelease

app = typer.Typer(help="Roll a release out in steps (5 → 25 → 100 % of the traffic), or roll it back.", no_args_is_help=True)

RefArgument = Annotated[
    str, typer.Argument(help="The release: its number, release-<n>, champion, previous, or the beginning of its digest.")
]
_BY_HELP = "The person who orders this; default: the user of this machine. In a cluster it has no effect: the account counts."
_APPROVER_HELP = "The person who approves; default: the user of this machine. In a cluster, the account approves for this person."
ByOption = Annotated[str, typer.Option("--by", help=_BY_HELP)]
ApproverOption = Annotated[str, typer.Option("--by", help=_APPROVER_HELP)]


@app.command("status")
def status(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Show which release serves production, and what the rollout is doing."""
    from sluice.rollout.requests.statuses import read_status

    project = open_project(project_folder)
    now = read_status(project)
    show(output, Envelope("rollout status", now.state, dataclasses.asdict(now)), facts(list_status_facts(project, now)))


@app.command("history")
def history(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """List every transition with time, states, traffic, reason and account, oldest first."""
    from sluice.rollout.requests.histories import read_transitions

    project = open_project(project_folder)
    transitions = read_transitions(project)
    show(output, Envelope("rollout history", "done", {"transitions": transitions}), facts(list_history_rows(transitions)))


@app.command("start")
def start(
    ref: RefArgument,
    by: ByOption = "",
    again: Annotated[
        str, typer.Option("--again", metavar="WHY", help="Why a condemned release is rolled out again; stored with the request.")
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the rollout has ended; the exit code is 6 unless the release is champion.")
    ] = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Request a rollout of a release. It still needs an approval."""
    from sluice.rollout.platforms.selection import open_journal
    from sluice.rollout.requests import starts, statuses, step_shares

    project = open_project(project_folder)
    release = find_release(project, ref)
    starts.check_request(project, release.digest, again=again)
    now = statuses.read_status(project)
    if release.digest in {now.champion, now.target}:
        why = "it is the champion" if release.digest == now.champion else "its rollout is running"
        ended = _wait(project, release) if wait and not dry_run and release.digest == now.target else {}
        _show_result(output, "rollout start", "promoted" if ended else "unchanged", release, reason=why, **ended)
        return
    account = _identify(project, by)
    if not dry_run:
        starts.request_rollout(project, release.digest, by=account, again=again)
    outcome = "would-start" if dry_run else "requested"
    steps = step_shares.find_steps(project, open_journal(project).read(), release.digest)
    expected = step_shares.describe_steps(project, steps) if now.champion else []
    details: dict[str, Any] = {"by": account} | _find_warnings(project, release.digest)
    details |= _find_condemnation(project, release.digest)
    if wait and not dry_run:
        details, outcome = details | _wait(project, release), "promoted"
    _show_result(output, "rollout start", outcome, release, steps=list(steps), expected=expected, **details)


def _wait(project: Project, release: NamedRelease) -> dict[str, Any]:
    """Wait until the rollout of a release has ended, and return why it was promoted.

    Raises:
        RolledBackError: The release did not become champion.
    """
    from sluice.rollout.requests import histories, outcomes

    settings = project.settings.rollout
    outcome = outcomes.wait_for_outcome(project, release.digest, timeout=settings.approval_seconds + settings.deadline_seconds)
    outcomes.wait_for_explanation(project, release.digest)
    evidence = histories.read_rollout(project, release.digest)
    outcomes.check_promoted(outcome, evidence, release.number)
    return {"reason": evidence["reason"]}


@app.command("approve")
def approve(
    ref: RefArgument,
    by: ApproverOption = "",
    note: Annotated[str, typer.Option(help="Why; stored with the approval.")] = "",
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Approve one release for production traffic, by its digest."""
    from sluice.rollout.decisions.states import name_approver
    from sluice.rollout.requests import approvals, step_shares
    from sluice.rollout.requests.admission import read_override

    project = open_project(project_folder)
    release = find_release(project, ref)
    decide = approvals.plan_approval if dry_run else approvals.approve
    former = approvals.find_running_approval(project, release.digest)
    account = "" if former else _identify(project, by)
    person = by or account
    approval = former or decide(project, release.digest, person, note)
    image = {"image": approval.image} if approval.image else {}
    overridden = read_override(project, release.digest)
    image |= {"override": overridden} if overridden else {}
    until = write_time(approval.until)
    expected = step_shares.describe_steps(project, approval.steps)
    # If somebody else approved in this second, that approval counts.
    approver = approval.by if former or approval.by != person else name_approver(account, person)
    details: dict[str, Any] = {"by": approver, "steps": list(approval.steps), "expected": expected, "until": until} | image
    details |= _find_warnings(project, release.digest) | _find_condemnation(project, release.digest)
    outcome = "unchanged" if former else "would-approve" if dry_run else "approved"
    _show_result(output, "rollout approve", outcome, release, **details)


@app.command("promote")
def promote(
    ref: RefArgument,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why it does not wait for the evidence; stored and shown.")],
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Take the running canary to the bake, and then to 100 %, without waiting for more evidence."""
    from sluice.rollout.requests import commands

    project = open_project(project_folder)
    release = find_release(project, ref)
    commands.check_promote(project, release.digest)
    account = _identify(project, by)
    if dry_run:
        _show_result(output, "rollout promote", "would-promote", release, by=account)
        return
    confirm(yes, output, f"Take release {release.number} to the bake, and then to 100 %, without waiting for the evidence?")
    commands.promote(project, release.digest, by=account, why=why)
    _show_result(output, "rollout promote", "requested", release, by=account)


@app.command("abort")
def abort(
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """End the running rollout and send all traffic to stable, if there is one."""
    from sluice.rollout.requests import commands, statuses

    project = open_project(project_folder)
    release, account = find_release(project, commands.check_abort(project)), _identify(project, by)
    if dry_run:
        _show_result(output, "rollout abort", "would-abort", release, by=account)
        return
    rest = "send all traffic to stable" if statuses.read_status(project).champion else "leave production without a release"
    confirm(yes, output, f"End the rollout of release {release.number} and {rest}?")
    commands.abort(project, by=account)
    _show_result(output, "rollout abort", "requested", release, by=account)


@app.command("rollback")
def rollback(
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Send all traffic back within seconds: to stable while a canary takes traffic, otherwise to N-1."""
    from sluice.rollout.requests import commands

    project = open_project(project_folder)
    target, left = commands.check_rollback(project)
    release = find_release(project, target)
    if dry_run:
        planned = {"to": target, "left": left, "by": _identify(project, by)}
        _show_rollback(project, output, "would-roll-back", release, planned)
        return
    confirm(yes, output, f"Take all production traffic from release {name_number(project, left)} to release {release.number}?")
    done = commands.rollback(project, by=_identify(project, by), to=target, notify=lambda line: typer.echo(line, err=True))
    _show_rollback(project, output, "rolled-back", release, done)


def _show_rollback(project: Project, output: Format, outcome: str, serving: NamedRelease, done: Mapping[str, Any]) -> None:
    """Show which release was left and which one serves now. If all traffic was there already, no release was left."""
    left = (
        f"release {name_number(project, done['left'])}  {done['left']}" if done["left"] else "nothing, as all traffic was there"
    )
    names = ("would leave", "would serve") if outcome == "would-roll-back" else ("rolled back", "serves now")
    rows = {names[0]: left, names[1]: f"release {serving.number}  {serving.digest}"}
    rows |= {"after": f"{done['seconds']:.2f} s"} if "seconds" in done else {}
    rows |= {"by": done["by"]}
    show(output, Envelope("rollout rollback", outcome, {"number": serving.number, "digest": serving.digest, **done}), facts(rows))


@app.command("controller")
def controller(
    port: Annotated[int | None, typer.Option(help="Port of /metrics and /healthz; default: none; 0 chooses a free port.")] = None,
    project_folder: ProjectOption = None,
) -> None:
    """Run the control rounds in a cluster until ctrl-C. The traffic stays as it is when the controller ends."""
    import sys

    from sluice.errors import UsageError
    from sluice.rollout.platforms.seldon.controller import run_controller

    project = open_project(project_folder)
    if not project.settings.rollout.in_cluster:
        raise UsageError(
            'the controller runs in a cluster, but rollout.splitter is "envoy" in this project',
            hint='Set rollout.splitter = "seldon" for a cluster, or use `sluice serve` on this machine.',
        )

    def notify(line: str) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        sys.stderr.flush()

    run_controller(project, port=port, notify=notify)


def _identify(project: Project, by: str) -> str:
    """Return the name that is recorded: in a cluster the account, on a laptop the given name or else the user of this machine."""
    from sluice.rollout.platforms.selection import open_journal

    return open_journal(project).identify(name_person(by))


def _find_warnings(project: Project, digest: str) -> dict[str, list[str]]:
    """Return the warnings about a release under their name; empty if there are none, or if the release is not in this store."""
    from sluice.release.project_releases import read_warnings_about

    warnings = [f"{warning.text}. {warning.hint}" for warning in read_warnings_about(project, digest)]
    return {"warnings": warnings} if warnings else {}


def _find_condemnation(project: Project, digest: str) -> dict[str, Any]:
    """Return under its name that and why a release was condemned; empty if it is not."""
    from sluice.rollout.requests.condemnations import read_condemnation

    condemned = read_condemnation(project, digest)
    return {"condemned": condemned} if condemned else {}


def _show_result(output: Format, command: str, outcome: str, release: NamedRelease, **more: Any) -> None:  # noqa: ANN401
    data = {"number": release.number, "digest": release.digest} | more
    shown = {name: "\n".join(value) if name in {"warnings", "expected"} else value for name, value in more.items()}
    show(output, Envelope(command, outcome, data), facts({outcome: f"release {release.number}  {release.digest}"} | shown))
