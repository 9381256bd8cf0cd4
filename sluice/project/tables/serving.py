"""The table ``[serving]``: the serving environment, the image and the port of the proxy."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class ServingTable(Table):
    """``[serving]``: the serving environment, its image and the proxy."""

    python: str = Field(
        default=".venv-serving/bin/python",
        description="Python interpreter of the serving environment, relative to the project.",
    )
    server: str = Field(
        default="serving.model_server.ModelServer",
        description="Seldon model class, in the form that seldon-core-microservice expects.",
    )
    lock: str = Field(
        default="locks/serving.txt", description="Lock file of the serving environment. Every release contains its digest."
    )
    image: str = Field(default="", description="The serving image in a registry. The image of a release is built on it.")
    repository: str = Field(
        default="", description="Repository in a registry that holds the releases. If empty, the state folder holds them."
    )
    plain_http: bool = Field(
        default=False, description="Whether to use HTTP instead of HTTPS for the registries of `image` and `repository`."
    )
    port: int = Field(default=8080, ge=0, le=65535, description="Port of the proxy. 0 means any free port.")
    test_namespace: str = Field(
        default="",
        description="Namespace of the Pod that serves a release to the integration tests in a cluster. If empty, that of the "
        "step.",
    )
    memory_megabytes: int = Field(
        default=0,
        ge=0,
        description="Memory in MB that each server on a laptop may take. It is replaced without losing a request before it has "
        "taken all of it. 0 means no limit. In a cluster, `seldon.limits` is the limit.",
    )
    cpus: int = Field(default=0, ge=0, description="Processors that each server on a laptop may use. 0 means all.")
    start_timeout_seconds: float = Field(
        default=60.0, gt=0, description="How long a server may take to load its model and become ready."
    )
