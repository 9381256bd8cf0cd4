"""The table ``[argo]``: what the compiled Argo workflows need in a cluster."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from sluice.project.base import Table


class ArgoTable(Table):
    """``[argo]``: what a cluster wants of the workflows that `sluice compile --target argo` writes."""

    namespace: str = Field(default="", description="Namespace of the object; empty for the one it is created in.")
    service_account: str = Field(default="", description="Service account of the steps; empty for the namespace's default.")
    artifact_repository: str = Field(
        default="", description="ConfigMap of the artifact repository, `name` or `name/key`; empty for the default one."
    )
    artifact_driver: Literal["s3", "gcs", "oss", "azure"] = Field(
        default="s3", description="Kind of store behind the artifact repository."
    )
    artifact_root: str = Field(
        default="",
        description="URI under which artifacts lie, `s3://bucket/prefix` (with driver gcs `gs://…`); "
        "empty: an artifact's URI is its path in the pod.",
    )
    cache: bool = Field(default=True, description="Memoize the steps that KFP would cache.")
    cache_ttl: str = Field(default="", description="How long a memoized result holds, for example `168h`; empty for ever.")
    security: Literal["", "baseline", "restricted"] = Field(
        default="", description="Pod Security level that every step's container asks for; `restricted` needs non-root images."
    )
    state_claim: str = Field(
        default="",
        description="PersistentVolumeClaim that the project's own steps share as their state: releases, ledger, snapshots.",
    )
    env: dict[str, str] = Field(default={}, description="Environment variables of the project's own steps.")
    read_only: bool = Field(
        default=False, description="Read-only root file systems, with a volume at /tmp; only for images that write nowhere else."
    )
    labels: dict[str, str] = Field(default={}, description="Labels of the workflows.")
    annotations: dict[str, str] = Field(default={}, description="Annotations of the workflows.")

    @field_validator("artifact_root")
    @classmethod
    def _has_a_bucket(cls, root: str, info: ValidationInfo) -> str:
        """KFP's runtime knows a path for these URIs alone, and Argo's location of the others needs more than a bucket."""
        driver = info.data.get("artifact_driver", "s3")
        schemes = {"s3": ("s3", "minio"), "gcs": ("gs",)}.get(driver, ())
        scheme, _, rest = root.partition("://")
        if root and (scheme not in schemes or not rest.strip("/")):
            wanted = " or ".join(f"{each}://bucket/prefix" for each in schemes) or "empty"
            raise ValueError(f"{root!r} is no root for artifact_driver {driver!r}: it must be {wanted}")
        return root
