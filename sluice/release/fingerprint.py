"""The fingerprint of an environment: a short description that each server compares with the training environment's at its start.

This module needs only the standard library, because the serving environment reads its own fingerprint with it. Run as a program,
it prints what a label of the serving image says about the image's environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LIBRARIES = ("joblib", "numpy", "pandas", "scikit-learn", "scipy", "threadpoolctl")
"""The libraries that determine the model's results. serving/model-libraries.txt pins them for both environments."""

ABSENT = "absent"
_FINAL_PYTHON = re.compile(r"(\d+\.\d+)\.\d+")
_SIMD_PREFIXES = ("sse", "ssse", "avx", "fma", "f16c", "bmi", "asimd", "sve", "neon", "fp", "vsx", "amx")
_DISPATCH_VARIABLES = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")


def read_fingerprint() -> dict[str, Any]:
    """Read the fingerprint of this process's environment, as plain JSON types.

    Returns:
        ``python`` (full version), ``implementation``, ``machine``, ``libraries`` (name → version, ``"absent"`` if it is not
        installed) and ``cpu_features``. The last is a digest, ``sha256:…``, of everything besides the versions that the last bits
        of a result may depend on: the processor's vendor, model and SIMD instructions, the C library, and the environment
        variables that choose between numerical kernels.
    """
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "libraries": {name: _read_version(name) for name in LIBRARIES},
        "cpu_features": _digest_cpu_features(),
    }


def compare_fingerprints(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """Return the differences that forbid serving the model, one sentence each; an empty list if there are none.

    A difference is fatal if it can change an answer, or keep the model from being loaded: another minor version of Python (its
    bytecode and its pickles), another implementation or architecture, and another version of a library that computes. The patch
    level of Python is none of these, because within a minor version its bytecode, its pickles and the interface of compiled
    libraries stay the same. `describe_patch_level` reports it. The golden rows show every answer that changed nevertheless.

    The processor is not compared, because a model may be served on another processor. Then the last bits of its predictions may
    differ (see `same_cpu`).

    Args:
        expected: The fingerprint in the release's manifest.
        actual: The fingerprint of the serving environment.
    """
    differences = [
        f"{key} is {actual.get(key, ABSENT)}, but the model was fitted with {expected.get(key, ABSENT)}"
        for key in ("python", "implementation", "machine")
        if _leave_out_patch_level(expected.get(key, ABSENT)) != _leave_out_patch_level(actual.get(key, ABSENT))
    ]
    fitted, found = dict(expected.get("libraries") or {}), dict(actual.get("libraries") or {})
    return differences + [
        f"{name} is {found.get(name, ABSENT)}, but the model was fitted with {fitted.get(name, ABSENT)}"
        for name in sorted(fitted.keys() | found.keys())
        if fitted.get(name, ABSENT) != found.get(name, ABSENT)
    ]


def describe_patch_level(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> str:
    """Say that two environments have different patch levels of the same Python; empty if they have not.

    Args:
        expected: The fingerprint of the training environment.
        actual: The fingerprint of the serving environment.
    """
    fitted, found = (str(one.get("python", ABSENT)) for one in (expected, actual))
    if fitted == found or _leave_out_patch_level(fitted) != _leave_out_patch_level(found):
        return ""
    return f"the model is fitted with Python {fitted} and served with {found}; a patch level changes no answer"


def describe_for_label(fingerprint: Mapping[str, Any]) -> str:
    """Return what the label of a serving image contains: the fingerprint as compact JSON, without the processor of the build."""
    described = {key: fingerprint[key] for key in ("python", "implementation", "machine", "libraries")}
    return json.dumps(described, sort_keys=True, separators=(",", ":"))


def _leave_out_patch_level(version: Any) -> str:  # noqa: ANN401 - a value of a manifest
    """Return the minor version of a final Python, for example ``"3.11"``. Any other text stays whole."""
    found = _FINAL_PYTHON.fullmatch(str(version))
    return found[1] if found else str(version)


def same_cpu(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> bool:
    """Return whether both have the same class of processor. Then predictions must be equal to the last bit.

    A fingerprint without ``cpu_features`` equals no other one.
    """
    return bool(expected.get("cpu_features")) and expected.get("cpu_features") == actual.get("cpu_features")


def _read_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ABSENT


def _digest_cpu_features() -> str:
    facts = [*_read_cpu(), "libc " + " ".join(platform.libc_ver())]
    facts += [f"{name}={os.environ[name]}" for name in _DISPATCH_VARIABLES if os.environ.get(name)]
    return "sha256:" + hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _read_cpu() -> list[str]:
    """Read the vendor, model and SIMD instructions of the first processor."""
    if sys.platform == "darwin":
        keys = ("machdep.cpu.brand_string", "hw.cpufamily", "hw.cpusubfamily")
        # The path is absolute, so that $PATH cannot change how strictly a release is compared.
        done = subprocess.run(["/usr/sbin/sysctl", "-n", *keys], capture_output=True, text=True, check=False)
        return done.stdout.split("\n")
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [platform.processor()]
    return describe_cpuinfo(text)


def describe_cpuinfo(text: str) -> list[str]:
    """Return the entries of ``/proc/cpuinfo`` that decide which numerical kernels are used.

    Flags that depend on the version of the Linux kernel or on the hypervisor are left out.
    """
    first: dict[str, str] = {}
    for line in text.strip().split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        first[key.strip().lower()] = value.strip()
    names = ("vendor_id", "cpu family", "model", "cpu implementer", "cpu architecture", "cpu variant", "cpu part")
    flags = sorted(flag for flag in first.get("flags", first.get("features", "")).split() if flag.startswith(_SIMD_PREFIXES))
    return [f"{name} {first[name]}" for name in names if name in first] + flags


if __name__ == "__main__":
    sys.stdout.write(describe_for_label(read_fingerprint()) + "\n")
