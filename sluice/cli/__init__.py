"""The command line. Each module has the commands of one topic, and only parses and prints. A package for each part of the help.

`main` is the only place where an error becomes a message, a hint and an exit code. A command imports what it needs when it is
called, so that `sluice --help` is quick. The exit codes are 0 done, 1 unexpected error, 2 usage or configuration, 3 unsupported
construct, 4 refused by a check, the gate or a person, 5 failure of the cluster or a service, 6 rolled back, 130 interrupted.
"""

from __future__ import annotations

import errno
import sys

import typer
from rich.console import Console
from rich.markup import escape
from typer._click.exceptions import (
    ClickException,
    NoArgsIsHelpError,
)  # typer contains its own click and exports these names nowhere else

from sluice import __version__
from sluice.cli.begin import demo, doctoring
from sluice.cli.options_and_output import Envelope, name_command, wants_json
from sluice.cli.pipelines import compiling, run_listing, scheduling, schema, submitting
from sluice.cli.production import pushing, releases, rollouts, serving
from sluice.cli.services import monitoring, webhooks
from sluice.cli.work import asking, drifting, expectations, gating, holdouts, reporting, running, testing
from sluice.errors import InterruptedRunError, ServiceError, SluiceError, UsageError

_UNWRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR})
"""Error numbers of a file system that does not accept a file: it is read-only or full, or the permissions are missing."""

app = typer.Typer(
    name="sluice",
    help="Bring a machine-learning model from a commit to production traffic: tests, gate, release, canary, rollback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"sluice {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Options of every command. `main` reads `--debug` itself, because an error can occur before the command is parsed."""


for module in (
    testing,
    expectations,
    running,
    submitting,
    run_listing,
    serving,
    compiling,
    drifting,
    reporting,
    monitoring,
    demo,
    doctoring,
    schema,
):
    module.register(app)
pushing.register(releases.app)
asking.register(gating.app)
GROUPS = {
    "runs": run_listing.app,
    "schedule": scheduling.app,
    "gate": gating.app,
    "holdout": holdouts.app,
    "release": releases.app,
    "rollout": rollouts.app,
    "webhook": webhooks.app,
}
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Run one command, and exit with the documented exit code."""
    arguments = sys.argv[1:]
    try:
        result = app(args=arguments, standalone_mode=False)
    except SluiceError as error:
        sys.exit(_print_error(error, arguments))
    except (typer.Abort, KeyboardInterrupt):
        result = InterruptedRunError.exit_code
    except NoArgsIsHelpError as error:
        sys.exit(error.exit_code)  # the help was printed instead of an error
    except ClickException as error:
        sys.exit(
            _print_error(
                UsageError(
                    error.format_message().replace("Value error, ", ""),
                    hint="`sluice --help` lists the commands, and `sluice COMMAND --help` lists the options of one.",
                ),
                arguments,
            )
        )
    except OSError as error:
        sys.exit(
            _print_error(
                _unwritable_error(error) if error.errno in _UNWRITABLE and error.filename else _unexpected_error(error), arguments
            )
        )
    except Exception as error:  # noqa: BLE001 - this is the last handler before the user
        sys.exit(_print_error(_unexpected_error(error), arguments))
    if result == InterruptedRunError.exit_code:  # typer turns ctrl-C into this status and prints nothing
        sys.exit(
            _print_error(InterruptedRunError("interrupted", hint="No file is incomplete. Run the command again."), arguments)
        )
    sys.exit(result if isinstance(result, int) else 0)


def _unwritable_error(error: OSError) -> SluiceError:
    """Return the error for a file that cannot be written."""
    return ServiceError(
        f"{error.filename}: {error.strerror}",
        hint="Check the permissions and the free space, or set $SLUICE_STATE to another folder for all local files.",
    )


def _unexpected_error(error: Exception) -> SluiceError:
    """Return the error for an exception that Sluice does not expect."""
    return SluiceError(
        f"unexpected {type(error).__name__}: {error}", hint="Run the command again with --debug, and report the traceback."
    )


def _print_error(error: SluiceError, arguments: list[str]) -> int:
    """Print an error in the requested format, and return its exit code."""
    if "--debug" in arguments:
        Console(stderr=True).print_exception() if sys.exc_info()[0] else None
    if wants_json(arguments):
        Envelope(
            command=name_command(
                arguments, {name: [str(command.name) for command in group.registered_commands] for name, group in GROUPS.items()}
            ),
            outcome="error",
        ).with_error(error).print()
    else:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold red]error:[/] {escape(error.message)}")
        if error.hint:
            console.print(f"[bold]next:[/]  {escape(error.hint)}")
    return error.exit_code
