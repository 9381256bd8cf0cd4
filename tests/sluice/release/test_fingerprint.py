from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from sluice.release.fingerprint import (
    ACCELERATORS,
    LIBRARIES,
    compare_fingerprints,
    describe_cpuinfo,
    describe_patch_level,
    find_unnamed,
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
    assert found["libraries"] == {name: metadata.version(name) for name in LIBRARIES} | dict.fromkeys(ACCELERATORS, "absent")
    assert found["files"].keys() == set(LIBRARIES)
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
        ({"lightgbm": "4.7.0"}, {"lightgbm": "4.0.0"}, "lightgbm is 4.0.0, but the model was fitted with 4.7.0"),
        ({"numexpr": "absent"}, {"numexpr": "2.10"}, "numexpr is 2.10, but the model was fitted with absent"),
    ],
)
def test_libraries_are_compared_by_version(expected: dict[str, str], actual: dict[str, str], difference: str) -> None:
    here = read_fingerprint()
    assert compare_fingerprints(here | {"libraries": expected}, here | {"libraries": actual}) == [difference]


def test_other_libraries_of_the_serving_environment_are_no_difference() -> None:
    here = read_fingerprint()
    assert compare_fingerprints(here, here | {"libraries": here["libraries"] | {"flask": "3.1.3"}}) == []


def test_the_files_of_a_library_are_compared_if_both_know_them() -> None:
    here = read_fingerprint()
    other = here | {"files": here["files"] | {"scipy": "sha256:other"}}
    (difference,) = compare_fingerprints(here, other)
    version = metadata.version("scipy")
    assert difference == f"scipy {version} has other files than the scipy {version} that the model was fitted with"
    assert compare_fingerprints(here, here | {"files": {}}) == []


def test_fingerprints_of_earlier_versions_name_six_libraries_and_no_files() -> None:
    here = read_fingerprint(["httpx"])
    earlier = {key: value for key, value in here.items() if key != "files"}
    earlier["libraries"] = {name: here["libraries"][name] for name in LIBRARIES}
    assert compare_fingerprints(earlier, here) == []
    assert compare_fingerprints(here, earlier) == []


def test_the_digest_of_files_does_not_depend_on_the_installer(tmp_path: Path) -> None:
    record = "tiny/__init__.py,sha256=aa,1\ntiny-1.dist-info/METADATA,sha256=bb,1\n"
    added = [
        "tiny-1.dist-info/INSTALLER,sha256=cc,1\ntiny-1.dist-info/RECORD,,\n../../../bin/tiny,sha256=dd,1\n",
        'tiny/__pycache__/__init__.cpython-311.pyc,,\ntiny-1.dist-info/REQUESTED,sha256=,0\n"tiny-1.dist-info/RECORD",,\n',
    ]
    digests = []
    for number, lines in enumerate([*added, "tiny/more.py,sha256=ee,1\n"]):
        folder = tmp_path / str(number) / "tiny-1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        (folder / "RECORD").write_text(record + lines)
        code = "from sluice.release.fingerprint import *; print(read_fingerprint(['tiny'])['files']['tiny'])"
        path = f"{folder.parent}{os.pathsep}{REPOSITORY}"
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
        )
        digests.append(done.stdout)
    assert digests[0] == digests[1] != digests[2]


def test_the_libraries_that_a_fingerprint_leaves_out_are_found() -> None:
    modules = ["os.path", "httpx._client", "parcels.model", "numpy.linalg", "_no_library"]
    assert find_unnamed(modules, LIBRARIES) == {"httpx": metadata.version("httpx")}
    assert find_unnamed(modules, [*LIBRARIES, "httpx"]) == {}
    assert find_unnamed(["h11", "narwhals"], [*LIBRARIES, "httpx"]) == {}  # httpx requires h11, and scikit-learn narwhals


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
    described = json.loads(done.stdout)
    assert described.keys() == {"python", "implementation", "machine", "libraries", "files"}
    assert {name: described["libraries"][name] for name in LIBRARIES} == {name: here["libraries"][name] for name in LIBRARIES}
    assert "pytest" in described["libraries"]
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
