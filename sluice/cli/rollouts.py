"""`sluice rollout status | start | approve | promote | abort | rollback | history`."""

from __future__ import annotations

import dataclasses
import getpass
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.surface import (
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

app = typer.Typer(help="Rollouts: 5 → 25 → 100 %, with evidence at each step, and back.", no_args_is_help=True)

RefArgument = Annotated[str, typer.Argument(help="A release: number, release-<n>, digest or its beginning.")]
ByOption = Annotated[str, typer.Option("--by", help="In whose name; default: the user at this machine.")]


def _release(project: Project, ref: str) -> NamedRelease:
    from sluice.rollout.requests.release_references import find_release

    return find_release(project, ref)


def _by(name: str) -> str:
    return name or getpass.getuser()


def _number(project: Project, digest: str | None) -> str:
    return f"release {_release(project, digest).number}  {digest[:19]}" if digest else "none"


def _status_facts(project: Project, status: RolloutStatus) -> dict[str, object]:
    weights = {
        f"release {_release(project, digest).number}": f"{weight} %" for digest, weight in status.weights.items() if weight
    }
    return {
        "serving": status.url or _where(project, status),
        "state": status.state,
        "champion": _number(project, status.champion),
        "previous": _number(project, status.previous),
        "canary": _number(project, status.target),
        "traffic": ", ".join(f"{name} {weight}" for name, weight in weights.items()) or "none",
        "reason": status.reason,
    } | _troubles(project, status)


def _where(project: Project, status: RolloutStatus) -> str:
    if project.settings.rollout.in_cluster:
        return "by Seldon Core" if status.supervised else "no controller: `sluice rollout controller`, or manifests/, starts one"
    return "no: `sluice serve` starts it"


def _troubles(project: Project, status: RolloutStatus) -> dict[str, object]:
    """What does not work now: the supervisor's last round, and each release whose server it gave up."""
    failed: dict[str, object] = {
        f"release {_release(project, server['release']).number}": f"not served: {server['failure']}"
        for server in status.servers
        if server.get("failure")
    }
    return ({"trouble": status.trouble} if status.trouble else {}) | failed


@app.command("status")
def status(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Who serves production traffic, and what the rollout is doing."""
    from sluice.rollout.requests.statuses import read_status

    project = open_project(project_folder)
    now = read_status(project)
    show(output, Envelope("rollout status", now.state, dataclasses.asdict(now)), facts(_status_facts(project, now)))


@app.command("history")
def history(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Every transition, oldest first: when, from what to what, and why."""
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
    """Ask for a release to be rolled out; it still needs an approval."""
    from sluice.rollout.requests import starts, statuses

    project = open_project(project_folder)
    release = _release(project, ref)
    starts.check_request(project, release.digest)
    now = statuses.read_status(project)
    if release.digest in {now.champion, now.target}:
        why = "it is the champion" if release.digest == now.champion else "its rollout is running"
        _say(output, "rollout start", "unchanged", release, reason=why)
        return
    if not dry_run:
        starts.request_rollout(project, release.digest, by=_by(by))
    _say(output, "rollout start", "would-start" if dry_run else "requested", release, steps=project.settings.rollout.steps)


@app.command("approve")
def approve(
    ref: RefArgument,
    by: ByOption = "",
    note: Annotated[str, typer.Option(help="Why; kept with the approval.")] = "",
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Approve one release, by its digest, for production traffic."""
    from sluice.rollout.requests import approvals

    project = open_project(project_folder)
    release = _release(project, ref)
    decide = approvals.plan_approval if dry_run else approvals.approve
    approval = decide(project, release.digest, _by(by), note)
    image = {"image": approval.image} if approval.image else {}
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(approval.until))
    told: dict[str, Any] = {"by": approval.by, "steps": list(approval.steps), "until": until} | image
    _say(output, "rollout approve", "would-approve" if dry_run else "approved", release, **told)


@app.command("promote")
def promote(
    ref: RefArgument,
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Take the running canary to 100 % on a person's word, without waiting for more evidence."""
    from sluice.rollout.requests import commands

    project = open_project(project_folder)
    release = _release(project, ref)
    commands.check_promote(project, release.digest)
    if dry_run:
        _say(output, "rollout promote", "would-promote", release, by=_by(by))
        return
    confirm(yes, output, f"Promote release {release.number} to 100 % without waiting for evidence?")
    commands.promote(project, release.digest, by=_by(by))
    _say(output, "rollout promote", "requested", release, by=_by(by))


@app.command("abort")
def abort(
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """End the running rollout: all traffic back to stable."""
    from sluice.rollout.requests import commands

    project = open_project(project_folder)
    release = _release(project, commands.check_abort(project))
    if dry_run:
        _say(output, "rollout abort", "would-abort", release, by=_by(by))
        return
    confirm(yes, output, f"End the rollout of release {release.number}, all traffic back to stable?")
    commands.abort(project, by=_by(by))
    _say(output, "rollout abort", "requested", release, by=_by(by))


@app.command("rollback")
def rollback(
    by: ByOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Back to N-1: model and preprocessing together, in seconds, without a build."""
    from sluice.rollout.requests import commands

    project = open_project(project_folder)
    target = commands.check_rollback(project)
    release = _release(project, target)
    if dry_run:
        _say(output, "rollout rollback", "would-roll-back", release)
        return
    confirm(yes, output, f"Send all production traffic to release {release.number}?")
    done = commands.rollback(project, by=_by(by), to=target)
    _say(output, "rollout rollback", "rolled-back", release, **done)


@app.command("controller")
def controller(
    port: Annotated[int | None, typer.Option(help="Port of /metrics; none by default, 0 chooses a free one.")] = None,
    project_folder: ProjectOption = None,
) -> None:
    """Act on rollout requests in a cluster: what the Deployment in manifests/ runs. Ends with ctrl-C; traffic stays as it is."""
    import sys

    from sluice.errors import UsageError
    from sluice.rollout.platforms.seldon.controller import run_controller

    project = open_project(project_folder)
    if not project.settings.rollout.in_cluster:
        raise UsageError(
            "this project's rollouts are on this machine", hint='Set rollout.splitter = "seldon", or use `sluice serve`.'
        )

    def say(line: str) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        sys.stderr.flush()

    run_controller(project, port=port, notify=say)


def _say(output: Format, command: str, outcome: str, release: NamedRelease, **more: Any) -> None:  # noqa: ANN401
    data = {"number": release.number, "digest": release.digest} | more
    show(output, Envelope(command, outcome, data), facts({outcome: f"release {release.number}  {release.digest}"} | more))
