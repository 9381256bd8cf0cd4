"""The cluster that the tests run on: create the objects that the runs need, and delete them at the end."""

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
STORAGE_CLASS = "standard"
"""The storage class that KFP's own pipelines name."""

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
"""Name → content of the Secrets that KFP's own tests create. KFP's pipelines assert these values."""


def connect() -> str:
    """Read the kubeconfig, and return what the tests need and do not have; empty if nothing is missing."""
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG is not set"
    try:
        config.load_kube_config()
        crds = client.ApiextensionsV1Api().list_custom_resource_definition(_request_timeout=10).items
    except Exception as error:  # noqa: BLE001 - any error means that there is no cluster to test on
        return f"the cluster of KUBECONFIG does not answer: {str(error)[:200]}"
    if f"workflows.{GROUP}" not in {crd.metadata.name for crd in crds}:
        return f"the cluster has no Argo Workflows (no resource workflows.{GROUP})"
    return ""


@dataclass
class Cluster:
    """The objects of one test session in the cluster.

    Attributes:
        namespace: The namespace of the runs.
        owned: Whether this session created the namespace.
        account: The service account of the steps.
        session: Value of the label on everything that the session creates.
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

    # --- set-up

    def set_up(self) -> None:
        """Create the objects that the runs need."""
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
        """The artifact repository in the ConfigMap of Argo's controller; empty if there is none."""
        namespace = os.environ.get("SLUICE_TEST_ARGO_NAMESPACE", "argo")
        try:
            data = self.core.read_namespaced_config_map("workflow-controller-configmap", namespace).data or {}
        except ApiException:
            return {}
        found = yaml.safe_load(data.get("artifactRepository", "")) or yaml.safe_load(data.get("config", "")) or {}
        return dict(found.get("artifactRepository", found))

    def repository_secret(self) -> dict[str, str]:
        """Return the data (base64) of the Secret with the artifact repository's credentials. The key "" holds the Secret's name.

        The Secret may be in any namespace, unless $SLUICE_TEST_ARTIFACT_SECRET names one. The result is empty if there is none.
        """
        given = os.environ.get("SLUICE_TEST_ARTIFACT_SECRET", "")
        namespace, _, name = given.rpartition("/")
        name = name or str((self.repository.get("s3") or {}).get("accessKeySecret", {}).get("name", ""))
        for secret in self.core.list_secret_for_all_namespaces(field_selector=f"metadata.name={name}").items if name else []:
            if not namespace or secret.metadata.namespace == namespace:
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
        with _ignore_existing():
            self.core.create_namespaced_secret(self.namespace, secret)

    def _has_class(self) -> bool:
        return STORAGE_CLASS in {each.metadata.name for each in client.StorageV1Api().list_storage_class().items}

    def _volume(self, number: int) -> None:
        name = f"sluice-test-{self.session}-{number}"
        self.core.create_persistent_volume(
            client.V1PersistentVolume(
                metadata=self._meta(name),
                spec=client.V1PersistentVolumeSpec(
                    capacity={"storage": "1Gi"},
                    access_modes=["ReadWriteOnce"],
                    storage_class_name=STORAGE_CLASS,
                    persistent_volume_reclaim_policy="Delete",
                    host_path=client.V1HostPathVolumeSource(path=f"/tmp/{name}", type="DirectoryOrCreate"),  # noqa: S108
                ),
            )
        )

    @property
    def claim(self) -> str:
        """The name of a PersistentVolumeClaim that exists before a run."""
        return f"sluice-test-{self.session}"

    def _claim(self) -> None:
        spec = client.V1PersistentVolumeClaimSpec(
            access_modes=["ReadWriteOnce"],
            storage_class_name=STORAGE_CLASS,
            resources=client.V1VolumeResourceRequirements(requests={"storage": "5Mi"}),
        )
        self.core.create_namespaced_persistent_volume_claim(
            self.namespace, client.V1PersistentVolumeClaim(metadata=self._meta(self.claim), spec=spec)
        )

    # --- clean-up

    def tear_down(self) -> None:
        """Delete what the session created."""
        selector = f"{LABEL}={self.session}"
        if self.owned:
            self.core.delete_namespace(self.namespace)
        else:
            self._delete_objects(selector)
        for volume in self.core.list_persistent_volume(label_selector=selector).items:
            with _ignore_missing():
                self.core.delete_persistent_volume(volume.metadata.name)

    def _delete_objects(self, selector: str) -> None:
        namespace = self.namespace
        for plural in ("cronworkflows", "workflows", "workflowtemplates"):
            self.custom.delete_collection_namespaced_custom_object(GROUP, VERSION, namespace, plural, label_selector=selector)
        runs = re.compile(rf".*{self.session}")
        for claims in self.core.list_namespaced_persistent_volume_claim(namespace).items:
            labels = claims.metadata.labels or {}
            if labels.get(LABEL) == self.session or runs.match(claims.metadata.name):
                self.core.delete_namespaced_persistent_volume_claim(claims.metadata.name, namespace)
        self.core.delete_collection_namespaced_secret(namespace, label_selector=selector)
        for cache in self.core.list_namespaced_config_map(namespace).items:
            if self.session in cache.metadata.name:
                self.core.delete_namespaced_config_map(cache.metadata.name, namespace)
        rbac = client.RbacAuthorizationV1Api()
        rbac.delete_collection_namespaced_role_binding(namespace, label_selector=selector)
        rbac.delete_collection_namespaced_role(namespace, label_selector=selector)
        self.core.delete_collection_namespaced_service_account(namespace, label_selector=selector)


@contextlib.contextmanager
def _ignore_existing() -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        if error.status != 409:
            raise


@contextlib.contextmanager
def _ignore_missing() -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        if error.status != 404:
            raise
