"""The unit for `sluice serve` is accepted by systemd and says what the page about it promises."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "manifests" / "systemd" / "sluice-serve.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8").replace("/srv/sluice/.venv/bin/sluice", sys.executable)
    text = text.replace("/srv/project", str(tmp_path)).replace("User=sluice", "User=root")
    (tmp_path / UNIT.name).write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNIT.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_reloads_restarts_and_survives_the_end_of_one_server() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text(encoding="utf-8"))
    service = unit["Service"]
    assert service["ExecStart"].endswith("/sluice serve")
    assert service["ExecReload"].endswith("kill -HUP $MAINPID")
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "2 4"
    assert service["OOMPolicy"] == "continue"
    assert service["KillMode"] == "mixed"
