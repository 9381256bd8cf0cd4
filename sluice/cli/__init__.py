"""The command line: one module per verb, parsing and printing only.

`main` is the one place where an error becomes a message, a hint and an exit code. Verbs import what they need when they are
called, so that `sluice --help` stays quick. Exit codes: 0 done, 1 unexpected, 2 usage or configuration, 3 unsupported
construct, 4 a check or gate said no, 5 the cluster or a service failed, 6 rolled back, 130 interrupted.
"""

from __future__ import annotations

import errno
import sys

import typer
from rich.console import Console
from rich.markup import escape
from typer._click.exceptions import ClickException, NoArgsIsHelpError  # typer carries its own click and names this nowhere else

from sluice import __version__
from sluice.cli import compiling, demo, drifting, pushing, releases, reporting, rollouts, running, schema, serving, testing
from sluice.cli.surface import Envelope, name_command, wants_json
from sluice.errors import InterruptedRunError, ServiceError, SluiceError, UsageError

_CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR})
"""What a file system says that does not take a file: read-only, not one's own, full."""

app = typer.Typer(
    name="sluice",
    help="From a commit to production traffic, for machine-learning models: tests, gate, release, canary, rollback.",
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
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version and end."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks instead of one message and one hint."),
) -> None:
    """Options of every verb; `--debug` is read by `main`, which also sees errors from before the verb."""


for module in (testing, running, serving, compiling, drifting, reporting, demo, schema):
    module.register(app)
pushing.register(releases.app)
GROUPS = {"release": releases.app, "rollout": rollouts.app}
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Run one command and end the process with its documented exit code."""
    arguments = sys.argv[1:]
    try:
        result = app(args=arguments, standalone_mode=False)
    except SluiceError as error:
        sys.exit(_tell(error, arguments))
    except (typer.Abort, KeyboardInterrupt):
        result = InterruptedRunError.exit_code
    except NoArgsIsHelpError as error:
        sys.exit(error.exit_code)  # the help was shown, and says it all
    except ClickException as error:
        sys.exit(
            _tell(
                UsageError(
                    error.format_message().replace("Value error, ", ""),
                    hint="`sluice --help` lists the verbs, `sluice VERB --help` its options.",
                ),
                arguments,
            )
        )
    except OSError as error:
        sys.exit(_tell(_closed(error) if error.errno in _CLOSED and error.filename else _unexpected(error), arguments))
    except Exception as error:  # noqa: BLE001 - the last place before the user
        sys.exit(_tell(_unexpected(error), arguments))
    if result == InterruptedRunError.exit_code:  # typer turns ctrl-C into this status without a word
        sys.exit(_tell(InterruptedRunError("interrupted", hint="Nothing is half-written; run the command again."), arguments))
    sys.exit(result if isinstance(result, int) else 0)


def _closed(error: OSError) -> SluiceError:
    """A place that does not take a file."""
    return ServiceError(
        f"{error.filename}: {error.strerror}",
        hint="Give yourself the right to write there, or make room; $SLUICE_STATE moves everything local to another folder.",
    )


def _unexpected(error: Exception) -> SluiceError:
    """An error that nobody foresaw."""
    return SluiceError(f"unexpected {type(error).__name__}: {error}", hint="Run again with --debug to see where, and report it.")


def _tell(error: SluiceError, arguments: list[str]) -> int:
    """Show an error the way it was asked for; gives the exit code."""
    if "--debug" in arguments:
        Console(stderr=True).print_exception() if sys.exc_info()[0] else None
    if wants_json(arguments):
        Envelope(command=name_command(arguments, GROUPS), outcome="error").with_error(error).print()
    else:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold red]error:[/] {escape(error.message)}")
        if error.hint:
            console.print(f"[bold]next:[/]  {escape(error.hint)}")
    return error.exit_code
