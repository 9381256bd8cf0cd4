"""Adding a platform needs nothing of another platform: the platform in memory shows it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

MODULE = Path(__file__).with_name("memory_platform.py")

IMPORTED = {
    "sluice.errors",
    "sluice.project.tables.rollout",
    "sluice.rollout.clocks",
    "sluice.rollout.decisions.blame",
    "sluice.rollout.decisions.evidence",
    "sluice.rollout.decisions.failures",
    "sluice.rollout.decisions.health",
    "sluice.rollout.decisions.shadow_comparisons",
    "sluice.rollout.decisions.states",
    "sluice.rollout.decisions.transitions",
    "sluice.rollout.journals",
    "sluice.rollout.observations",
    "sluice.rollout.round",
}
"""Everything that a new platform imports of Sluice."""


def test_a_platform_imports_the_protocol_the_values_and_the_round_only() -> None:
    tree = ast.parse(MODULE.read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert {module for module in modules if module.startswith("sluice")} == IMPORTED


def test_nothing_that_a_platform_imports_loads_another_platform() -> None:
    script = f"import sys; sys.path.insert(0, {str(MODULE.parent)!r}); import memory_platform; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "sluice.rollout.round" in loaded
    assert not [module for module in loaded if module.startswith(("sluice.rollout.platforms", "kubernetes"))]
