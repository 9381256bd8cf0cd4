"""The connection to the API server: ``argo.server`` with a token file, a Pod's service account, or a kubeconfig."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.engines.argo.api_server import ApiServer
from sluice.errors import ConfigurationError, ServiceError
from sluice.kubernetes_calls import find_account, load_account

if TYPE_CHECKING:
    from sluice.project.tables.pipelines.argo import ArgoTable


def connect(table: ArgoTable) -> ApiServer:
    """Connect as the settings say. No call is made yet.

    The order is: ``argo.server``, the service account of the Pod that this process runs in (unless ``argo.context`` is set), and
    the kubeconfig.

    Raises:
        ConfigurationError: ``argo.server`` is set and ``argo.token_file`` is not.
        ServiceError: There are no credentials.
    """
    from kubernetes import client, config  # noqa: PLC0415 - a second of imports that only a cluster needs
    from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415

    settings = client.Configuration()
    settings.retries = False  # a repeated write would conflict with itself
    own = ""
    try:
        if table.server:
            _use_token_file(settings, table)
        elif (account := find_account()) and not table.context:
            own = load_account(settings, account)
        else:
            config.load_kube_config(client_configuration=settings, context=table.context or None)
            own = _read_namespace(config, table.context)
    except (ConfigException, OSError) as error:
        raise ServiceError(
            f"there are no credentials for a cluster: {error}",
            hint="Set KUBECONFIG, or run this in a Pod, or set argo.server and argo.token_file in sluice.toml.",
        ) from error
    return ApiServer(client.ApiClient(settings), table.namespace or own or "default")


def _use_token_file(settings: Any, table: ArgoTable) -> None:  # noqa: ANN401 - the client has no types
    """Use a server with a bearer token that is read again for each call."""
    if not table.token_file:
        raise ConfigurationError(
            f"argo.server is {table.server!r}, but argo.token_file is not set", hint="Set argo.token_file to a file with a token."
        )
    settings.host = table.server.rstrip("/")
    settings.ssl_ca_cert = table.ca_file or None

    def read_token(configuration: Any) -> None:  # noqa: ANN401
        configuration.api_key = {"authorization": Path(table.token_file).read_text(encoding="utf-8").strip()}

    settings.api_key_prefix = {"authorization": "Bearer"}
    settings.refresh_api_key_hook = read_token
    read_token(settings)


def _read_namespace(config: Any, context: str) -> str:  # noqa: ANN401 - the package has no types
    contexts, current = config.list_kube_config_contexts()
    chosen = next((each for each in contexts if each["name"] == context), current) if context else current
    return str(chosen.get("context", {}).get("namespace") or "")
