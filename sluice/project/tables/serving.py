"""The table ``[serving]``: the serving environment, the image and the port of the proxy."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class ServingTable(Table):
    """``[serving]``."""

    python: str = Field(
        default=".venv-serving/bin/python",
        description="Interpreter of the serving environment; relative to the project.",
    )
    server: str = Field(
        default="serving.model_server.ModelServer",
        description="Seldon model class, as seldon-core-microservice names it.",
    )
    lock: str = Field(default="locks/serving.txt", description="Lock of the serving environment; its digest is in every release.")
    image: str = Field(default="", description="The serving image in a registry: what a release's image is made on.")
    repository: str = Field(default="", description="Repository of a registry that releases are pushed to.")
    plain_http: bool = Field(default=False, description="Speak HTTP to the registries of `image` and `repository`.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port of the proxy; 0 chooses a free one.")
    start_timeout_seconds: float = Field(default=60.0, gt=0, description="How long a server may take until it is ready.")
