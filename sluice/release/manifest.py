"""The manifest of a release says what the release was made from. It is part of the model layer, so the digest covers it.

Equal inputs give equal bytes, because the manifest contains no time, host name or path of a machine. Later results (the verdicts
of the integration tests, approval, rollout evidence, signatures) are attached to the release and never written into the manifest.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluice.release.golden_rows import GoldenRows

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """The version of the code that a release was made from.

    Attributes:
        commit: The id of the commit; empty outside git.
        dirty: Whether files differed from the commit. The layer's ``code`` folder has their contents, so the digest covers them.
    """

    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestInputs:
    """Everything that the manifest records, except the golden rows.

    Attributes:
        project: The name of the project.
        code: The version of the code.
        model_digest: The digest of the model file that training wrote. joblib's bytes differ each time, so it is never rewritten.
        build: The function that builds the model, as sluice.toml names it.
        parameters: The keyword arguments of that function.
        snapshot_digest: The digest of the training data.
        snapshot_source: Where the training data came from: a path of the project, or a URL without credentials; empty if that
            would say nothing elsewhere.
        holdout_digest: The digest of the holdout.
        lock_digest: The digest of the serving environment's lock file. It stands for the base image under the model layer.
        fingerprint: The fingerprint of the training environment.
        verdicts: Test layer → its verdicts as plain JSON.
        gate: The gate's public decision. None if the gate was not asked.
        parent: The digest of the champion at that time. None if there was no champion.
        drift_reference: The file of the layer with the frozen reference for drift, as ``file``, ``digest`` and ``rows``. None if
            there is none.
    """

    project: str
    code: CodeVersion
    model_digest: str
    build: str
    parameters: Mapping[str, Any]
    snapshot_digest: str
    holdout_digest: str
    lock_digest: str
    fingerprint: Mapping[str, Any]
    verdicts: Mapping[str, Any]
    gate: Mapping[str, Any] | None
    parent: str | None
    snapshot_source: str = ""
    drift_reference: Mapping[str, Any] | None = None


def plan_manifest(inputs: ManifestInputs, golden: GoldenRows) -> dict[str, Any]:
    """Return the manifest as plain JSON types."""
    return {
        "schema": SCHEMA,
        "project": inputs.project,
        "code": {"commit": inputs.code.commit, "dirty": inputs.code.dirty},
        "model": {"digest": inputs.model_digest, "build": inputs.build, "parameters": dict(inputs.parameters)},
        "data": {
            "snapshot_digest": inputs.snapshot_digest,
            "snapshot_source": inputs.snapshot_source,
            "holdout_digest": inputs.holdout_digest,
        },
        "environment": {"lock_digest": inputs.lock_digest, "fingerprint": dict(inputs.fingerprint)},
        "golden": {"rows": len(golden.rows), "columns": golden.names},
        "verdicts": {layer: list(verdicts) for layer, verdicts in inputs.verdicts.items()},
        "gate": dict(inputs.gate) if inputs.gate is not None else None,
        "parent": inputs.parent,
        "drift_reference": dict(inputs.drift_reference) if inputs.drift_reference is not None else None,
    }


def write_json(value: object, *, sort: bool = True) -> bytes:
    """Return a value as canonical JSON: sorted keys, no extra blanks, every digit of a float, UTF-8.

    Args:
        value: Plain JSON types.
        sort: Whether to sort the keys. The columns of a reference for drift keep their order, because people read them in it.

    Raises:
        DataError: The value contains something that JSON cannot represent, such as NaN or a date.
    """
    try:
        text = json.dumps(value, sort_keys=sort, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the release cannot be written as JSON: {error}",
            hint="Use only finite numbers, texts, lists and tables in verdicts, model.parameters and feature columns.",
        ) from error
    return (text + "\n").encode("utf-8", "surrogatepass")


def read_code_version(root: Path) -> CodeVersion:
    """Read the commit of the project's folder from git. Outside git the commit is empty, and the code counts as dirty."""
    commit = _run_git(root, "rev-parse", "HEAD")
    return CodeVersion(commit, dirty=bool(_run_git(root, "status", "--porcelain"))) if commit else CodeVersion("", dirty=True)


def _run_git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)  # noqa: S607
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
