"""The records of a Workflow's steps: where the status says that they are, and the access keys to the store.

The status of a node lists its output artifacts by their keys. Endpoint, bucket and the Secrets with the access keys are those of
the artifact repository, which the status names too (``artifactRepositoryRef``).
"""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.carried_records import RECORD
from sluice.engines.argo.node_storage import read_nodes
from sluice.engines.results.object_stores import Keys, ObjectReader, Store
from sluice.engines.results.rebuilding import StepRecord
from sluice.errors import SluiceError
from sluice.kubernetes_calls import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sluice.engines import StepStatus
    from sluice.engines.argo.api_server import ApiServer

SECRET = Kind("", "v1", "secrets", "Secret")
_DRIVERS = ("s3", "gcs", "azure", "oss", "hdfs", "artifactory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an artifact is.

    Attributes:
        store: The store, without access keys.
        key: Key of the object.
        access: Secret and key in it with the access key; None if the artifact repository names none.
        secret: Secret and key in it with the secret key; None if the artifact repository names none.
    """

    store: Store
    key: str
    access: tuple[str, str] | None = None
    secret: tuple[str, str] | None = None


def find_record(workflow: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]], step: StepStatus) -> Place | None:
    """Return where a step's record is; None if the status of its node lists none.

    Of several attempts it is the last one that has a record.

    Args:
        workflow: The Workflow.
        nodes: Its nodes, as `read_nodes` returns them.
        step: The step.
    """
    node = nodes[step.id]
    attempts = [nodes[child] for child in reversed(node.get("children") or ()) if node["type"] == "Retry" and child in nodes]
    for attempt in (node, *attempts):
        for artifact in (attempt.get("outputs") or {}).get("artifacts") or ():
            if artifact.get("name") == RECORD:
                return _locate(artifact, workflow)
    return None


def _locate(artifact: Mapping[str, Any], workflow: Mapping[str, Any]) -> Place | None:
    """Return the place of an artifact. What it does not say itself is that of the artifact repository."""
    repository = ((workflow.get("status") or {}).get("artifactRepositoryRef") or {}).get("artifactRepository") or {}
    driver = next((name for name in _DRIVERS if artifact.get(name)), "")
    if not driver:
        return None
    found = {**(repository.get(driver) or {}), **{key: value for key, value in artifact[driver].items() if value}}
    return Place(
        store=Store(
            driver=driver,
            bucket=str(found.get("bucket") or ""),
            endpoint=str(found.get("endpoint") or ""),
            secure=not found.get("insecure"),
            region=str(found.get("region") or ""),
        ),
        key=str(found.get("key") or ""),
        access=_read_selector(found.get("accessKeySecret")),
        secret=_read_selector(found.get("secretKeySecret")),
    )


def _read_selector(selector: object) -> tuple[str, str] | None:
    if not isinstance(selector, dict) or not selector.get("name"):
        return None
    return str(selector["name"]), str(selector.get("key") or "")


def read_records(api: ApiServer, workflow: Mapping[str, Any], steps: Sequence[StepStatus]) -> Iterator[StepRecord]:
    """Yield the records of the steps that list one."""
    reader, keys, nodes = ObjectReader(), _KeyRing(api), read_nodes(workflow)
    for step in steps:
        place = None if step.is_group else find_record(workflow, nodes, step)
        if place is None:
            continue
        try:
            text = reader.read(keys.unlock(place), place.key).decode("utf-8", "replace")
        except SluiceError as error:
            yield StepRecord(step=step.id, problem=f"{error.message}. {error.hint}".rstrip())
        else:
            yield StepRecord(step=step.id, text=text)


class _KeyRing:
    """The access keys in the Secrets of a namespace. Each pair is asked for once."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._known: dict[tuple[tuple[str, str], tuple[str, str]], Keys | str] = {}

    def unlock(self, place: Place) -> Store:
        """Return the store of a place with the access keys; without them if this account may not read the Secrets."""
        if place.access is None or place.secret is None:
            return place.store
        wanted = (place.access, place.secret)
        if wanted not in self._known:
            self._known[wanted] = self._ask(*wanted)
        found = self._known[wanted]
        if isinstance(found, Keys):
            return dataclasses.replace(place.store, keys=found)
        return dataclasses.replace(place.store, keys_problem=found)

    def _ask(self, access: tuple[str, str], secret: tuple[str, str]) -> Keys | str:
        try:
            return Keys(self._read(*access), self._read(*secret))
        except SluiceError as error:
            return f"the access keys in Secret {access[0]} cannot be read: {error.message}"
        except KeyError as error:
            return f"Secret {access[0]} of namespace {self._api.namespace} does not exist or has no key {error}"

    def _read(self, name: str, key: str) -> str:
        found = self._api.get(SECRET, name) or {}
        return base64.b64decode((found.get("data") or {})[key]).decode()
