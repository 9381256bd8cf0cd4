"""The connection to the KFP API, and what its refusals mean."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import warnings
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.engines.reconnection import UnreachableError
from sluice.errors import ConfigurationError, DataError, ServiceError, SluiceError, StateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.project.tables.pipelines.kfp import KfpTable

ENDPOINT_VARIABLE, UI_VARIABLE = "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT"
"""Environment variables that ``kfp.Client`` reads too."""

_ATTRIBUTES = re.compile(r"Namespace:\s*(\S*?),\s*Verb:\s*(\w+),\s*Group:\s*([\w.]*),\s*Version:\s*\w*,\s*Resource:\s*(\w+)")

PAGE = 100
"""Number of objects that one call to list some returns."""


def connect(table: KfpTable) -> Any:  # noqa: ANN401 - kfp.Client has no types
    """Return a ``kfp.Client``.

    It finds the API as kfp does: ``kfp.endpoint`` or ``$KF_PIPELINES_ENDPOINT``, the service of the Pod's cluster with the
    Pod's token (``$KF_PIPELINES_SA_TOKEN_PATH``), or the service behind the kubeconfig's API server.

    Raises:
        ConfigurationError: ``kfp.token_file`` cannot be read.
        ServiceError: No endpoint is known.
    """
    import kfp  # noqa: PLC0415 - the import takes a second, and only this engine needs it

    options: dict[str, Any] = {"host": table.endpoint or None, "ssl_ca_cert": table.ca_file or None}
    options |= {"namespace": table.namespace} if table.namespace else {}
    if table.token_file:
        try:
            options["existing_token"] = Path(table.token_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationError(f"kfp.token_file cannot be read: {error}", hint="Correct the path.") from error
    printed = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        warnings.simplefilter("ignore")
        try:
            return _prompt_client(kfp.Client)(**options)
        except SluiceError as error:
            if "Failed to load kube config" not in printed.getvalue():
                raise
            raise ServiceError(
                "no Kubeflow Pipelines is known",
                hint=f"Set kfp.endpoint in sluice.toml or ${ENDPOINT_VARIABLE}, or set KUBECONFIG.",
            ) from error


def _prompt_client(base: Any) -> Any:  # noqa: ANN401 - kfp.Client has no types
    """Return a class of clients that ask once whether KFP is there. kfp's own asks five times, which takes 25 s."""

    class PromptClient(base):  # type: ignore[misc]  # kfp has no types
        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:  # noqa: ANN401
            del sleep_duration
            try:
                with calling(self, "say how it is"):
                    return self._healthz_api.healthz_service_get_healthz(_request_timeout=(3, 10))
            except DataError as error:
                raise ServiceError(f"there is no Kubeflow Pipelines at {endpoint_of(self)}", hint="Set kfp.endpoint.") from error

    return PromptClient


def endpoint_of(client: Any) -> str:  # noqa: ANN401 - kfp.Client has no types
    """Return the URL of the KFP API that a client uses."""
    return str(client._existing_config.host)  # noqa: SLF001 - kfp offers it nowhere else


def ui_url_of(client: Any, table: KfpTable) -> str:  # noqa: ANN401 - kfp.Client has no types
    """Return the URL of KFP's user interface: the environment's, that of the settings, or the endpoint, as kfp chooses it."""
    return (os.environ.get(UI_VARIABLE) or table.ui_url or endpoint_of(client)).rstrip("/")


@contextlib.contextmanager
def calling(client: Any, what: str, *, at: str = "") -> Iterator[None]:  # noqa: ANN401 - kfp.Client has no types
    """Turn the errors of a call into those of Sluice, and keep what kfp prints from standard output.

    Args:
        client: The client.
        what: What the call does, as in "start a run".
        at: URL of the server, if it is not that of the API.

    Raises:
        ServiceError: KFP does not answer, or refuses.
        DataError: The object does not exist.
        StateError: The object has another state, or exists already.
        UsageError: KFP does not accept the request.
    """
    from kfp_server_api.exceptions import ApiException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # kfp prints links
            yield
    except ApiException as error:
        raise explain(int(error.status or 0), _read_message(error), what, at or endpoint_of(client)) from error
    except (HTTPError, OSError) as error:
        named = "kfp.ui_url" if at else f"kfp.endpoint or ${ENDPOINT_VARIABLE}"
        raise UnreachableError(
            f"Kubeflow Pipelines at {at or endpoint_of(client)} does not answer: {_shorten(error)}",
            hint=f"Check that it is running, and that {named} names it.",
        ) from error


def explain(status: int, message: str, what: str, endpoint: str) -> SluiceError:
    """Return the error that says what KFP refused, and what would allow it."""
    text = f"Kubeflow Pipelines at {endpoint} refused to {what}: {message}"
    if status == HTTPStatus.UNAUTHORIZED:
        return ServiceError(
            text, hint="The token has expired or is missing. Set kfp.token_file, or $KF_PIPELINES_SA_TOKEN_PATH in a Pod."
        )
    if status == HTTPStatus.FORBIDDEN:
        return ServiceError(text, hint=_permit(message))
    if status == HTTPStatus.NOT_FOUND:
        return DataError(text, hint="`sluice runs --engine kfp` lists the runs. If it finds none, check kfp.endpoint.")
    if status in {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}:
        return StateError(text, hint="Run the command again.")
    if status == HTTPStatus.BAD_REQUEST:
        return UsageError(text, hint="Correct what the message names.")
    return ServiceError(text, hint="Look at the log of KFP's API server (Deployment ml-pipeline).")


def _permit(message: str) -> str:
    """Return the line of a Role that would allow the refused call. KFP asks the API server with a SubjectAccessReview."""
    found = _ATTRIBUTES.search(message)
    if found is None:
        return "The account lacks a permission in KFP's profile namespace. The message names it."
    namespace, verb, group, resource = found.groups()
    rule = f'{{apiGroups: ["{group}"], resources: ["{resource}"], verbs: ["{verb}"]}}'
    return f"Add this rule to a Role in namespace {namespace}, and bind it to your account: {rule}"


def _read_message(error: Any) -> str:  # noqa: ANN401 - the client has no types
    try:
        document = json.loads(error.body)
    except (TypeError, ValueError):
        return f"{error.status} {error.reason}"
    return str(document.get("message") or document.get("error") or document)[:500]


def _shorten(error: Exception) -> str:
    """Return the reason of a failed connection without urllib3's description of its pool."""
    reason = getattr(error, "reason", None) or error
    return str(reason).rpartition("object at 0x")[2].partition(">: ")[2] or str(reason)
