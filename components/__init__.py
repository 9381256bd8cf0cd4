"""The pipeline's steps: one folder a step, each a thin KFP component with an import and a call for a body.

One image runs them all (`components/Dockerfile`): nothing is installed when a step starts. Decisions and I/O lie in `sluice`.
"""

from pathlib import Path

from sluice.project.projects import read_project

STEP_IMAGE: str = read_project(Path(__file__).parent).settings.steps.image
"""The image of every step, from ``steps.image`` of sluice.toml."""
