"""On KFP a step gets the token of its own account from a Secret, because all steps of a pipeline run as one account."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sluice.argo.component_kinds import OWN_CALLS
from sluice.engines.kfp.token_secrets import add_token_secrets
from sluice.engines.sources import read_source
from sluice.errors import UnsupportedError
from sluice.ir.lint import find_unread_fields, find_unsupported_by_kfp
from sluice.ir.reading import parse_ir
from sluice.kubernetes_calls import POD_ACCOUNT, STEP_ACCOUNT

IR = Path(__file__).resolve().parents[4] / "pipelines" / "compiled" / "kfp" / "release.yaml"
FLOW = """
from kfp import dsl
from kfp.kubernetes import use_secret_as_volume


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def publish():
    pass


@dsl.pipeline(name="own")
def own():
    BODY
"""
SECRETS = {"gate": "sluice-gate-token", "pin-snapshot": "sluice-reader-token", "unused": "other"}


def test_only_the_named_steps_mount_a_token() -> None:
    text = IR.read_text()
    changed = add_token_secrets(text, parse_ir(text), SECRETS)
    before, after = (list(yaml.safe_load_all(each)) for each in (text, changed))
    assert after[0] == before[0], "the pipeline itself is the same"
    executors = after[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    mounted = {name: [one["secretName"] for one in spec.get("secretAsVolume", ())] for name, spec in executors.items()}
    assert {name: found for name, found in mounted.items() if found} == {
        "exec-gate": ["sluice-gate-token"],
        "exec-pin-snapshot": ["sluice-reader-token"],
    }
    pipeline = parse_ir(changed)
    assert not find_unsupported_by_kfp(pipeline)
    assert not find_unread_fields(pipeline, matters=False)
    assert add_token_secrets(changed, pipeline, SECRETS) == changed


def test_the_volume_is_that_of_kfp_kubernetes(tmp_path: Path) -> None:
    compiled = {}
    mounted = f"use_secret_as_volume(publish(), 'publish-token', {str(STEP_ACCOUNT)!r})"
    for name, body in (("plain", "publish()"), ("mounted", mounted)):
        file = tmp_path / f"{name}.py"
        file.write_text(FLOW.replace("BODY", body))
        compiled[name] = read_source(str(file), None)
    text, pipeline = compiled["plain"]
    added = add_token_secrets(text, pipeline, {"publish": "publish-token"})
    assert list(yaml.safe_load_all(added)) == list(yaml.safe_load_all(compiled["mounted"][0]))


def test_a_component_with_the_name_of_the_gate_and_another_body_gets_no_token() -> None:
    text = IR.read_text().replace(OWN_CALLS["gate"], "from other import ask")
    with pytest.raises(UnsupportedError, match="the component gate has the name of one of Sluice's steps"):
        add_token_secrets(text, parse_ir(text), SECRETS)
    assert "exec-gate" not in add_token_secrets(text, parse_ir(text), {"canary": "c"}).partition("platforms:")[2]


def test_without_secrets_the_text_stays_as_it_is() -> None:
    text = IR.read_text()
    assert add_token_secrets(text, parse_ir(text), {}) == text


def test_the_mounted_token_is_not_where_kubernetes_mounts_that_of_the_run() -> None:
    assert STEP_ACCOUNT != POD_ACCOUNT
    assert not STEP_ACCOUNT.is_relative_to(POD_ACCOUNT)
