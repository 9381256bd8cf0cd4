"""The commands `sluice compile`, `sluice lint` and `sluice diff`.

They compile a pipeline for an engine in a cluster, list everything that the engine cannot run, and compare two pipelines.
"""

from __future__ import annotations

import dataclasses
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.options_and_output import Envelope, Format, OutputOption, ProjectOption, facts, open_project, show
from sluice.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType

    from sluice.argo.objects.explanations import Explanation
    from sluice.ir.lint import Finding
    from sluice.project.projects import Project


class Target(StrEnum):
    """The target of a compilation."""

    ARGO = "argo"
    KFP = "kfp"
    KFP_CRD = "kfp-crd"


class Kind(StrEnum):
    """The kind of the Argo object."""

    WORKFLOW = "Workflow"
    TEMPLATE = "WorkflowTemplate"
    CRON = "CronWorkflow"


class Concurrency(StrEnum):
    """What a CronWorkflow does if its last run is still running at the next start time."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


_SHORT = 60
"""Length of the longest text that the table of differences shows in full, in characters."""

SourceArgument = Annotated[
    str, typer.Argument(help="Name of a pipeline of the project, file.py[:function], or a file of compiled KFP IR.")
]
TargetOption = Annotated[
    Target,
    typer.Option("--target", help="argo: plain Argo Workflows; kfp: pipeline IR; kfp-crd: KFP's Kubernetes-native objects."),
]
ImageOption = Annotated[
    list[str] | None, typer.Option("--image", metavar="NAME=DIGEST", help="Replace an image. The option may be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("compile")(compile_)
    app.command("lint")(lint)
    app.command("diff")(diff)


def compile_(
    source: SourceArgument,
    target: TargetOption = Target.ARGO,
    kind: Annotated[Kind | None, typer.Option(help="Kind of the Argo object; default: Workflow.")] = None,
    name: Annotated[str, typer.Option(help="Name of the object; default: the name of the pipeline.")] = "",
    namespace: Annotated[str, typer.Option(help="Namespace of the object; default: argo.namespace in sluice.toml.")] = "",
    schedule: Annotated[
        list[str] | None, typer.Option(metavar="CRON", help="When a CronWorkflow runs. The option may be repeated.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the schedule, for example Europe/Berlin.")] = "",
    concurrency: Annotated[
        Concurrency | None, typer.Option(help="What a CronWorkflow does if its last run is still running.")
    ] = None,
    service_account: Annotated[
        str, typer.Option(help="Service account of the steps; default: argo.service_account in sluice.toml.")
    ] = "",
    account: Annotated[
        list[str] | None,
        typer.Option(
            "--account",
            metavar="COMPONENT=NAME",
            help="Service account of one component; default: argo.service_accounts. The option may be repeated.",
        ),
    ] = None,
    no_step_tokens: Annotated[
        bool, typer.Option("--no-step-tokens", help="Give a token only to the steps that have an account of their own.")
    ] = False,
    image: ImageOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Do not memoize steps.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show on standard error how many pods a run has, and what each KFP feature becomes.")
    ] = False,
    file: Annotated[Path | None, typer.Option("-o", help="File to write; default: standard output.")] = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Compile a pipeline for a cluster. A local run uses the same definition."""
    from sluice.engines.sources import find_warnings, read_source

    _check_options(
        target,
        kind or Kind.WORKFLOW,
        {
            "--kind": kind,
            "--name": name,
            "--namespace": namespace,
            "--schedule": schedule,
            "--timezone": timezone,
            "--concurrency": concurrency,
            "--service-account": service_account,
            "--account": account,
            "--no-step-tokens": no_step_tokens,
            "--no-cache": no_cache,
            "--explain": explain,
        },
    )
    project = _project(source, project_folder)
    text, pipeline = read_source(source, project, images=image or [])
    for finding in find_warnings(source, pipeline):
        sys.stderr.write(f"warning: {finding.task}, {finding.field}: {finding.reason}\n")
    explanation = None
    if target is Target.ARGO:
        from sluice.engines.compiling import argo_options, compile_to_argo

        options = argo_options(
            project,
            kind=(kind or Kind.WORKFLOW).value,
            name=name,
            namespace=namespace,
            schedules=tuple(schedule or ()),
            timezone=timezone,
            concurrency=concurrency.value if concurrency else "",
            service_account=service_account,
            service_accounts=_read_accounts(account or ()),
        )
        if no_cache:
            options = dataclasses.replace(options, cache=False)
        if no_step_tokens:
            options = dataclasses.replace(options, step_tokens=False)
        text = compile_to_argo(pipeline, options)
        if explain:
            from sluice.argo.objects.explanations import explain as explain_pipeline

            explanation = explain_pipeline(pipeline, options)
    elif project is not None:
        from sluice.engines.kfp.token_secrets import add_secrets

        text = add_secrets(text, pipeline, project.settings.kfp)
    if target is Target.KFP_CRD:
        from sluice.engines.compiling import compile_to_crd

        text = compile_to_crd(text, pipeline, name=name, namespace=namespace)
    _write(text, target, explanation, file, output)


def _check_options(target: Target, kind: Kind, given: Mapping[str, Any]) -> None:
    """Check that every given option has an effect, and that Argo accepts its value.

    Raises:
        UsageError: An option has no effect for the target or the kind, or Argo does not accept its value.
    """
    from sluice.argo.objects.schedules import check_name, check_schedule, check_timezone

    accepted = {Target.ARGO: set(given), Target.KFP: set(), Target.KFP_CRD: {"--name", "--namespace"}}[target]
    if surplus := [option for option, value in given.items() if value and option not in accepted]:
        raise UsageError(
            f"{surplus[0]} has no effect with --target {target.value}", hint="Remove the option, or use --target argo."
        )
    of_schedules = [option for option in ("--schedule", "--timezone", "--concurrency") if given[option]]
    if of_schedules and kind is not Kind.CRON:
        raise UsageError(f"{of_schedules[0]} is for a CronWorkflow, not for a {kind.value}", hint="Use --kind CronWorkflow.")
    if kind is Kind.CRON and not given["--schedule"]:
        raise UsageError("a CronWorkflow needs a schedule", hint='Give one, for example --schedule "17 4 * * 1".')
    for text in given["--schedule"] or ():
        check_schedule(text)
    if given["--timezone"]:
        check_timezone(given["--timezone"])
    for option in ("--name", "--namespace", "--service-account"):
        if given[option]:
            check_name(given[option], option)


def _read_accounts(given: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a component's name and its service account, with the name as KFP writes it.

    Raises:
        UsageError: A text is no such pair.
    """
    from sluice.argo.objects.schedules import check_name

    pairs = []
    for text in given:
        component, _, account = text.partition("=")
        if not component or not account:
            raise UsageError(f"--account {text} is not COMPONENT=NAME", hint="For example: --account gate=sluice-gate.")
        check_name(account, "--account")
        pairs.append((component.replace("_", "-"), account))
    return tuple(pairs)


def _write(text: str, target: Target, explanation: Explanation | None, file: Path | None, output: Format) -> None:
    if explanation is not None and output is Format.TABLE:
        from rich.console import Console

        Console(stderr=True, highlight=False).print(_explained(explanation))
    if file is None and output is Format.TABLE:
        sys.stdout.write(text)
        return
    if file is not None:
        from sluice.engines.compiling import write_compiled

        write_compiled(file, text)
    data: dict[str, Any] = {"target": target.value, "file": str(file) if file else None, "yaml": None if file else text}
    if explanation is not None:
        data["explanation"] = dataclasses.asdict(explanation)
    show(output, Envelope("compile", "done", data), facts({"written": file, "target": target.value}))


def _explained(explanation: Explanation) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    more = "" if explanation.is_exact else " Each loop whose items only the run knows counts as one iteration."
    line = f"A run has {explanation.pods} pods. KFP's backend would start {explanation.kfp_pods} pods for it.{more}"
    table = Table("KFP", "Argo", "times", box=None, pad_edge=False)
    for kfp, argo, count in explanation.features:
        table.add_row(kfp, argo, str(count))
    return Group(line, "", table)


def lint(
    source: SourceArgument,
    target: TargetOption = Target.ARGO,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """List every construct of a pipeline that the target cannot express."""
    from sluice.engines.compiling import argo_options, find_refusals
    from sluice.engines.sources import is_ir, read_source
    from sluice.ir.lint import find_rounded_numbers, find_unread_fields, find_unsupported_by_kfp

    project = _project(source, project_folder)
    _, pipeline = read_source(source, project)
    refused = find_refusals(pipeline, argo_options(project)) if target is Target.ARGO else find_unsupported_by_kfp(pipeline)
    rounded, warnings = find_rounded_numbers(pipeline), find_unread_fields(pipeline, matters=False)
    if is_ir(source):
        warnings = [*rounded, *warnings]
    else:  # The command compile refuses them too.
        refused = [*refused, *rounded]
    data = {
        "target": target.value,
        "refused": [dataclasses.asdict(finding) for finding in refused],
        "warnings": [dataclasses.asdict(finding) for finding in warnings],
    }
    outcome = "refused" if refused else "clean"
    show(output, Envelope("lint", outcome, data), _listed(target, refused, warnings))
    if refused:
        raise typer.Exit(UnsupportedError.exit_code)


def _listed(target: Target, refused: list[Finding], warnings: list[Finding]) -> RenderableType:
    from rich.table import Table

    if not refused and not warnings:
        return f"{target.value} can express the whole pipeline"
    table = Table(box=None, pad_edge=False)
    for name in ("", "task", "field", "reason", "what to do"):
        table.add_column(name, overflow="fold")
    for kind, findings in (("refused", refused), ("warning", warnings)):
        for finding in findings:
            table.add_row(kind, finding.task, finding.field, finding.reason, finding.hint)
    return table


def diff(
    old: Annotated[str, typer.Argument(help="The pipeline as it was: a source as `compile` takes it.")],
    new: Annotated[str, typer.Argument(help="The pipeline as it is.")],
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Compare two pipelines by steps, images, code, inputs and settings, not by lines of text."""
    from sluice.engines.sources import read_source
    from sluice.ir.differences import compare

    pipelines = [read_source(source, _project(source, project_folder))[1] for source in (old, new)]
    found = compare(*pipelines)
    data = {"differences": [dataclasses.asdict(difference) for difference in found]}
    from rich.table import Table

    table = Table("step", "what", "old", "new", box=None, pad_edge=False)
    for difference in found:
        table.add_row(difference.place, difference.what, _short(difference.old), _short(difference.new))
    show(
        output,
        Envelope("diff", "differs" if found else "equal", data),
        table if found else "The two pipelines do not differ in meaning.",
    )


def _short(text: str) -> str:
    """Return a value for the table. A long text is shown by the beginning of its last line and by its length."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return text if len(lines) <= 1 and len(text) <= _SHORT else f"{lines[-1].strip()[:57]}… ({len(text):,} characters)"


def _project(source: str, folder: Path | None) -> Project | None:
    """Return the project, or None if the source is a file outside any project."""
    from sluice.engines.sources import has_project, is_file

    if folder is None and is_file(source) and not has_project():
        return None
    return open_project(folder)
