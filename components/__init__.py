"""The steps of the pipelines. Each step has a folder with one thin KFP component: its function imports one function and calls it.

All steps run in the same image (`components/Dockerfile`), so nothing is installed when a step starts. Decisions, input and output
are in the package `sluice`.
"""

from pathlib import Path

from sluice.project.projects import read_project

TOKENLESS = frozenset({"code_tests", "data_tests", "train", "model_tests", "score", "drift"})
"""The components whose steps call no Kubernetes API, so that their pods need no token. They run a model or the project's code."""

STEP_IMAGE: str = read_project(Path(__file__).parent).settings.steps.image
"""The image of every step, from ``steps.image`` of sluice.toml."""
