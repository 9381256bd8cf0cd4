"""The compiled pipelines of the project: they follow from the source, kfp accepts them, and every step uses the step image."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import components

from sluice.argo.compilation import Options
from sluice.engines.compiling import compile_to_argo
from sluice.engines.ir_compilation import add_environment, compile_to_ir, replace_images
from sluice.errors import ConfigurationError, DataError, UsageError
from sluice.ir.reading import parse_ir
from sluice.project.projects import read_project

ROOT = Path(__file__).resolve().parents[3]
STEPS = [
    "approval",
    "canary",
    "code-tests",
    "data-tests",
    "gate",
    "integration-tests",
    "model-tests",
    "package",
    "pin-snapshot",
    "score",
    "train",
]


@pytest.mark.parametrize("name", ["ci", "release", "retrain", "drift"])
def test_the_committed_kfp_pipelines_are_what_the_compiler_writes(name: str) -> None:
    committed = (ROOT / "pipelines" / "compiled" / "kfp" / f"{name}.yaml").read_text(encoding="utf-8")
    assert compile_to_ir(read_project(ROOT), name) == committed, "run `make compile`"


@pytest.mark.parametrize("name", ["ci", "release", "retrain", "drift"])
def test_the_committed_argo_workflows_are_what_the_compiler_writes(name: str, tmp_path: Path) -> None:
    fresh = tmp_path / f"{name}.yaml"
    command = [
        sys.executable,
        "-m",
        "sluice",
        "compile",
        name,
        "--target",
        "argo",
        "--kind",
        "WorkflowTemplate",
        "-o",
        str(fresh),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    committed = ROOT / "pipelines" / "compiled" / "argo" / f"{name}.yaml"
    assert fresh.read_bytes() == committed.read_bytes(), "run `make compile`"


def test_every_pipeline_of_the_project_is_compiled_for_both_targets() -> None:
    for target in ("kfp", "argo"):
        names = {file.stem for file in (ROOT / "pipelines" / "compiled" / target).glob("*.yaml")}
        assert names == set(read_project(ROOT).settings.pipelines), target


def test_kfp_can_load_the_compiled_release_pipeline() -> None:
    loaded = components.load_component_from_text(compile_to_ir(read_project(ROOT), "release"))
    assert loaded.name == "release"
    assert set(loaded.component_spec.inputs or {}) == {"snapshot"}


def executors(text: str) -> dict[str, Any]:
    return {
        name.removeprefix("exec-"): spec["container"]
        for name, spec in yaml.safe_load(text)["deploymentSpec"]["executors"].items()
    }


def test_every_step_uses_the_step_image_and_installs_nothing() -> None:
    project = read_project(ROOT)
    found = executors(compile_to_ir(project, "release"))
    assert sorted(found) == STEPS
    for name, container in found.items():
        assert container["image"] == project.settings.steps.image, name
        assert "pip install" not in " ".join(container["command"]), name


def test_replace_images_pins_the_image_of_every_step() -> None:
    digest = "sha256:" + "a" * 64
    text = compile_to_ir(read_project(ROOT), "release", images=[f"sluice-step:latest={digest}"])
    assert {container["image"] for container in executors(text).values()} == {f"sluice-step:latest@{digest}"}


@pytest.mark.parametrize("pair", ["sluice-step:latest", "=x", "a="])
def test_an_image_argument_without_name_or_digest_is_an_error(pair: str) -> None:
    with pytest.raises(UsageError, match="NAME=DIGEST"):
        replace_images("{}", [pair])


def test_an_image_that_no_step_uses_is_an_error() -> None:
    with pytest.raises(UsageError, match="no step has the image 'other:1'"):
        compile_to_ir(read_project(ROOT), "ci", images=["other:1=sha256:" + "b" * 64])


def environments(text: str) -> dict[str, dict[str, str]]:
    return {name: {entry["name"]: entry["value"] for entry in step.get("env", ())} for name, step in executors(text).items()}


def test_the_environment_of_the_steps_is_in_every_step_on_both_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    env = {"SLUICE_SERVING__REPOSITORY": "registry.example.com/churn", "PLAIN": "{{a}} $$ 100 %", "EMPTY": ""}
    monkeypatch.setenv("SLUICE_STEPS__ENV", json.dumps(env))
    project = read_project(ROOT)
    text = compile_to_ir(project, "release")
    found = environments(text)
    assert sorted(found) == STEPS
    assert all(variables == env for variables in found.values())
    workflow = yaml.safe_load(compile_to_argo(parse_ir(text, source="release"), Options()))
    for template in workflow["spec"]["templates"]:
        if "container" in template:
            variables = {entry["name"]: entry["value"] for entry in template["container"]["env"]}
            assert variables["SLUICE_SERVING__REPOSITORY"] == "registry.example.com/churn"
            assert {"PLAIN", "EMPTY"} <= variables.keys()
    # A file is not one of the project's pipelines, so its steps keep their own environment.
    compiled = str(ROOT / "pipelines" / "ci.py")
    assert all("PLAIN" not in variables for variables in environments(compile_to_ir(project, compiled)).values())


def test_a_step_keeps_the_value_that_it_sets_itself() -> None:
    document = {
        "deploymentSpec": {"executors": {"exec-a": {"container": {"env": [{"name": "A", "value": "own"}]}}, "exec-b": {}}}
    }
    found = yaml.safe_load(add_environment(yaml.safe_dump(document), {"A": "other", "B": "2"}))
    assert found["deploymentSpec"]["executors"] == {
        "exec-a": {"container": {"env": [{"name": "A", "value": "own"}, {"name": "B", "value": "2"}]}},
        "exec-b": {},
    }


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"A B": "x"}, "'A B' is not the name of an environment variable"),
        ({"A": "{{$.inputs.parameters['x']}}"}, "the value of A contains '{{\\$'"),
        ({"A": "$(HOME)"}, r"the value of A contains '\$\('"),
    ],
)
def test_the_environment_of_the_steps_is_literal(env: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_STEPS__ENV", json.dumps(env))
    with pytest.raises(ConfigurationError, match=message):
        read_project(ROOT)


def test_the_two_pins_of_the_drift_pipeline_never_become_one_artifact() -> None:
    """KFP refuses one artifact in two inputs. So the pins are two components, and the reference never comes from a cache."""
    tasks = yaml.safe_load(compile_to_ir(read_project(ROOT), "drift"))["root"]["dag"]["tasks"]
    assert tasks["pin-reference"]["componentRef"] != tasks["pin-snapshot"]["componentRef"]
    assert not tasks["pin-reference"].get("cachingOptions", {}).get("enableCache")
    inputs = tasks["condition-1"]["inputs"]["artifacts"]
    producers = {name: source["taskOutputArtifact"]["producerTask"] for name, source in inputs.items()}
    assert producers == {
        "pipelinechannel--pin-reference-snapshot": "pin-reference",
        "pipelinechannel--pin-snapshot-snapshot": "pin-snapshot",
    }


@pytest.mark.parametrize("name", ["ci", "release", "retrain", "drift"])
def test_the_pinned_snapshot_never_comes_from_a_cache_on_either_target(name: str) -> None:
    """Its location is resolved when the step runs, so the same parameters mean another snapshot tomorrow."""
    text = compile_to_ir(read_project(ROOT), name)
    assert not yaml.safe_load(text)["root"]["dag"]["tasks"]["pin-snapshot"].get("cachingOptions", {}).get("enableCache")
    workflow = yaml.safe_load(compile_to_argo(parse_ir(text, source=name), Options()))
    (template,) = [each for each in workflow["spec"]["templates"] if each["name"] == "pin-snapshot"]
    assert "memoize" not in template
    assert any("memoize" in each for each in workflow["spec"]["templates"]), "other steps are cached"


@pytest.mark.parametrize(("name", "asks"), [("ci", False), ("release", False), ("retrain", True), ("drift", True)])
def test_only_pipelines_that_a_schedule_or_an_event_starts_train_nothing_if_nothing_is_new(name: str, asks: bool) -> None:
    tasks = yaml.safe_load(compile_to_ir(read_project(ROOT), name))["root"]["dag"]["tasks"]
    pinned = tasks["pin-snapshot"]
    assert pinned["inputs"]["parameters"]["compare"]["runtimeValue"]["constant"] is asks
    conditions = [task.get("triggerPolicy", {}).get("condition", "") for task in tasks.values()]
    assert any("pin-snapshot-Output'] == true" in condition for condition in conditions) is asks
    assert ("train" in tasks) is not asks, "the training is under the condition"


def test_a_source_that_is_neither_a_pipeline_nor_a_file_is_an_error(tmp_path: Path) -> None:
    project = read_project(ROOT)
    with pytest.raises(UsageError, match="neither a pipeline of this project"):
        compile_to_ir(project, "nightly")
    with pytest.raises(DataError, match=r"the Python file .* does not exist"):
        compile_to_ir(project, str(tmp_path / "absent.py"))
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    with pytest.raises(DataError, match="0 pipelines"):
        compile_to_ir(project, str(empty))


def test_a_pipeline_in_a_python_file_can_be_compiled(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "from kfp import dsl\n"
        "@dsl.component(base_image='python:3.11')\n"
        "def say(word: str) -> str:\n    return word\n"
        "@dsl.pipeline(name='first')\ndef first():\n    say(word='a')\n"
        "@dsl.pipeline(name='second')\ndef second():\n    say(word='b')\n"
    )
    project = read_project(ROOT)
    assert yaml.safe_load(compile_to_ir(project, f"{source}:second"))["pipelineInfo"]["name"] == "second"
    with pytest.raises(DataError, match="its pipelines are: first, second"):
        compile_to_ir(project, str(source))


def test_every_component_has_the_name_of_its_folder_and_is_short() -> None:
    for folder in sorted((ROOT / "components").glob("*/__init__.py")):
        module = importlib.import_module(f"components.{folder.parent.name}")
        assert hasattr(module, folder.parent.name)
        assert len(folder.read_text(encoding="utf-8").splitlines()) <= 32, folder
