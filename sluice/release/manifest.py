"""The manifest of a release: what a model layer is made of, bound into its digest.

Equal inputs give equal bytes: no clock, no host, no path of a machine is in it. What comes later (the integration layer's
verdict, approval, rollout evidence, signatures) is attached to the release, never written into it.
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

    from sluice.release.golden import Golden

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Code:
    """The code that a release was made from.

    Attributes:
        commit: Id of the commit; empty outside git.
        dirty: Whether files differed from it. What they were is in the layer's ``code`` folder, and so in the digest.
    """

    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a release binds, beside the golden rows.

    Attributes:
        project: Name of the project.
        code: Commit.
        model_digest: Digest of the model file, made once when it was trained: joblib's bytes differ from dump to dump.
        build: The function that made the model, as sluice.toml names it.
        parameters: Its keyword arguments.
        snapshot_digest: Digest of the training data.
        holdout_digest: Digest of the holdout.
        lock_digest: Digest of the serving environment's lock: the base that the layer is put on.
        fingerprint: Of the environment at training.
        verdicts: Layer → its verdicts as plain JSON.
        gate: The gate's public decision; None where it was not asked.
        parent: Digest of the champion at that time; None before the first.
    """

    project: str
    code: Code
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


def plan_manifest(inputs: Inputs, golden: Golden) -> dict[str, Any]:
    """The manifest as plain JSON types."""
    return {
        "schema": SCHEMA,
        "project": inputs.project,
        "code": {"commit": inputs.code.commit, "dirty": inputs.code.dirty},
        "model": {"digest": inputs.model_digest, "build": inputs.build, "parameters": dict(inputs.parameters)},
        "data": {"snapshot_digest": inputs.snapshot_digest, "holdout_digest": inputs.holdout_digest},
        "environment": {"lock_digest": inputs.lock_digest, "fingerprint": dict(inputs.fingerprint)},
        "golden": {"rows": len(golden.rows), "columns": golden.names},
        "verdicts": {layer: list(verdicts) for layer, verdicts in inputs.verdicts.items()},
        "gate": dict(inputs.gate) if inputs.gate is not None else None,
        "parent": inputs.parent,
    }


def write_json(value: object) -> bytes:
    """JSON with one form for one value: sorted keys, no spare blanks, every digit of a float, UTF-8.

    Raises:
        DataError: The value holds something that JSON cannot carry, such as NaN or a date.
    """
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the release cannot be written as JSON: {error}",
            hint="Keep verdicts, model.parameters and feature columns to numbers that are finite, texts, lists and tables.",
        ) from error
    return (text + "\n").encode("utf-8", "surrogatepass")


def read_code(root: Path) -> Code:
    """Ask git about the project's folder; outside git there is no commit, and that counts as dirty."""
    commit = _ask_git(root, "rev-parse", "HEAD")
    return Code(commit, dirty=bool(_ask_git(root, "status", "--porcelain"))) if commit else Code("", dirty=True)


def _ask_git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)  # noqa: S607
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
