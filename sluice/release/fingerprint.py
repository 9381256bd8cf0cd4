"""The environment that a model is fitted and served in, small enough to be compared at every start.

Standard library only: the serving environment reads its own fingerprint with it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LIBRARIES = ("joblib", "numpy", "pandas", "scikit-learn", "scipy", "threadpoolctl")
"""The libraries that make the model; serving/model-libraries.txt pins them for both environments."""

ABSENT = "absent"
_SIMD_PREFIXES = ("sse", "ssse", "avx", "fma", "f16c", "bmi", "asimd", "sve", "neon", "fp", "vsx", "amx")
_DISPATCH_VARIABLES = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")


def read_fingerprint() -> dict[str, Any]:
    """The fingerprint of this process's environment, as plain JSON types.

    Returns:
        ``python`` (full version), ``implementation``, ``machine``, ``libraries`` (name → version, ``"absent"`` where there is
        none) and ``cpu_features`` (``sha256:…`` of what the last bits of a result may depend on beside the versions: vendor,
        model and SIMD instructions of the processor, the C library, and variables that choose between numerical kernels).
    """
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "libraries": {name: _read_version(name) for name in LIBRARIES},
        "cpu_features": _digest_cpu_features(),
    }


def compare_fingerprints(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """The differences with which a model must not be served, one sentence each; empty when there are none.

    The processor is not among them: a model may move between processors, its last bits may not (see `same_cpu`).

    Args:
        expected: The fingerprint in the release's manifest.
        actual: The fingerprint of the environment that is to serve it.
    """
    differences = [
        f"{key} is {actual.get(key, ABSENT)}, the model was fitted with {expected.get(key, ABSENT)}"
        for key in ("python", "implementation", "machine")
        if expected.get(key, ABSENT) != actual.get(key, ABSENT)
    ]
    wanted, found = dict(expected.get("libraries") or {}), dict(actual.get("libraries") or {})
    return differences + [
        f"{name} is {found.get(name, ABSENT)}, the model was fitted with {wanted.get(name, ABSENT)}"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name, ABSENT) != found.get(name, ABSENT)
    ]


def same_cpu(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> bool:
    """Whether both have the same class of processor, so that predictions must be equal to the last bit.

    A fingerprint that does not know its processor is like no other.
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
    """Vendor, model and SIMD instructions of the first processor."""
    if sys.platform == "darwin":
        keys = ("machdep.cpu.brand_string", "hw.cpufamily", "hw.cpusubfamily")
        # An absolute path: what is on $PATH must not decide how strict a release is held.
        done = subprocess.run(["/usr/sbin/sysctl", "-n", *keys], capture_output=True, text=True, check=False)
        return done.stdout.split("\n")
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [platform.processor()]
    return describe_cpuinfo(text)


def describe_cpuinfo(text: str) -> list[str]:
    """What of ``/proc/cpuinfo`` chooses numerical kernels: flags that come and go with a kernel or a hypervisor are left out."""
    first: dict[str, str] = {}
    for line in text.strip().split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        first[key.strip().lower()] = value.strip()
    names = ("vendor_id", "cpu family", "model", "cpu implementer", "cpu architecture", "cpu variant", "cpu part")
    flags = sorted(flag for flag in first.get("flags", first.get("features", "")).split() if flag.startswith(_SIMD_PREFIXES))
    return [f"{name} {first[name]}" for name in names if name in first] + flags
