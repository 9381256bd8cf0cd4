"""The nodes of a Workflow as Argo stores them: plain, compressed, or in a database that only Argo's controller reads."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

from sluice.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 1024 * 1024
"""Size above which Argo compresses the nodes."""


def read_nodes(workflow: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the nodes of a Workflow by their ids.

    Raises:
        UnsupportedError: The nodes are in Argo's database.
    """
    status = workflow.get("status") or {}
    if packed := status.get("compressedNodes"):
        nodes: dict[str, dict[str, Any]] = json.loads(gzip.decompress(base64.b64decode(packed)))
        return nodes
    if status.get("offloadNodeStatusVersion"):
        raise UnsupportedError(
            f"the steps of run {workflow['metadata']['name']} are in Argo's database (nodeStatusOffLoad)",
            hint="Look at the run in Argo's user interface. The API server does not have its steps.",
        )
    return dict(status.get("nodes") or {})


def with_nodes(workflow: Mapping[str, Any], nodes: Mapping[str, Any], **status: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a Workflow with other nodes and other fields of its status. Large nodes are compressed, as Argo does it."""
    kept = {key: value for key, value in (workflow.get("status") or {}).items() if key not in {"nodes", "compressedNodes"}}
    plain = {**workflow, "status": {**kept, **status, "nodes": dict(nodes)}}
    if len(json.dumps(plain)) <= MAX_BYTES:
        return plain
    packed = base64.b64encode(gzip.compress(json.dumps(nodes).encode(), mtime=0)).decode()
    return {**workflow, "status": {**kept, **status, "compressedNodes": packed}}
