"""`sluice rollout status | start | approve | promote | abort | rollback | history`."""

from __future__ import annotations

import dataclasses
import getpass
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
    open_project,
    show,
)

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.rollout.requests.release_references import NamedRelease
    from sluice.rollout.requests.statuses import RolloutStatus

app = typer.Typer(help="Roll a release out in steps (5 → 25 → 100 % of the traffic), or roll it back.", no_args_is_help=True)

RefArgument = Annotated[
    str, typer.Argument(help="The release: its number, release-<n>, champion, previous, or the beginning of its digest.")
]
ByOption = Annotated[str, typer.Option("--by", help="The person who orders this; default: the user of this machine.")]


def _find_release(project: Project, ref: str) -> NamedRelease:
    from sluice.rollout.requests.release_references import find_release

    return find_release(project, ref)


def _or_user(name: str) -> str:
    """Return the name; if it is empty, that of the user of this machine."""
    return name or getpass.getuser()


def _describe_release(project: Project, digest: str | None) -> str:
    return f"release {_find_release(project, digest).number}  {digest[:19]}" if digest else "none"


def _status_facts(project: Project, status: RolloutStatus) -> dict[str, object]:
    weights = {
        f"release {_find_release(project, digest).number}": f"{weight} %" for digest, weight in status.weights.items() if weight
    }
    return {
        "serving": status.url or _describe_serving(project, status),
        "state": status.state,
        "champion": _describe_release(project, status.champion),
        "previous": _describe_release(project, status.previous),
        "canary": _describe_release(project, status.target),
        "traffic": ", ".join(f"{name} {weight}" for name, weight in weights.items()) or "none",
        "reason": status.reason,
    } | _describe_problems(project, status)


def _describe_serving(project: Project, status: RolloutStatus) -> str:
    if project.settings.rollout.in_cluster:
        absent = "no controller is running: install manifests/, or start `sluice rollout controller`"
        return "by Seldon Core" if status.supervised else absent
    return "no supervisor is running: `sluice serve` starts it"


def _describe_problems(project: Project, status: RolloutStatus) -> dict[str, object]:
    """Return the problem of the last round, and why each failed server counts as failed."""
    failures: dict[str, object] = {
        f"release {_find_release(project, server['release']).number}": f"its server failed: {server['failure']}"
        for server in status.servers
        if server.get("failure")
    }
    return ({"problem": status.trouble} if status.trouble else {}) | failures


@app.command("status")
def status(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Show which release serves production, and what the rollout is doing."""
    from sluice.rollout.requests.statuses import read_status

    project = open_project(project_folder)
    now = read_status(project)
    show(output, Envelope("rollout status", now.state, dataclasses.asdict(now)), facts(_status_facts(project, now)))


@app.command("history")
def history(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """List every transition with time, states, traffic and reason, oldest first."""
    from rich.table import Table

    from sluice.rollout.requests.histories import read_transitions

    project = open_project(project_folder)
    transitions = read_transitions(project)
    table = Table("time", "from", "to", "traffic", "reason", box=None, pad_edge=False)
    for line in transitions:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["time"]))
        weights = ", ".join(f"{digest[7:13]} {weight} %" for digest, weight in line.get("weights", {}).items() if weight)
        table.add_row(moment, line["from"], line["to"], weights, line["reason"])
    show(output, Envelope("rollout history", "done", {"transitions": transitions}), table)


@app.command("start")
def start(
    ref: RefArgument,
    by: ByOption = "",
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Request a rollout of a release. It still needs an approval."""
    from sluice.rollout.requests import starts, statuses

    project = open_project(project_folder)
    release = _find_release(project, ref)
    starts.check_request(project, release.digest)
    now = statuses.read_status(project)
    if release.digest in {now.champion, now.target}:
        why = "it is the champion" if release.digest == now.champion else "its rollout is running"
        _show_result(output, "rollout start", "unchanged", release, reason=why)
        return
    if not dry_run:
        starts.request_rollout(project, release.digest, by=_or_user(by))
    outcome = "would-start" if dry_run else "requested"
    warnings = _find_warnings(project, release.digest)
    _show_result(output, "rollout start", outcome, release, steps=project.settings.rollout.steps, **warnings)


@app.command("approve")
def approve(
    ref: RefArgument,
    by: ByOption = "",
    note: Annotated[str, typer.Option(help="Why; stored with the approval.")] = "",
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Approve one release for production traffic, by its digest."""
    from sluice.rollout.requests import approvals
    from sluice.rollout.requests.admission import read_override

    project = open_project(project_folder)
    release = _find_release(project, ref)
    decide = approvals.plan_approval if dry_run else approvals.approve
    approval = decide(project, release.digest, _or_user(by), note)
    image = {"image": approval.image} if approval.image else {}
    overridden = read_override(project, release.digest)
    image |= {"override": overridden} if overridden else {}
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(approval.until))
    details: dict[str, Any] = {"by": approval.by, "steps": list(approval.steps), "until": until} | image
    details |= _find_warnings(project, release.digest)
    _show_result(output, "rollout approve", "would-approve" if dry_run else "approved", release, **details)


@app.command("promote")
def promote(
    ref: RefArgument,
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Take the running canary to 100 % without waiting for more evidence."""
    from sluice.rollout.requests import commands

    project = open_project(project_folder)
    release = _find_release(project, ref)
    commands.check_promote(project, release.digest)
    if dry_run:
        _show_result(output, "rollout promote", "would-promote", release, by=_or_user(by))
        return
    confirm(yes, output, f"Promote release {release.number} to 100 % without waiting for the evidence?")
    commands.promote(project, release.digest, by=_or_user(by))
    _show_result(output, "rollout promote", "requested", release, by=_or_user(by))


@app.command("abort")
def abort(
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """End the running rollout and send all traffic to stable."""
    from sluice.rollout.requests import commands

    project = open_project(project_folder)
    release = _find_release(project, commands.check_abort(project))
    if dry_run:
        _show_result(output, "rollout abort", "would-abort", release, by=_or_user(by))
        return
    confirm(yes, output, f"End the rollout of release {release.number} and send all traffic to stable?")
    commands.abort(project, by=_or_user(by))
    _show_result(output, "rollout abort", "requested", release, by=_or_user(by))


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
    target = commands.check_rollback(project)
    release = _find_release(project, target)
    if dry_run:
        _show_result(output, "rollout rollback", "would-roll-back", release)
        return
    confirm(yes, output, f"Send all production traffic to release {release.number}?")
    done = commands.rollback(project, by=_or_user(by), to=target)
    _show_result(output, "rollout rollback", "rolled-back", release, **done)


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


def _find_warnings(project: Project, digest: str) -> dict[str, list[str]]:
    """Return the warnings about a release under their name; empty if there are none, or if the release is not in this store."""
    from sluice.steps.packaging import read_warnings_about

    warnings = [f"{warning.text}. {warning.hint}" for warning in read_warnings_about(project, digest)]
    return {"warnings": warnings} if warnings else {}


def _show_result(output: Format, command: str, outcome: str, release: NamedRelease, **more: Any) -> None:  # noqa: ANN401
    data = {"number": release.number, "digest": release.digest} | more
    shown = {name: "\n".join(value) if name == "warnings" else value for name, value in more.items()}
    show(output, Envelope(command, outcome, data), facts({outcome: f"release {release.number}  {release.digest}"} | shown))
