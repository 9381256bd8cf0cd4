"""The table ``[argo]``: what the compiled Argo workflows need in a cluster."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sluice.project.base import ByComponent, SigningSecrets, Table


class ArgoTable(Table):
    """``[argo]``: settings of the workflows that `sluice compile --target argo` writes, and of the cluster that runs them."""

    namespace: str = Field(
        default="", description="Namespace of the compiled object. If empty, the namespace in which the object is created."
    )
    context: str = Field(
        default="",
        description="Context of the kubeconfig for the engine `argo`. If empty, the current one; in a Pod, its own account.",
    )
    server: str = Field(
        default="",
        description="URL of the Kubernetes API server for the engine `argo`. If empty, that of the Pod or of the kubeconfig.",
    )
    token_file: str = Field(
        default="",
        description="File with a bearer token for `server`. It is read again for each call, because tokens are rotated.",
    )
    ca_file: str = Field(
        default="", description="File with the certificates that sign the certificate of `server`. If empty, the system's."
    )
    ui_url: str = Field(default="", description="URL of Argo's user interface, for links to runs. If empty, there are no links.")
    service_account: str = Field(
        default="", description="Service account of the steps. If empty, the default one of the namespace."
    )
    service_accounts: ByComponent = Field(
        default={},
        description="Name of a component → its service account, for the steps that call an API server, such as "
        '`gate = "sluice-gate"`.',
    )
    signing_secrets: SigningSecrets = Field(
        default={},
        description="`gate` or `package` → the Secret whose key `key.pem` is the private key with which this step signs, such as "
        '`gate = "sluice-gate-key"`. Only this step mounts it.',
    )
    step_tokens: bool = Field(
        default=True,
        description="Whether every step has the token of its account. If not, only the steps in `service_accounts` have one.",
    )
    artifact_repository: str = Field(
        default="",
        description="ConfigMap of the artifact repository, as `name` or `name/key`. If empty, Argo's default repository.",
    )
    artifact_driver: Literal["s3", "gcs", "oss", "azure"] = Field(
        default="s3", description="Type of the object store behind the artifact repository."
    )
    artifact_root: str = Field(
        default="",
        description="URI under which artifacts are stored, `s3://bucket/prefix` (`gs://…` for the driver gcs). "
        "If empty, the URI of an artifact is its path in the pod.",
    )
    cache: bool = Field(default=True, description="Whether Argo memoizes the steps that KFP would cache.")
    cache_ttl: str = Field(
        default="", description="How long a memoized result is valid, for example `168h`. If empty, it does not expire."
    )
    security: Literal["", "baseline", "restricted"] = Field(
        default="",
        description="Pod Security level that the containers of all steps meet. `restricted` needs images that do not use root.",
    )
    read_only: bool = Field(
        default=False,
        description="Whether root file systems are read-only, with a volume at /tmp. Only for images that write nowhere else.",
    )
    labels: dict[str, str] = Field(default={}, description="Labels of the workflows.")
    annotations: dict[str, str] = Field(default={}, description="Annotations of the workflows.")

    @model_validator(mode="before")
    @classmethod
    def _has_one_table_of_accounts(cls, values: Any) -> Any:  # noqa: ANN401 - what the file contains
        """Say what replaces the key of an earlier version."""
        if isinstance(values, dict) and "gate_service_account" in values:
            raise ValueError("gate_service_account is now the key `gate` of the table [argo.service_accounts]")
        return values

    @field_validator("artifact_root")
    @classmethod
    def _has_a_bucket(cls, root: str, info: ValidationInfo) -> str:
        """Check the scheme and the bucket.

        KFP's runtime finds a path only for these URI schemes. For other stores, Argo needs more settings than a bucket.
        """
        driver = info.data.get("artifact_driver", "s3")
        schemes = {"s3": ("s3", "minio"), "gcs": ("gs",)}.get(driver, ())
        scheme, _, rest = root.partition("://")
        if root and (scheme not in schemes or not rest.strip("/")):
            expected = " or ".join(f"{each}://bucket/prefix" for each in schemes) or "empty"
            raise ValueError(f"{root!r} does not fit artifact_driver {driver!r}; it must be {expected}")
        return root
