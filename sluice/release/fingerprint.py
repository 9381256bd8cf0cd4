"""The fingerprint of an environment: a short description that each server compares with the training environment's at its start.

This module needs only the standard library, because the serving environment reads its own fingerprint with it. Run as a program,
it prints what a label of the serving image says about the image's environment.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LIBRARIES = ("joblib", "numpy", "pandas", "scikit-learn", "scipy", "threadpoolctl")
"""The libraries that every model uses. serving/model-libraries.txt pins them for both environments."""

ACCELERATORS = ("bottleneck", "numba", "numexpr")
"""Libraries that pandas uses if they are installed. They may change the last bits of results, so their absence counts."""

SERVER = "seldon-core"
"""The library that runs the server. What it requires is loaded whatever the model is."""

ABSENT = "absent"
_WRITTEN_BY_INSTALLERS = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json"}
_NAME = re.compile(r"^Name: *(\S+)", re.MULTILINE)
_TOP = re.compile(r"^\"?(\w+)(?=[/.])", re.MULTILINE)
_REQUIRED = re.compile(r"^Requires-Dist: ([A-Za-z0-9._-]+)(?!.*\bextra\b)", re.MULTILINE)
_FINAL_PYTHON = re.compile(r"(\d+\.\d+)\.\d+")
_SIMD_PREFIXES = ("sse", "ssse", "avx", "fma", "f16c", "bmi", "asimd", "sve", "neon", "fp", "vsx", "amx")
_DISPATCH_VARIABLES = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")


def read_fingerprint(names: Iterable[str] = LIBRARIES) -> dict[str, Any]:
    """Read the fingerprint of this process's environment, as plain JSON types.

    Args:
        names: The libraries that the model's process can load (`sluice.release.model_libraries`). `LIBRARIES` and `ACCELERATORS`
            are always among them.

    Returns:
        ``python`` (full version), ``implementation``, ``machine``, ``libraries`` (name → version, ``"absent"`` if it is not
        installed), ``files`` (name → digest of the installed files, for each library whose installer recorded them) and
        ``cpu_features``. The last is a digest, ``sha256:…``, of everything besides the versions that the last bits of a result
        may depend on: the processor's vendor, model and SIMD instructions, the C library, and the environment variables that
        choose between numerical kernels.
    """
    named = sorted({*LIBRARIES, *ACCELERATORS, *map(normalize_name, names)})
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "libraries": {name: read_version(name) for name in named},
        "files": {name: digest for name in named if (digest := _digest_files(name))},
        "cpu_features": _digest_cpu_features(),
    }


def list_installed() -> list[str]:
    """Return the names of all libraries of this environment."""
    return sorted({normalize_name(each.name) for each in metadata.distributions()})


def normalize_name(name: str) -> str:
    """Return the name of a library as locks write it: in lower case, with hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def compare_fingerprints(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """Return the differences that forbid serving the model, one sentence each; an empty list if there are none.

    A difference is fatal if it can change an answer, or keep the model from being loaded: another minor version of Python (its
    bytecode and its pickles), another implementation or architecture, and another version or build of a library that the model's
    process can load. The patch level of Python is none of these, because within a minor version its bytecode, its pickles and
    the interface of compiled libraries stay the same. `describe_patch_level` reports it. The golden rows show every answer that
    changed nevertheless.

    The processor is not compared, because a model may be served on another processor. Then the last bits of its predictions may
    differ (see `same_cpu`).

    Args:
        expected: The fingerprint in the release's manifest. One of an earlier version of Sluice names only `LIBRARIES` and no
            files, and then nothing else is compared.
        actual: The fingerprint of the serving environment. It may name more libraries than the model needs.
    """
    differences = [
        f"{key} is {actual.get(key, ABSENT)}, but the model was fitted with {expected.get(key, ABSENT)}"
        for key in ("python", "implementation", "machine")
        if _leave_out_patch_level(expected.get(key, ABSENT)) != _leave_out_patch_level(actual.get(key, ABSENT))
    ]
    fitted, found = dict(expected.get("libraries") or {}), dict(actual.get("libraries") or {})
    names = {*fitted, *LIBRARIES}
    if "files" not in actual:  # the label of an image that an earlier version of Sluice built names only these
        names = {*found, *LIBRARIES}
    differences += [
        f"{name} is {found.get(name, ABSENT)}, but the model was fitted with {fitted.get(name, ABSENT)}"
        for name in sorted(names)
        if fitted.get(name, ABSENT) != found.get(name, ABSENT)
    ]
    return differences + [
        f"{name} {fitted[name]} has other files than the {name} {fitted[name]} that the model was fitted with"
        for name in sorted(names & fitted.keys())
        if fitted[name] == found.get(name) and not _have_same_files(name, expected, actual)
    ]


def _have_same_files(name: str, expected: Mapping[str, Any], actual: Mapping[str, Any]) -> bool:
    """Return whether both have the same build of a library, or one of them does not say so."""
    fitted, found = (dict(one.get("files") or {}).get(name) for one in (expected, actual))
    return not fitted or not found or fitted == found


def find_unnamed(modules: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return the libraries that modules belong to and that a fingerprint leaves out, with their versions.

    What the named libraries or the server require is not among them. NumPy, for example, uses a library of the server if it finds
    it, and no answer depends on that.

    Args:
        modules: Names of imported modules. Those of the standard library, and those that belong to no library, are left out.
        names: The names of the libraries in the fingerprint.
    """
    known = set(map(normalize_name, names))
    tops = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    tops -= {top for name in known for top in _list_packages(name)}
    if not tops:
        return {}
    required: dict[str, list[str]] = {}
    owners: set[str] = set()
    for each in metadata.distributions():  # parsing the whole metadata would take ten times as long
        text = each.read_text("METADATA") or ""
        name = normalize_name(found[1]) if (found := _NAME.search(text)) else ""
        required[name] = [normalize_name(other) for other in _REQUIRED.findall(text)]
        if tops & _find_packages(each.read_text("RECORD") or ""):
            owners.add(name)
    waiting = [*known, SERVER]
    while waiting:
        waiting += required.pop(waiting.pop(), ())
    return {name: read_version(name) for name in sorted(owners & required.keys())}


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
    described = {key: fingerprint[key] for key in ("python", "implementation", "machine", "libraries", "files")}
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


def read_version(name: str) -> str:
    """Return the version of an installed library; ``"absent"`` if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ABSENT


def _list_packages(name: str) -> set[str]:
    """Return the top-level packages and modules that a library contains."""
    return _find_packages("\n".join(path for path, _ in _read_files(name)))


def _find_packages(record: str) -> set[str]:
    """Return the top-level packages and modules in the text of a RECORD."""
    return set(_TOP.findall(record))


def _digest_files(name: str) -> str:
    """Return the digest of a library's files, as its installer recorded them; empty if it recorded none.

    Scripts, bytecode and what the installer itself writes are left out, because they differ between installations of one file.
    """
    lines = [
        f"{path} {digest}"
        for path, digest in _read_files(name)
        if not path.startswith("..") and not path.endswith(".pyc") and path.rpartition("/")[2] not in _WRITTEN_BY_INSTALLERS
    ]
    return "sha256:" + hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() if lines else ""


@cache
def _read_files(name: str) -> tuple[tuple[str, str], ...]:
    """Return path and digest of each file of a library, as its RECORD says; nothing if there is none."""
    try:
        record = metadata.distribution(name).read_text("RECORD") or ""
    except metadata.PackageNotFoundError:
        return ()
    return tuple((row[0], row[1]) for row in csv.reader(record.splitlines()) if len(row) > 1)


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
    sys.stdout.write(describe_for_label(read_fingerprint(list_installed())) + "\n")
