"""An API server in memory: objects by kind and name, with resource versions."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sluice.rollout.clocks import Clock
from sluice.rollout.journals import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.kubernetes_calls import Kind

NAMESPACE = "prod"
WITH_STATUS = {"modelrollouts"}
"""Kinds whose status is a subresource, which no other write changes."""


@dataclass
class MemoryApi:
    """An API server in memory, with resource versions.

    Attributes:
        namespace: The namespace of all objects.
        objects: Objects by the plural of their kind and their name.
        before: Called before each call with verb, plural and name. It may raise an error.
        user: The account that makes the calls.
        now: The time that new objects get.
        mutate: Called with the plural of its kind and an object before it is stored, as an admission webhook is.
    """

    namespace: str = NAMESPACE
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    before: Callable[[str, str, str], None] = lambda _verb, _plural, _name: None
    user: str = "ann@example.com"
    now: Callable[[], float] = lambda: 0.0
    mutate: Callable[[str, dict[str, Any]], None] = lambda _plural, _found: None
    _versions: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def clock(self) -> Clock:
        return Clock(now=self.now, steady=self.now)

    def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        self.before("get", kind.plural, name)
        return copy_object(self.objects.get((kind.plural, name)))

    def list(self, kind: Kind, selector: str) -> list[dict[str, Any]]:
        self.before("list", kind.plural, "")
        wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
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
        made = {"apiVersion": kind.api_version, "kind": kind.name, **copy_object(dict(body))}
        made["metadata"] |= {"uid": str(next(self._versions)), "creationTimestamp": _format_second(self.now()), "generation": 1}
        return self.put(kind, name, made)

    def merge(self, kind: Kind, name: str, patch: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        self.before("patch", kind.plural, name)
        found = self._expect(kind, name, patch)
        changed = _merge(copy_object(found), patch)
        if kind.plural in WITH_STATUS:
            changed["status"] = found.get("status", {})
        if changed.get("spec") != found.get("spec"):
            changed["metadata"]["generation"] = found["metadata"].get("generation", 0) + 1
        return self.put(kind, name, changed)

    def replace_status(self, kind: Kind, name: str, found: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        self.before("update", kind.plural, name)
        stored = self._expect(kind, name, found)
        return self.put(kind, name, stored | {"status": copy_object(found["status"])})

    def replace(self, kind: Kind, name: str, found: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        self.before("update", kind.plural, name)
        self._expect(kind, name, found)
        return self.put(kind, name, copy_object(dict(found)))

    def scale(self, kind: Kind, name: str, replicas: int, *, manager: str) -> None:
        self.merge(kind, name, {"spec": {"replicas": replicas}}, manager=manager)

    def delete(self, kind: Kind, name: str) -> None:
        self.before("delete", kind.plural, name)
        self.objects.pop((kind.plural, name), None)

    def whoami(self) -> str:
        return self.user

    def put(self, kind: Kind, name: str, found: dict[str, Any]) -> dict[str, Any]:
        self.mutate(kind.plural, found)
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


def _format_second(moment: float) -> str:
    return datetime.fromtimestamp(int(moment), UTC).isoformat().replace("+00:00", "Z")


def _merge(found: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            _merge(found[key], value)
        elif value is None:
            found.pop(key, None)
        else:
            found[key] = copy_object(value)
    return found
