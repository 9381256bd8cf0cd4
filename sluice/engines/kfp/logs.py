"""The logs of the steps of a run on KFP. Its API reads them from the pods, as long as these exist, or from its archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sluice.carried_records import PRINTED
from sluice.engines.kfp.connection import calling
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sluice.engines.kfp.task_nodes import TaskNode

SECONDS = (5, 60)
"""Time limits of the connection and of each read."""


def join_logs(logs: Iterable[tuple[str, Callable[[], Sequence[str]]]], *, named: bool) -> Iterator[str]:
    """Yield the lines of the logs of steps, without the records that they print for Sluice.

    Args:
        logs: Names of steps, and functions that read their logs.
        named: Whether a line with the step's name comes before each log, and a log that is gone is only a line.
    """
    for name, read in logs:
        if named:
            yield f"--- {name}"
        try:
            yield from (line for line in read() if PRINTED not in line)
        except DataError as error:
            if not named:
                raise
            yield f"({error.message})"


def read_log(client: Any, run: str, found: TaskNode, *, pod: str = "") -> list[str]:  # noqa: ANN401 - kfp.Client has no types
    """Return the lines that a step's pod printed, those of KFP's launcher among them.

    Args:
        client: The ``kfp.Client``.
        run: Id of the run.
        found: The step and its node.
        pod: Name of its pod, if it is known.

    Raises:
        DataError: The step has had no pod, or the pod was deleted and KFP has no archive of logs.
    """
    step, pods = found.task.name, [*([pod] if pod else []), *found.pods()]
    if not pods:
        raise DataError(
            f"the step {step} has had no pod: its result may be that of an earlier run", hint="Look at it in KFP's UI."
        )
    for each in pods:
        if (text := _read_text(client, run, each, step)) is not None:
            return text.splitlines()
    if found.node.fields.get("state") == "RUNNING":
        # KFP's API server with a single user asks Kubernetes for the pod without a namespace (seen on 2.17.0), and finds none.
        raise DataError(f"KFP cannot read the log of {step} yet", hint="The log is there when the step has ended.")
    raise DataError(f"KFP cannot read the log of {step}", hint="Its pod was deleted, and KFP has no archive of logs.")


def _read_text(client: Any, run: str, pod: str, step: str) -> str | None:  # noqa: ANN401 - kfp.Client has no types
    """Return what a pod printed; None if KFP knows no such pod."""
    api = client._run_api.api_client  # noqa: SLF001 - kfp.Client has no method for logs
    path = f"/apis/v1alpha1/runs/{quote(run, safe='')}/nodes/{quote(pod, safe='')}/log"
    with calling(client, f"read the log of {step}"):
        answer = api.call_api(path, "GET", auth_settings=["Bearer"], _preload_content=False, _request_timeout=SECONDS)
    text = str(answer.data.decode("utf-8", "replace"))
    return None if text.startswith("{") and "error_message" in text else text
