"""The table ``[webhook]``: who may start a retraining over HTTP, and how often."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class WebhookTable(Table):
    """``[webhook]``: the limits of the webhook, and what it starts."""

    port: int = Field(default=8091, ge=0, le=65535, description="Port of the webhook. 0 means any free port.")
    audience: str = Field(
        default="",
        description="Name of this webhook, for example its URL. Senders sign it, so a message for another webhook is refused. "
        "It must be set.",
    )
    keys: str = Field(
        default="",
        description="Folder with the keys: one file `<client>` for each client, and `<client>.next` during a rotation. "
        "It must be set.",
    )
    store: str = Field(
        default="", description="File with the messages and starts so far. If empty, `webhook.sqlite` in the state folder."
    )
    clock_seconds: float = Field(default=300.0, gt=0, description="How far the time of a message may be from the present time.")
    max_body_bytes: int = Field(default=16_384, ge=1, description="A larger request body is refused.")
    body_seconds: float = Field(default=5.0, gt=0, description="Time in which a client must have sent headers and body.")
    requests_per_minute: int = Field(
        default=60, ge=1, description="Requests that each address, and each client, may send in a minute."
    )
    weekly_runs: int = Field(default=7, ge=1, description="Runs that all clients together may start in seven days.")
    weekly_runs_per_client: int = Field(default=3, ge=1, description="Runs that one client may start in seven days.")
    pipeline: str = Field(default="retrain", description="The pipeline to start.")
    engine: str = Field(default="", description="The engine to start it on. If empty, the default engine of the project.")
