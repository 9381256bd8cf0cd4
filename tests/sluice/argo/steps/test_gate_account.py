"""Only the gate's step runs as the account that may write the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sluice.argo.compilation import Options
from sluice.engines.compiling import compile_to_argo
from sluice.engines.sources import read_source

IR = Path(__file__).resolve().parents[4] / "pipelines" / "compiled" / "kfp" / "release.yaml"


@pytest.mark.parametrize("account", ["", "sluice-gate"])
def test_the_gate_has_its_own_account(account: str) -> None:
    _, pipeline = read_source(str(IR), None, images=[])
    options = Options(service_account="sluice-pipeline", gate_service_account=account)
    spec = yaml.safe_load(compile_to_argo(pipeline, options))["spec"]
    assert spec["serviceAccountName"] == "sluice-pipeline"
    own = {one["name"]: one["serviceAccountName"] for one in spec["templates"] if "serviceAccountName" in one}
    assert own == ({"gate": account} if account else {})


def test_a_component_of_another_project_with_the_same_name_has_no_account(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(IR.read_text().replace("from sluice.steps.gating import ask_gate", "from other import ask_gate"))
    _, pipeline = read_source(str(other), None, images=[])
    spec = yaml.safe_load(compile_to_argo(pipeline, Options(gate_service_account="sluice-gate")))["spec"]
    assert not any("serviceAccountName" in one for one in spec["templates"])
