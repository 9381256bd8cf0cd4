"""`sluice webhook`: take signed messages that start a retraining, and sign such messages."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.options_and_output import Envelope, Format, OutputOption, ProjectOption, open_project, progress_console, show

app = typer.Typer(invoke_without_command=True)


@app.callback()
def serve(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the service; default: webhook.port; 0 chooses a free port.")
    ] = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Take signed messages that start a retraining: POST /events/drift and /events/code. `sign` signs one."""
    if context.invoked_subcommand:
        return
    from sluice.triggers.webhook.app import run_webhook

    project = open_project(project_folder)
    run_webhook(project, port, notify=progress_console(output).print)


@app.command("sign")
def sign(
    kind: Annotated[str, typer.Argument(metavar="drift|code", help="The kind of the event.")],
    body: Annotated[Path, typer.Argument(help="File with the body, which is sent byte for byte.")],
    client: Annotated[str, typer.Option(help="Name of the sender, as the webhook knows it.")],
    key_file: Annotated[Path, typer.Option(help="File with the sender's key.")],
    audience: Annotated[str, typer.Option(help="Name of the webhook; default: webhook.audience.")] = "",
    idempotency_key: Annotated[str, typer.Option(help="The same key for each try of one message; default: a new one.")] = "",
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Print the headers of a signed message, one a line, as `curl --header @FILE` reads them."""
    from sluice.errors import UsageError
    from sluice.triggers.webhook.bodies import BODIES
    from sluice.triggers.webhook.keys import read_key
    from sluice.triggers.webhook.signatures import CLIENT, IDEMPOTENCY_KEY, SignedMessage, make_headers

    if kind not in BODIES:
        raise UsageError(f"there is no event {kind!r}", hint=f"Choose one of: {', '.join(BODIES)}.")
    key = idempotency_key or uuid.uuid4().hex
    if not CLIENT.fullmatch(client) or not IDEMPOTENCY_KEY.fullmatch(key):
        raise UsageError(
            "the name of the client or the idempotency key has a character that is not allowed",
            hint="Use lower-case letters, digits and hyphens for the client, and also . _ : and capitals for the key.",
        )
    if not body.is_file():
        raise UsageError(f"there is no file {body}", hint="Name the file with the body of the message.")
    project = open_project(project_folder)
    if not (named := audience or project.settings.webhook.audience):
        raise UsageError(
            "the message has no audience, so no webhook would accept it",
            hint="Name the webhook with --audience, or set webhook.audience to the value that the webhook has.",
        )
    message = SignedMessage(
        time=int(time.time()),
        project=project.settings.project.name,
        audience=named,
        client=client,
        path=f"/events/{kind}",
        key=key,
        body=body.read_bytes(),
    )
    headers = make_headers(message, read_key(key_file)) | {"Content-Type": "application/json"}
    lines = "\n".join(f"{name}: {value}" for name, value in headers.items())
    if output is Format.JSON:
        show(output, Envelope("webhook sign", "done", {"headers": headers}), "")
    else:
        typer.echo(lines)
