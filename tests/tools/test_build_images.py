"""`make images` with a builder that records its commands. Images of a gigabyte are not built in a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sluice.release.registry.serving_images import ENVIRONMENT_LABEL

REPOSITORY = Path(__file__).parents[2]
BUILDER = """\
#!{python}
import json, os, pathlib, sys
words = sys.argv[1:]
with open(os.environ["RECORD"], "a") as record:
    record.write(json.dumps(words) + "\\n")
if "--digestfile" in words:
    pathlib.Path(words[words.index("--digestfile") + 1]).write_text("sha256:" + "a" * 64)
if words[0] == "from":
    print("container-1")
if words[:2] == ["image", "inspect"]:
    print("other.example.com/x@sha256:" + "b" * 64)
    print("registry.example.com/team/" + words[-1].split(":")[0] + "@sha256:" + "a" * 64)
if "sluice.release.fingerprint" in words:
    print('{{"python":"3.11.7"}}')
if os.environ.get("BROKEN") == words[0]:
    sys.exit(3)
"""


def run(
    folder: Path, program: str, *arguments: str, broken: str = ""
) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """Run the tool with one builder on the path; return how it ended and what the builder was told."""
    builder, record = folder / program, folder / "record"
    builder.write_text(BUILDER.format(python=sys.executable))
    builder.chmod(0o755)
    environment = {"PATH": str(folder), "RECORD": str(record), "BROKEN": broken}
    tool = [sys.executable, str(REPOSITORY / "tools" / "build_images.py"), *arguments]
    done = subprocess.run(tool, env=environment, capture_output=True, text=True, check=False)
    return done, [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


@pytest.mark.parametrize("program", ["buildah", "docker"])
def test_the_serving_image_gets_a_label_with_the_fingerprint_that_it_printed(tmp_path: Path, program: str) -> None:
    done, told = run(tmp_path, program, "--base", "registry.example.com/python:3.11")
    assert (done.returncode, done.stdout.split()) == (0, ["sluice-step:latest", "sluice-serving:latest"])
    builds = [words for words in told if words[0] == "build"]
    assert [words[-2] for words in builds[:2]] == ["components/Dockerfile", "serving/Dockerfile"]
    assert all("BASE=registry.example.com/python:3.11" in words for words in builds[:2])
    assert builds[2][1:5] == ["--label", f'{ENVIRONMENT_LABEL}={{"python":"3.11.7"}}', "-t", "sluice-serving:latest"]
    assert not [words for words in told if words[0] == "push"]


@pytest.mark.parametrize("program", ["buildah", "docker"])
def test_both_images_are_pushed_and_named_by_digest(tmp_path: Path, program: str) -> None:
    done, told = run(tmp_path, program, "--registry", "registry.example.com/team/", "--tag", "v7")
    digest = "sha256:" + "a" * 64
    assert done.returncode == 0, done.stderr
    named = [line.split()[0] for line in done.stdout.splitlines()]
    assert named == [f"registry.example.com/team/{name}@{digest}" for name in ("sluice-step", "sluice-serving")]
    assert "serving.image" in done.stdout.splitlines()[1]
    assert sum("registry.example.com/team/sluice-serving:v7" in words[-1] for words in told if words[0] == "push") == 1


@pytest.mark.parametrize(("program", "option"), [("buildah", True), ("docker", False)])
def test_over_plain_http_the_base_image_is_pulled_as_the_images_are_pushed(tmp_path: Path, program: str, option: bool) -> None:
    done, told = run(
        tmp_path, program, "--registry", "registry.example.com/team", "--base", "10.0.0.1:5000/python:3.11", "--plain-http"
    )
    assert done.returncode == 0, done.stderr
    pulls = [words for words in told if words[0] == "build" and "BASE=10.0.0.1:5000/python:3.11" in words]
    pushes = [words for words in told if words[0] == "push"]
    assert (len(pulls), len(pushes)) == (2, 2)
    assert all(("--tls-verify=false" in words) is option for words in pulls + pushes)


def test_a_build_that_fails_ends_before_anything_is_pushed(tmp_path: Path) -> None:
    done, told = run(tmp_path, "buildah", "--registry", "registry.example.com", broken="build")
    assert done.returncode == 1
    assert "build failed with exit code 3" in done.stderr
    assert len(told) == 1


def test_without_a_builder_the_message_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    tool = [sys.executable, str(REPOSITORY / "tools" / "build_images.py")]
    done = subprocess.run(tool, env={"PATH": str(tmp_path / "empty")}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "make images needs buildah or docker\n")
