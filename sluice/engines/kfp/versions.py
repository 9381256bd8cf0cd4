"""Versions of a pipeline on KFP: find one by its name, and upload a new one."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a pipeline on KFP."""

    pipeline_id: str
    version_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where a version belongs.

    Attributes:
        pipeline: Name of the pipeline on KFP.
        version: Name of the version.
        pipeline_id: Id of the pipeline; empty if it must be created.
        namespace: Profile namespace of a multi-user KFP; empty if there are no users.
    """

    pipeline: str
    version: str
    pipeline_id: str
    namespace: str


def named_filter(name: str) -> str:
    """Return the filter for objects with a display name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def find_version(client: Any, pipeline_id: str, name: str) -> Version | None:  # noqa: ANN401 - kfp.Client has no types
    """Return the version of a pipeline with a name; None if there is none."""
    answer = client.list_pipeline_versions(pipeline_id, page_size=1, filter=named_filter(name))
    for each in answer.pipeline_versions or ():
        return Version(pipeline_id, str(each.pipeline_version_id), name)
    return None


def upload(client: Any, text: str, target: Target) -> Version:  # noqa: ANN401 - kfp.Client has no types
    """Upload IR as a new version. The pipeline is created if it does not exist."""
    import kfp_server_api  # noqa: PLC0415 - only uploads need it

    about = f"Uploaded by sluice as {target.version}."
    pipeline_id = target.pipeline_id
    if not pipeline_id:
        body = kfp_server_api.V2beta1Pipeline(
            display_name=target.pipeline, name=target.pipeline, namespace=target.namespace or None
        )
        made = client._pipelines_api.pipeline_service_create_pipeline(pipeline=body)  # noqa: SLF001 - kfp.Client has no method
        pipeline_id = str(made.pipeline_id)
    with tempfile.TemporaryDirectory(prefix="sluice-upload-") as folder:
        file = Path(folder) / "pipeline.yaml"
        file.write_text(text, encoding="utf-8")
        made = client.upload_pipeline_version(str(file), target.version, pipeline_id=pipeline_id, description=about)
    return Version(pipeline_id, str(made.pipeline_version_id), target.version)
