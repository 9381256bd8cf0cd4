"""The cluster that the tests run on: what is made in it before the first run, and taken away after the last."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP, VERSION = "argoproj.io", "v1alpha1"
LABEL = "sluice.test/session"
CLASS = "standard"
"""The storage class that KFP's own pipelines ask for."""

_RULES = [
    client.V1PolicyRule(api_groups=[GROUP], resources=["workflowtaskresults"], verbs=["create", "patch"]),
    client.V1PolicyRule(api_groups=[""], resources=["pods"], verbs=["get", "patch"]),
    client.V1PolicyRule(api_groups=[""], resources=["persistentvolumeclaims"], verbs=["create", "get", "delete"]),
]
_SECRETS = {
    "test-secret-1": {"username": "user1", "password": "psw0"},
    "test-secret-2": {"username": "user2", "password": "psw1"},
    "test-secret-3": {"username": "user3", "password": "psw2"},
}
"""What KFP's pipelines assert of the Secrets that its own tests make."""


def connect() -> str:
    """Read the kubeconfig; gives what is missing, or nothing."""
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG is not set"
    try:
        config.load_kube_config()
        crds = client.ApiextensionsV1Api().list_custom_resource_definition(_request_timeout=10).items
    except Exception as error:  # noqa: BLE001 - whatever it is, there is no cluster to test on
        return f"the cluster of KUBECONFIG does not answer: {str(error)[:200]}"
    if f"workflows.{GROUP}" not in {crd.metadata.name for crd in crds}:
        return f"the cluster has no Argo Workflows (no resource workflows.{GROUP})"
    return ""


@dataclass
class Cluster:
    """One session's place in the cluster.

    Attributes:
        namespace: Where the runs are.
        owned: Whether the namespace is this session's own.
        account: The service account of the steps.
        session: Value of the label on everything that is made.
    """

    namespace: str = ""
    owned: bool = False
    account: str = ""
    session: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def __post_init__(self) -> None:
        self.core = client.CoreV1Api()
        self.custom = client.CustomObjectsApi()
        self.namespace = os.environ.get("SLUICE_TEST_NAMESPACE", "")
        self.owned = not self.namespace
        self.namespace = self.namespace or f"sluice-test-{self.session}"
        self.account = os.environ.get("SLUICE_TEST_SERVICE_ACCOUNT", "")

    # --- before

    def set_up(self) -> None:
        """Make what the runs need."""
        if self.owned:
            self.core.create_namespace(client.V1Namespace(metadata=self._meta(self.namespace)))
        if not self.account:
            self.account = f"sluice-test-{self.session}"
            self._account()
        self._artifact_secret()
        for name, values in _SECRETS.items():
            self._secret(name, values)
        if os.environ.get("SLUICE_TEST_VOLUMES", "1") != "0" and not self._has_class():
            for number in range(10):
                self._volume(number)
        self._claim()

    def _meta(self, name: str) -> client.V1ObjectMeta:
        return client.V1ObjectMeta(name=name, labels={LABEL: self.session})

    def _account(self) -> None:
        rbac = client.RbacAuthorizationV1Api()
        self.core.create_namespaced_service_account(self.namespace, client.V1ServiceAccount(metadata=self._meta(self.account)))
        rbac.create_namespaced_role(self.namespace, client.V1Role(metadata=self._meta(self.account), rules=_RULES))
        rbac.create_namespaced_role_binding(
            self.namespace,
            client.V1RoleBinding(
                metadata=self._meta(self.account),
                role_ref=client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name=self.account),
                subjects=[client.RbacV1Subject(kind="ServiceAccount", name=self.account, namespace=self.namespace)],
            ),
        )

    @cached_property
    def repository(self) -> dict[str, Any]:
        """Argo's artifact repository, as its controller's ConfigMap says."""
        place = os.environ.get("SLUICE_TEST_ARGO_NAMESPACE", "argo")
        try:
            data = self.core.read_namespaced_config_map("workflow-controller-configmap", place).data or {}
        except ApiException:
            return {}
        found = yaml.safe_load(data.get("artifactRepository", "")) or yaml.safe_load(data.get("config", "")) or {}
        return dict(found.get("artifactRepository", found))

    def repository_secret(self) -> dict[str, str]:
        """The artifact repository's credentials (base64), as the Secret that it names holds them somewhere in the cluster."""
        given = os.environ.get("SLUICE_TEST_ARTIFACT_SECRET", "")
        place, _, name = given.rpartition("/")
        name = name or str((self.repository.get("s3") or {}).get("accessKeySecret", {}).get("name", ""))
        for secret in self.core.list_secret_for_all_namespaces(field_selector=f"metadata.name={name}").items if name else []:
            if not place or secret.metadata.namespace == place:
                return {"": name} | (secret.data or {})
        return {}

    def _artifact_secret(self) -> None:
        data = self.repository_secret()
        name = data.pop("", "")
        if name:
            self._create(client.V1Secret(metadata=self._meta(name), data=data))

    def _secret(self, name: str, values: dict[str, str]) -> None:
        self._create(client.V1Secret(metadata=self._meta(name), string_data=values))

    def _create(self, secret: client.V1Secret) -> None:
        with _unless_there():
            self.core.create_namespaced_secret(self.namespace, secret)

    def _has_class(self) -> bool:
        return CLASS in {each.metadata.name for each in client.StorageV1Api().list_storage_class().items}

    def _volume(self, number: int) -> None:
        name = f"sluice-test-{self.session}-{number}"
        self.core.create_persistent_volume(
            client.V1PersistentVolume(
                metadata=self._meta(name),
                spec=client.V1PersistentVolumeSpec(
                    capacity={"storage": "1Gi"},
                    access_modes=["ReadWriteOnce"],
                    storage_class_name=CLASS,
                    persistent_volume_reclaim_policy="Delete",
                    host_path=client.V1HostPathVolumeSource(path=f"/tmp/{name}", type="DirectoryOrCreate"),  # noqa: S108
                ),
            )
        )

    @property
    def claim(self) -> str:
        """Name of a claim that is there before a run."""
        return f"sluice-test-{self.session}"

    def _claim(self) -> None:
        spec = client.V1PersistentVolumeClaimSpec(
            access_modes=["ReadWriteOnce"],
            storage_class_name=CLASS,
            resources=client.V1VolumeResourceRequirements(requests={"storage": "5Mi"}),
        )
        self.core.create_namespaced_persistent_volume_claim(
            self.namespace, client.V1PersistentVolumeClaim(metadata=self._meta(self.claim), spec=spec)
        )

    # --- after

    def tear_down(self) -> None:
        """Take away what was made."""
        mine = f"{LABEL}={self.session}"
        if self.owned:
            self.core.delete_namespace(self.namespace)
        else:
            self._empty(mine)
        for volume in self.core.list_persistent_volume(label_selector=mine).items:
            with _unless_gone():
                self.core.delete_persistent_volume(volume.metadata.name)

    def _empty(self, mine: str) -> None:
        place = self.namespace
        for plural in ("cronworkflows", "workflows", "workflowtemplates"):
            self.custom.delete_collection_namespaced_custom_object(GROUP, VERSION, place, plural, label_selector=mine)
        runs = re.compile(rf".*{self.session}")
        for claims in self.core.list_namespaced_persistent_volume_claim(place).items:
            labels = claims.metadata.labels or {}
            if labels.get(LABEL) == self.session or runs.match(claims.metadata.name):
                self.core.delete_namespaced_persistent_volume_claim(claims.metadata.name, place)
        self.core.delete_collection_namespaced_secret(place, label_selector=mine)
        for cache in self.core.list_namespaced_config_map(place).items:
            if self.session in cache.metadata.name:
                self.core.delete_namespaced_config_map(cache.metadata.name, place)
        rbac = client.RbacAuthorizationV1Api()
        rbac.delete_collection_namespaced_role_binding(place, label_selector=mine)
        rbac.delete_collection_namespaced_role(place, label_selector=mine)
        self.core.delete_collection_namespaced_service_account(place, label_selector=mine)


@contextlib.contextmanager
def _unless_there() -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        if error.status != 409:
            raise


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        if error.status != 404:
            raise
