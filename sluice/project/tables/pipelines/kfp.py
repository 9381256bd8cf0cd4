"""The table ``[kfp]``: the Kubeflow Pipelines that runs pipelines."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import ByComponent, SigningSecrets, Table


class KfpTable(Table):
    """``[kfp]``: the server of the engine `kfp`, and where its runs belong."""

    endpoint: str = Field(
        default="",
        description="URL of the KFP API. If empty, `$KF_PIPELINES_ENDPOINT`, the service in the Pod's cluster, or the one behind "
        "the kubeconfig.",
    )
    ui_url: str = Field(
        default="", description="URL of the KFP user interface for links. If empty, `$KF_PIPELINES_UI_ENDPOINT` or the endpoint."
    )
    namespace: str = Field(default="", description="Profile namespace of a multi-user KFP. If empty, KFP has a single user.")
    experiment: str = Field(default="", description="Experiment of the runs. If empty, the name of the project.")
    token_file: str = Field(
        default="",
        description="File with a bearer token, read at each start. If empty, `$KF_PIPELINES_SA_TOKEN_PATH` or the Pod's token.",
    )
    ca_file: str = Field(
        default="", description="File with the certificates that sign the endpoint's own. If empty, the system's."
    )
    timezone: str = Field(
        default="UTC", description="Time zone of all schedules of that KFP (CRON_SCHEDULE_TIMEZONE of its controller)."
    )
    service_account: str = Field(default="", description="Service account of the steps. If empty, KFP's default.")
    token_secrets: ByComponent = Field(
        default={},
        description="Name of a component → the Secret with the token of its own service account, such as "
        '`gate = "sluice-gate-token"`. KFP runs all steps as one account, so Sluice mounts the token in the step.',
    )
    signing_secrets: SigningSecrets = Field(
        default={},
        description="`gate` or `package` → the Secret whose key `key.pem` is the private key with which this step signs, such as "
        '`gate = "sluice-gate-key"`. Only this step mounts it.',
    )
    pipeline_root: str = Field(default="", description="URI under which artifacts are stored. If empty, KFP's default.")
