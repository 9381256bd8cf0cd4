"""A small project with pipelines that run in kfp.local."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[project]
name = "small"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "small_flows:load"
label = "y"
id = "id"
[model]
build = "small_flows:build"
[pipelines]
good = "small_flows:good"
failing = "small_flows:failing"
broken = "small_flows:broken"
endless = "small_flows:endless"
"""

FLOWS = """
from kfp import dsl


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def say(word: str) -> str:
    from sluice.steps.records import running_step

    with running_step("say") as step:
        step.detail = word
    return word


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def fail_check(word: str) -> str:
    from sluice.errors import CheckFailedError
    from sluice.steps.records import running_step

    with running_step("fail-check"):
        raise CheckFailedError("check auc failed: 0.61 < 0.80", hint="look at the page")


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def crash(word: str) -> str:
    raise ZeroDivisionError(word)


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def sleep_long(word: str) -> str:
    import subprocess, sys, tempfile, time
    from sluice.steps.records import running_step

    with tempfile.TemporaryDirectory(prefix=f"sluice-{word}-"), running_step("sleep-long"):
        subprocess.Popen([sys.executable, "-c", f"import time; marker = {word!r}; time.sleep(300)"])
        time.sleep(300)
    return word


@dsl.pipeline(name="good")
def good(snapshot: str = ""):
    first = say(word="one")
    with dsl.If(first.output == "one"):
        say(word="two")


@dsl.pipeline(name="failing")
def failing(snapshot: str = ""):
    fail_check(word="x").after(say(word="one"))


@dsl.pipeline(name="broken")
def broken(snapshot: str = ""):
    crash(word="x").after(say(word="one"))


@dsl.pipeline(name="endless")
def endless(snapshot: str = ""):
    sleep_long(word=snapshot)


def load(path):
    raise NotImplementedError


build = load
"""


@pytest.fixture
def small_project(tmp_path: Path) -> Project:
    (tmp_path / "sluice.toml").write_text(TOML)
    (tmp_path / "small_flows.py").write_text(FLOWS)
    (tmp_path / "rows.csv").write_text("id,y\n1,0\n")
    (tmp_path / "holdout.csv").write_text("id,y\n2,1\n")
    return read_project(tmp_path)
