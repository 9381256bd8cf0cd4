"""What a release was made from, as its manifest says: code, data, environment, gate and parent, each as one labelled line."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.report.formatting import format_count, format_words
from sluice.report.safe_values import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.report.results import Release


@dataclass(frozen=True, slots=True)
class Material:
    """One line about what a release was made from.

    Attributes:
        label: What the line is about, for example ``holdout``.
        text: The value, or what is worth knowing beside the digest.
        digest: The whole digest or commit id. It is shown shortened.
        dirty: Whether the code had uncommitted changes.
    """

    label: str
    text: str = ""
    digest: str = ""
    dirty: bool = False


_DIGESTS = (
    ("data", ("snapshot", "snapshot_digest", "data", "data_digest")),
    ("holdout", ("holdout", "holdout_digest")),
    ("lock", ("lock", "lock_digest", "serving_lock")),
)
_PARENTS = ("parent", "parent_release")


def list_materials(release: Release, names: Mapping[str, str]) -> tuple[Material, ...]:
    """Return the lines of a release. What its manifest does not say has no line.

    Args:
        release: The release.
        names: Release digest → name, for the parent.
    """
    manifest = release.manifest
    lines = [_read_code(manifest)]
    # The manifest keeps some values in tables: data.snapshot_digest, environment.lock_digest.
    tables = [table for name in ("data", "environment") if isinstance(table := manifest.get(name), dict)]
    flat = dict(ChainMap(*tables, dict(manifest)))
    lines += [_read_digest(flat, label, keys) for label, keys in _DIGESTS]
    lines += [_read_environment(manifest), _read_parameters(manifest), _read_gate(manifest), _read_parent(manifest, names)]
    own = [Material("model layer", digest=release.digest), Material("image", digest=release.image_digest)]
    return tuple(line for line in [*own, *lines] if line is not None and (line.text or line.digest))


def _first(manifest: Mapping[str, Any], keys: tuple[str, ...]) -> Any:  # noqa: ANN401 - any JSON value
    return next((manifest[key] for key in keys if manifest.get(key)), None)


def _read_code(manifest: Mapping[str, Any]) -> Material | None:
    code = manifest.get("code")
    values = code if isinstance(code, dict) else manifest
    commit = read_text(_first(values, ("commit", "revision", "code_commit")))
    dirty = values.get("dirty") is True or manifest.get("code_dirty") is True
    return Material("code", text="" if commit else "no commit" if dirty else "", digest=commit, dirty=dirty)


def _read_digest(manifest: Mapping[str, Any], label: str, keys: tuple[str, ...]) -> Material | None:
    value = _first(manifest, keys)
    if isinstance(value, dict):
        rows = value.get("rows")
        text = f"{format_count(rows)} rows" if isinstance(rows, int) else ""
        return Material(label, text=text, digest=read_text(value.get("digest")))
    return Material(label, digest=read_text(value)) if value else None


def _read_environment(manifest: Mapping[str, Any]) -> Material | None:
    value = _first(manifest, ("environment", "fingerprint"))
    if not isinstance(value, dict):
        return None
    inner = value.get("fingerprint")
    fingerprint = inner if isinstance(inner, dict) else value
    python = read_text(fingerprint.get("python"))
    machine = read_text(fingerprint.get("machine"))
    libraries = fingerprint.get("libraries")
    parts = [f"Python {python}" if python else "", machine]
    if isinstance(libraries, dict):
        parts += [f"{name} {version}" for name, version in libraries.items()]
    return Material("environment", text=" · ".join(part for part in parts if part))


def _read_parameters(manifest: Mapping[str, Any]) -> Material | None:
    value = _first(manifest, ("parameters", "model_parameters"))
    model = manifest.get("model")
    if value is None and isinstance(model, dict):
        value = model.get("parameters")
    if not isinstance(value, dict) or not value:
        return None
    return Material("parameters", text=", ".join(f"{name}={read_text(item)}" for name, item in value.items()))


def _read_gate(manifest: Mapping[str, Any]) -> Material | None:
    gate = manifest.get("gate")
    if not isinstance(gate, dict):
        return None
    clauses = [format_words("promoted" if gate.get("promote") else "not promoted")]
    if gate.get("first") or gate.get("unproven"):
        clauses.append("unproven: no champion to compare with" if gate.get("first") else "unproven")
    if isinstance(gate.get("uses"), int) and isinstance(gate.get("budget"), int):
        clauses.append(f"question {gate['uses']} of {gate['budget']}")
    if isinstance(gate.get("override"), dict):
        clauses.append(f"{read_text(gate['override'].get('by'))} let the model pass: {read_text(gate['override'].get('why'))}")
    return Material("gate", text=", ".join(clauses))


def _read_parent(manifest: Mapping[str, Any], names: Mapping[str, str]) -> Material | None:
    parent = _first(manifest, _PARENTS)
    if isinstance(parent, dict):
        parent = parent.get("digest")
    digest = read_text(parent)
    if not digest:
        return (
            Material("parent", text="none, because this is the first release")
            if any(key in manifest for key in _PARENTS)
            else None
        )
    return Material("parent", text=names.get(digest, ""), digest=digest)
