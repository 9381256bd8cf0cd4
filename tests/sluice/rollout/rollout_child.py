"""A supervisor over the small backends: ``python rollout_child.py ROOT BACKENDS SETTINGS``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rollout_backends import Backends

from sluice.project import Project, Settings
from sluice.rollout.supervisor import run_supervisor

if __name__ == "__main__":
    root, folder, settings = sys.argv[1:]
    project = Project(Path(root), Settings(**json.loads(settings)))
    run_supervisor(project, launcher=Backends(Path(folder)), say=lambda line: sys.stdout.write(f"{line}\n"))
