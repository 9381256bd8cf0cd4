from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from sluice.release.fingerprint import (
    LIBRARIES,
    compare_fingerprints,
    describe_cpuinfo,
    describe_patch_level,
    read_fingerprint,
    same_cpu,
)

REPOSITORY = Path(__file__).parents[3]

CPUINFO = """\
processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 85
model name	: Some processor @ 2.00GHz
cpu MHz		: {mhz}
flags		: fpu vme avx2 avx512f {extra} fma sse4_2

processor	: 1
vendor_id	: Other
"""


def test_the_fingerprint_describes_this_environment() -> None:
    found = read_fingerprint()
    assert found["python"] == sys.version.split()[0]
    assert found["libraries"] == {name: metadata.version(name) for name in LIBRARIES}
    assert found == read_fingerprint() == json.loads(json.dumps(found))


def test_both_environments_have_the_same_fingerprint() -> None:
    code = f"import sys, json; sys.path.insert(0, {str(REPOSITORY)!r}); from sluice.release import fingerprint as f\n"
    code += "print(json.dumps(f.read_fingerprint()))"
    done = subprocess.run([REPOSITORY / ".venv-serving/bin/python", "-c", code], check=True, capture_output=True, text=True)
    assert compare_fingerprints(read_fingerprint(), json.loads(done.stdout)) == []
    assert same_cpu(read_fingerprint(), json.loads(done.stdout))


def test_equal_fingerprints_have_no_difference() -> None:
    assert compare_fingerprints(read_fingerprint(), read_fingerprint()) == []


@pytest.mark.parametrize("key", ["python", "implementation", "machine"])
def test_each_difference_is_reported(key: str) -> None:
    expected = read_fingerprint() | {key: "other"}
    (difference,) = compare_fingerprints(expected, read_fingerprint())
    assert difference.startswith(f"{key} is ")
    assert difference.endswith("fitted with other")


@pytest.mark.parametrize(
    ("expected", "actual", "difference"),
    [
        ({"numpy": "1.26.4"}, {"numpy": "2.0.0"}, "numpy is 2.0.0, but the model was fitted with 1.26.4"),
        ({"numpy": "1.26.4"}, {}, "numpy is absent, but the model was fitted with 1.26.4"),
        ({}, {"numpy": "1.26.4"}, "numpy is 1.26.4, but the model was fitted with absent"),
    ],
)
def test_libraries_are_compared_by_version(expected: dict[str, str], actual: dict[str, str], difference: str) -> None:
    here = read_fingerprint()
    assert compare_fingerprints(here | {"libraries": expected}, here | {"libraries": actual}) == [difference]


@pytest.mark.parametrize(
    ("fitted", "served", "fatal", "told"),
    [
        ("3.11.7", "3.11.7", False, False),
        ("3.11.7", "3.11.2", False, True),
        ("3.11.7", "3.12.7", True, False),
        ("3.11.7", "4.11.7", True, False),
        ("3.12.0rc1", "3.12.0", True, False),
        ("3.12.0rc1", "3.12.0rc2", True, False),
        ("3.11.7", "absent", True, False),
    ],
)
def test_only_the_patch_level_of_a_final_python_may_differ(fitted: str, served: str, fatal: bool, told: bool) -> None:
    here = read_fingerprint()
    expected, actual = here | {"python": fitted}, here | {"python": served}
    assert bool(compare_fingerprints(expected, actual)) is fatal
    described = describe_patch_level(expected, actual)
    assert described == (
        f"the model is fitted with Python {fitted} and served with {served}; a patch level changes no answer" * told
    )


def test_the_program_prints_what_the_label_of_an_image_contains() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sluice.release.fingerprint"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    here = read_fingerprint()
    assert json.loads(done.stdout) == {key: here[key] for key in ("python", "implementation", "machine", "libraries")}
    assert compare_fingerprints(here, json.loads(done.stdout)) == []


def test_another_processor_is_no_difference_but_another_class() -> None:
    here = read_fingerprint()
    other = here | {"cpu_features": "sha256:other"}
    assert compare_fingerprints(other, here) == []
    assert same_cpu(here, here)
    assert not same_cpu(other, here)
    assert not same_cpu({}, {})


def test_clock_and_unrelated_flags_do_not_change_the_class() -> None:
    assert describe_cpuinfo(CPUINFO.format(mhz=2000, extra="")) == describe_cpuinfo(
        CPUINFO.format(mhz=2400, extra="hypervisor md_clear")
    )


def test_other_instructions_change_the_class() -> None:
    assert describe_cpuinfo(CPUINFO.format(mhz=2000, extra="")) != describe_cpuinfo(CPUINFO.format(mhz=2000, extra="amx_bf16"))


def test_a_variable_that_chooses_kernels_changes_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_fingerprint()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    assert not same_cpu(before, read_fingerprint())
