"""`sluice compile`, `lint` and `diff` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from commands import sluice

ROOT = Path(__file__).resolve().parents[3]
IR = ROOT / "pipelines" / "compiled" / "kfp" / "release.yaml"
SOURCE = """
from kfp import dsl

@dsl.component(base_image="python:3.11", install_kfp_package=False)
def say(word: str, times: int = 1) -> str:
    return word * times

@dsl.pipeline(name="greeting")
def greeting(word: str = "hello"):
    say(word=word, times={times}).set_display_name("Say it")
"""


@pytest.fixture
def unsupported(tmp_path: Path) -> Path:
    """IR with two constructs that no open-source engine runs."""
    document = yaml.safe_load(IR.read_text(encoding="utf-8"))
    executors = document["deploymentSpec"]["executors"]
    executors["exec-train"] = {"customJob": {"customJob": {}}}
    executors["exec-gate"] = {"resolver": {}}
    file = tmp_path / "unsupported.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


def test_a_file_of_ir_needs_no_project(tmp_path: Path) -> None:
    done = sluice("compile", str(IR), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = yaml.safe_load(done.stdout)
    assert (document["apiVersion"], document["kind"]) == ("argoproj.io/v1alpha1", "Workflow")
    assert "securityContext" not in done.stdout


def test_the_project_s_settings_hold_for_its_pipelines() -> None:
    done = sluice("compile", "ci", "--kind", "WorkflowTemplate", "--service-account", "pipelines", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load(done.stdout)["spec"]
    assert spec["serviceAccountName"] == "pipelines"
    for template in spec["templates"]:
        if "container" in template:
            assert template["container"]["securityContext"]["runAsNonRoot"] is True


def test_a_file_outside_a_project_gets_the_accounts_from_the_command_line(tmp_path: Path) -> None:
    options = ("--account", "pin_snapshot=reader", "--account", "gate=judge", "--no-step-tokens", "--service-account", "steps")
    done = sluice("compile", str(IR), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load(done.stdout)["spec"]
    found = {one["name"]: one["serviceAccountName"] for one in spec["templates"] if "serviceAccountName" in one}
    assert found == {"pin-snapshot": "reader", "gate": "judge"}
    assert spec["executor"] == {"serviceAccountName": "steps"}


def test_a_schedule_makes_a_cron_workflow(tmp_path: Path) -> None:
    options = ("--kind", "CronWorkflow", "--schedule", "17 4 * * 1", "--timezone", "Europe/Berlin", "--concurrency", "Forbid")
    done = sluice("compile", str(IR), *options, cwd=tmp_path)
    document = yaml.safe_load(done.stdout)
    assert document["metadata"]["name"] == "release"
    assert document["spec"]["schedules"] == ["17 4 * * 1"]
    assert (document["spec"]["timezone"], document["spec"]["concurrencyPolicy"]) == ("Europe/Berlin", "Forbid")
    assert document["spec"]["workflowMetadata"]["annotations"]["sluice-launcher"].startswith("import ")


def test_a_cron_workflow_without_a_schedule_is_refused(tmp_path: Path) -> None:
    done = sluice("compile", str(IR), "--kind", "CronWorkflow", cwd=tmp_path)
    assert done.returncode == 2
    assert "needs a schedule" in done.stderr
    assert "next: " in done.stderr


def test_kfp_s_own_objects_hold_the_ir(tmp_path: Path) -> None:
    done = sluice("compile", str(IR), "--target", "kfp-crd", "--namespace", "ml", cwd=tmp_path)
    pipeline, version = yaml.safe_load_all(done.stdout)
    assert (pipeline["kind"], version["kind"]) == ("Pipeline", "PipelineVersion")
    assert version["metadata"] == {"name": "release", "namespace": "ml"}
    assert version["spec"]["pipelineName"] == "release"
    assert version["spec"]["pipelineSpec"] == yaml.safe_load(IR.read_text(encoding="utf-8"))


def test_explain_counts_pods_beside_kfp_s(tmp_path: Path) -> None:
    done = sluice("compile", str(IR), "--explain", "-o", str(tmp_path / "argo.yaml"), cwd=tmp_path)
    assert "A run has 10 pods. KFP's backend would start 24 pods for it." in done.stderr
    assert "suspend" in done.stderr
    as_json = json.loads(sluice("compile", str(IR), "--explain", "--output", "json", cwd=tmp_path).stdout)
    assert as_json["data"]["explanation"]["pods"] == 10


def test_compile_names_everything_that_it_refuses(unsupported: Path) -> None:
    out = unsupported.with_name("out.yaml")
    done = sluice("compile", str(unsupported), "-o", str(out), cwd=unsupported.parent)
    assert done.returncode == 3
    assert "train, executor: only Vertex AI runs customJob" in done.stderr
    assert "gate, executor: only Vertex AI runs resolver" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("target", ["argo", "kfp"])
def test_lint_names_all_of_it_at_once(unsupported: Path, target: str) -> None:
    done = sluice("lint", str(unsupported), "--target", target, "--output", "json", cwd=unsupported.parent)
    assert done.returncode == 3
    found = json.loads(done.stdout)
    assert found["outcome"] == "refused"
    assert {(each["task"], each["field"]) for each in found["data"]["refused"]} == {("train", "executor"), ("gate", "executor")}
    assert all(each["hint"] for each in found["data"]["refused"])


def test_lint_of_a_clean_pipeline_says_so(tmp_path: Path) -> None:
    done = sluice("lint", str(IR), cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "argo can express the whole pipeline")


def test_a_number_that_kfp_would_round_is_refused_in_python_and_warned_of_in_ir(tmp_path: Path) -> None:
    source = tmp_path / "big.py"
    source.write_text(SOURCE.replace("{times}", str(2**53 + 1)), encoding="utf-8")
    refused = sluice("compile", str(source), "--project", str(ROOT), cwd=tmp_path)
    assert refused.returncode == 3
    assert "rounds whole numbers" in refused.stderr
    linted = sluice("lint", str(source), "--project", str(ROOT), "--output", "json", cwd=tmp_path)
    assert linted.returncode == 3, "lint and compile agree"
    assert "rounds whole numbers" in json.loads(linted.stdout)["data"]["refused"][0]["reason"]
    ir = tmp_path / "big.yaml"
    sluice("compile", str(IR), "--target", "kfp", "-o", str(ir), cwd=tmp_path)
    text = ir.read_text(encoding="utf-8")
    ir.write_text(text.replace("defaultValue: ''", "defaultValue: 9007199254740993.0", 1), encoding="utf-8")
    warned = sluice("compile", str(ir), cwd=tmp_path)
    assert warned.returncode == 0, warned.stderr
    assert "warning: " in warned.stderr


def test_diff_speaks_of_meaning(tmp_path: Path) -> None:
    files = []
    for times in (1, 2):
        source = tmp_path / f"greeting{times}.py"
        source.write_text(SOURCE.replace("{times}", str(times)), encoding="utf-8")
        files.append(str(source))
    done = sluice("diff", *files, "--project", str(ROOT), "--output", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["differences"] == [{"place": "say", "what": "input times", "old": "1", "new": "2"}]
    same = sluice("diff", files[0], files[0], "--project", str(ROOT), cwd=tmp_path)
    assert same.stdout.strip() == "The two pipelines do not differ in meaning."


def test_a_file_that_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.yaml"
    rubbish.write_text("a: [1, 2\n", encoding="utf-8")
    done = sluice("compile", str(rubbish), cwd=tmp_path)
    assert done.returncode == 2
    assert "is not YAML" in done.stderr
    missing = sluice("compile", str(tmp_path / "absent.yaml"), cwd=tmp_path)
    assert missing.returncode == 2
    assert "the file does not exist" in missing.stderr


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    done = sluice("compile", str(IR), "-o", str(IR / "below.yaml"), cwd=tmp_path)
    assert done.returncode == 5
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize("target", ["argo", "kfp", "kfp-crd"])
def test_a_pipeline_job_is_a_source_for_every_target(target: str, tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"pipelineSpec": yaml.safe_load(IR.read_text(encoding="utf-8"))}), encoding="utf-8")
    done = sluice("compile", str(job), "--target", target, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if target == "kfp-crd":
        _, version = yaml.safe_load_all(done.stdout)
        assert version["spec"]["pipelineSpec"]["pipelineInfo"]["name"] == "release"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--schedule", "17 4 * * 1"), "--schedule is for a CronWorkflow"),
        (("--timezone", "Europe/Berlin"), "--timezone is for a CronWorkflow"),
        (("--kind", "WorkflowTemplate", "--concurrency", "Forbid"), "--concurrency is for a CronWorkflow"),
        (("--kind", "CronWorkflow", "--schedule", ""), "0 fields"),
        (("--kind", "CronWorkflow", "--schedule", "@daily", "--timezone", "Mars/X"), "no time zone has the name"),
        (("--name", "Bad_Name!"), "not a name that Kubernetes accepts"),
        (("--target", "kfp", "--explain"), "--explain has no effect with --target kfp"),
        (("--target", "kfp", "--kind", "CronWorkflow"), "--kind has no effect with --target kfp"),
        (("--target", "kfp", "--name", "x"), "--name has no effect"),
        (("--target", "kfp-crd", "--no-cache"), "--no-cache has no effect with --target kfp-crd"),
        (("--target", "kfp-crd", "--service-account", "x"), "--service-account has no effect"),
        (("--target", "kfp", "--account", "gate=x"), "--account has no effect with --target kfp"),
        (("--account", "gate"), "--account gate is not COMPONENT=NAME"),
        (("--account", "gate=Bad_Name!"), "not a name that Kubernetes accepts"),
    ],
)
def test_an_option_that_means_nothing_or_is_wrong_is_refused(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = sluice("compile", str(IR), *options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "next: " in done.stderr


def test_a_python_file_needs_no_project_and_its_prints_stay_off_standard_output(tmp_path: Path) -> None:
    source = tmp_path / "greeting.py"
    source.write_text("print('HELLO')\n" + SOURCE.replace("{times}", "1"), encoding="utf-8")
    done = sluice("compile", "greeting.py", "--output", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(json.loads(done.stdout)["data"]["yaml"])["kind"] == "Workflow"
    assert "HELLO" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from kfp import dsl\ndef x(:\n", ":2: SyntaxError"),
        ("\nimport nosuchmodule\n", ":2: ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("def f():\n    raise ValueError('mine')\nf()\n", ":2: ValueError: mine"),
        ("import sys\nsys.exit(0)\n", ":2: SystemExit"),
        (SOURCE.replace("{times}", "'often'"), ":10: InconsistentTypeException"),
    ],
)
def test_a_mistake_in_a_python_file_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mistaken.py").write_text(text, encoding="utf-8")
    done = sluice("compile", "mistaken.py", cwd=tmp_path)
    assert done.returncode == 2
    assert f"mistaken.py{message}" in done.stderr
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize(
    ("driver", "root"), [("s3", "gs://b/p"), ("s3", "s3://"), ("gcs", "s3://b"), ("azure", "azure://x/y"), ("oss", "oss://b")]
)
def test_a_root_that_does_not_fit_the_driver_is_an_error_of_the_configuration(driver: str, root: str) -> None:
    settings = {"SLUICE_ARGO__ARTIFACT_DRIVER": driver, "SLUICE_ARGO__ARTIFACT_ROOT": root}
    done = sluice("compile", "ci", cwd=ROOT, **settings)
    assert done.returncode == 2
    assert "argo.artifact_root" in done.stderr
    assert f"does not fit artifact_driver '{driver}'" in done.stderr
