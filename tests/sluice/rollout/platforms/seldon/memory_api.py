"""An API server in memory: objects by kind and name, with resource versions."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sluice.rollout.journals import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.kubernetes_calls import Kind

NAMESPACE = "prod"


@dataclass
class MemoryApi:
    """An API server in memory, with resource versions.

    Attributes:
        namespace: The namespace of all objects.
        objects: Objects by the plural of their kind and their name.
        before: Called before each call with verb, plural and name. It may raise an error.
        user: The account that makes the calls.
    """

    namespace: str = NAMESPACE
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    before: Callable[[str, str, str], None] = lambda _verb, _plural, _name: None
    user: str = "ann@example.com"
    _versions: Any = field(default_factory=lambda: itertools.count(1))

    def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        self.before("get", kind.plural, name)
        return copy_object(self.objects.get((kind.plural, name)))

    def list(self, kind: Kind, selector: str) -> list[dict[str, Any]]:
        self.before("list", kind.plural, "")
        wanted = dict(part.split("=", 1) for part in selector.split(","))
        return [
            copy_object(found)
            for (plural, _), found in self.objects.items()
            if plural == kind.plural and wanted.items() <= (found["metadata"].get("labels") or {}).items()
        ]

    def create(self, kind: Kind, body: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        name = body["metadata"]["name"]
        self.before("create", kind.plural, name)
        if (kind.plural, name) in self.objects:
            raise ConflictError(f"{name} exists already")
        return self.put(kind, name, {"apiVersion": kind.api_version, "kind": kind.name, **copy_object(dict(body))})

    def merge(self, kind: Kind, name: str, patch: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        self.before("patch", kind.plural, name)
        found = self._expect(kind, name, patch)
        return self.put(kind, name, _merge(found, patch))

    def apply(self, kind: Kind, name: str, body: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        return self.merge(kind, name, body, manager=manager)  # both replace a list as a whole

    def delete(self, kind: Kind, name: str) -> None:
        self.before("delete", kind.plural, name)
        self.objects.pop((kind.plural, name), None)

    def whoami(self) -> str:
        return self.user

    def put(self, kind: Kind, name: str, found: dict[str, Any]) -> dict[str, Any]:
        found["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[kind.plural, name] = found
        return copy_object(found)

    def _expect(self, kind: Kind, name: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        found = self.objects.get((kind.plural, name))
        if found is None:
            raise ConflictError(f"{name} not found: {HTTPStatus.NOT_FOUND}")
        version = patch.get("metadata", {}).get("resourceVersion")
        if version is not None and version != found["metadata"]["resourceVersion"]:
            raise ConflictError("the object has been modified")
        return copy_object(found)


def copy_object(found: Any) -> Any:
    """Return a copy that shares nothing, as an answer of the API server does. It takes a fifth of the time of `copy.deepcopy`."""
    return pickle.loads(pickle.dumps(found, pickle.HIGHEST_PROTOCOL))  # noqa: S301 - the test's own objects


def _merge(found: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            _merge(found[key], value)
        elif value is None:
            found.pop(key, None)
        else:
            found[key] = copy_object(value)
    return found
