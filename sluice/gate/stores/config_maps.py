"""The ledger in a ConfigMap of a cluster.

The ConfigMap has one key, ``ledger.json``. It is replaced only at the resourceVersion that was read (compare-and-swap), so that
two gates cannot overwrite each other. A Role decides who may write it: the account of the gate's step, and people who may
override the gate.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sluice.errors import ServiceError, StateError
from sluice.gate.stores.protocol import Stored
from sluice.kubernetes_calls import RefusedCallError, find_account, load_account
from sluice.kubernetes_retries import call_method

if TYPE_CHECKING:
    from sluice.gate.stores.protocol import LedgerStore

KEY = "ledger.json"
MAX_BYTES = 1_000_000
"""A ConfigMap holds one mebibyte. With 52 questions a year, the ledger grows by about 150 kB a year."""

_TIMEOUT = (2.0, 10.0)


class ConfigMapStore:
    """A ledger in a ConfigMap.

    Attributes:
        name: The name of the ConfigMap.
        namespace: Its namespace.
    """

    def __init__(self, api: Any, name: str, namespace: str, *, earlier: LedgerStore | None = None) -> None:  # noqa: ANN401
        """Use a client of the package ``kubernetes``; `connect_config_map` makes one.

        Args:
            api: A ``CoreV1Api``, which has no types.
            name: The name of the ConfigMap.
            namespace: Its namespace.
            earlier: Where the ledger was before. While the ConfigMap has no ledger, that one counts.
        """
        self._api, self.name, self.namespace, self._earlier = api, name, namespace, earlier

    @property
    def place(self) -> str:
        """The ConfigMap's namespace and name."""
        return f"ConfigMap {self.namespace}/{self.name}"

    def read(self) -> Stored:
        """Return the stored ledger; the one that was kept before if the ConfigMap has none."""
        found = self._get()
        version = str(found["metadata"]["resourceVersion"]) if found else ""
        text = ((found or {}).get("data") or {}).get(KEY)
        if text is not None:
            return Stored(text.encode(), version)
        before = self._earlier.read() if self._earlier else Stored(None, "")
        return Stored(before.text, version, before.written_head)

    def replace(self, before: Stored, text: bytes, head: str) -> bool:
        """Replace the ledger, if the ConfigMap is still at the version that was read."""
        del (
            head
        )  # the API server keeps the only copy, so the store has no other place for it; `sluice.gate.stores.head_files` is one
        if len(text) > MAX_BYTES:
            raise StateError(
                f"the gate's ledger has {len(text):,} bytes, but a ConfigMap holds only {MAX_BYTES:,}",
                hint="Save its ledger.json as ledger/ledger.json in the state folder of one machine, remove gate.config_map from "
                "sluice.toml, and run the gate there.",
            )
        metadata: dict[str, Any] = {"name": self.name, "namespace": self.namespace}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {KEY: text.decode()}}
        if not before.version:
            return self._call("create_namespaced_config_map", self.namespace, body | {"metadata": metadata}) is not None
        found = self._get()
        if not found or found["metadata"]["resourceVersion"] != before.version:
            return False
        kept = {key: found["metadata"][key] for key in ("labels", "annotations") if found["metadata"].get(key)}
        versioned = body | {"metadata": metadata | kept | {"resourceVersion": before.version}}
        return self._call("replace_namespaced_config_map", self.name, self.namespace, versioned) is not None

    def read_earlier(self) -> tuple[bytes, ...]:
        """Return the documents of earlier versions in the place where the ledger was before."""
        return self._earlier.read_earlier() if self._earlier else ()

    def _get(self) -> dict[str, Any] | None:
        return self._call("read_namespaced_config_map", self.name, self.namespace)

    def _call(self, method: str, *arguments: object) -> dict[str, Any] | None:
        """Call the API server. None means that the object does not exist, or that another process changed or made it."""
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - only a cluster needs it

        try:
            answer = call_method(getattr(self._api, method), *arguments, _request_timeout=_TIMEOUT)
        except RefusedCallError as error:
            if error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
                return None
            hint = "Nothing was recorded. Try again."
            if error.status == HTTPStatus.FORBIDDEN:
                hint = (
                    "The account lacks a permission. Apply manifests/components/gate in that namespace, and run this as the "
                    "account of the gate, or as a person who may change that ConfigMap."
                )
            raise ServiceError(f"the API server refused the gate's ledger, {self.place}: {error.message}", hint=hint) from error
        except (HTTPError, OSError) as error:
            raise ServiceError(
                f"the API server does not answer, so the gate's ledger cannot be used: {error}",
                hint="Check that the cluster is running and that KUBECONFIG names it. Then try again.",
            ) from error
        found: dict[str, Any] = self._api.api_client.sanitize_for_serialization(answer)
        return found


def connect_config_map(name: str, *, earlier: LedgerStore | None = None) -> ConfigMapStore:
    """Connect to the cluster that this process runs in; outside a cluster, to the one of the kubeconfig's current context.

    Args:
        name: ``name`` or ``namespace/name``. Without a namespace, that of the Pod or of the context is used.
        earlier: Where the ledger was before.

    Raises:
        ServiceError: This process runs in no cluster, and there is no kubeconfig.
    """
    from kubernetes import client, config  # noqa: PLC0415 - a second of imports that only a cluster needs
    from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415

    settings = client.Configuration()
    settings.retries = False  # a repeated write would conflict with itself
    namespace, _, own_name = name.rpartition("/")
    try:
        if account := find_account():
            own = load_account(settings, account)
        else:
            config.load_kube_config(client_configuration=settings)
            own = str(config.list_kube_config_contexts()[1].get("context", {}).get("namespace") or "default")
    except (ConfigException, OSError) as error:
        raise ServiceError(
            f"gate.config_map names the ConfigMap {name}, but no cluster can be reached: {error}",
            hint="Set KUBECONFIG, or run this in a cluster, or remove gate.config_map to keep the ledger on this machine.",
        ) from error
    return ConfigMapStore(client.CoreV1Api(client.ApiClient(settings)), own_name, namespace or own, earlier=earlier)
