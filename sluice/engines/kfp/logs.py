"""The logs of the steps of a run on KFP. Its API reads them from the pods, as long as these exist, or from its archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.engines.kfp.connection import calling
from sluice.engines.kfp.run_statuses import find_pod
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = (5, 60)
"""Time limits of the connection and of each read."""


def read_log(client: Any, run: Mapping[str, Any], step: str, *, pod: str = "") -> list[str]:  # noqa: ANN401 - kfp.Client has no types
    """Return the lines that a step's pod printed, those of KFP's launcher among them.

    Args:
        client: The ``kfp.Client``.
        run: The answer of the API about the run, as plain JSON types.
        step: Name of the step.
        pod: Name of its pod, if it is known. The API of KFP 2.17 names none.

    Raises:
        DataError: The step has had no pod, or the pod was deleted and KFP has no archive of logs.
    """
    details = ((run.get("run_details") or {}).get("task_details")) or []
    pod = pod or find_pod(details, step)
    if not pod:
        raise DataError(
            f"the step {step} has had no pod: its result may be that of an earlier run", hint="Look at it in KFP's UI."
        )
    api = client._run_api.api_client  # noqa: SLF001 - kfp.Client has no method for logs
    path = f"/apis/v1alpha1/runs/{run['run_id']}/nodes/{pod}/log"
    with calling(client, f"read the log of {step}"):
        answer = api.call_api(path, "GET", auth_settings=["Bearer"], _preload_content=False, _request_timeout=SECONDS)
    text = str(answer.data.decode("utf-8", "replace"))
    if text.startswith("{") and "error_message" in text:
        raise DataError(f"KFP cannot read the log of {step}", hint="Its pod was deleted, and KFP has no archive of logs.")
    return text.splitlines()
