"""A supervisor of the servers in ``rollout_backends.py``: ``python rollout_child.py ROOT BACKENDS SETTINGS``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rollout_backends import Backends

from sluice.project.projects import Project
from sluice.project.settings import Settings
from sluice.rollout.platforms.laptop.supervisor import run_supervisor

if __name__ == "__main__":
    root, folder, settings = sys.argv[1:]
    project = Project(Path(root), Settings(**json.loads(settings)))
    run_supervisor(project, launcher=Backends(Path(folder)), notify=lambda line: sys.stdout.write(f"{line}\n"))
