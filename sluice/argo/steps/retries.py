"""The retry policy of a task, as Argo's ``retryStrategy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.pod_settings.step_pods import decimal

if TYPE_CHECKING:
    from sluice.ir.graph import Task


def retry_strategy(task: Task) -> dict[str, Any]:
    """Return the template field for the retry policy of a task, or an empty dict if the task has no retries."""
    retry = task.retry
    if retry is None or not retry.limit:
        return {}
    strategy: dict[str, Any] = {"limit": str(retry.limit)}
    backoff: dict[str, Any] = {}
    if retry.backoff_seconds:
        backoff["duration"] = f"{decimal(retry.backoff_seconds)}s"
    if retry.factor:
        backoff["factor"] = decimal(retry.factor)
    if retry.backoff_max_seconds:
        backoff["maxDuration"] = f"{decimal(retry.backoff_max_seconds)}s"
    if backoff:
        strategy["backoff"] = {"duration": "0s", **backoff}
    return {"retryStrategy": strategy}
