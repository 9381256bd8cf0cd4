"""The settings: one module for each table of sluice.toml, and one model with all of them."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from pydantic import ValidationError

from sluice.project import tables
from sluice.project.base import Table
from sluice.project.settings import Settings

REQUIRED = {
    "project": {"name": "small"},
    "data": {"snapshot": "s", "holdout": "h", "load": "m:f", "label": "l", "id": "i"},
    "model": {"build": "m:f"},
}
WITHOUT_TABLE = {"thresholds", "pipelines"}
"""Keys of sluice.toml that map names to values, so that they have no table of their own."""


def list_modules() -> dict[str, str]:
    """Return the modules of the tables: the last part of the name → the whole name."""
    found = pkgutil.walk_packages(tables.__path__, f"{tables.__name__}.")
    return {module.name.rpartition(".")[2]: module.name for module in found if not module.ispkg}


def test_each_table_has_a_module_that_defines_this_table_only() -> None:
    for name, path in list_modules().items():
        loaded = importlib.import_module(path)
        own = [value for value in vars(loaded).values() if isinstance(value, type) and value.__module__ == loaded.__name__]
        assert [one.__name__ for one in own] == [f"{name.capitalize()}Table"]
        assert issubclass(own[0], Table)
        assert Settings.model_fields[name].annotation is own[0]


def test_the_model_has_every_table() -> None:
    assert set(Settings.model_fields) == {*list_modules(), *WITHOUT_TABLE}


def test_an_environment_variable_takes_precedence_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_GATE__MARGIN", "0.01")
    assert Settings(**REQUIRED, gate={"margin": 0.2}).gate.margin == 0.01


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match=r"gate\.margins"):
        Settings(**REQUIRED, gate={"margins": 0.2})
    with pytest.raises(ValidationError, match="gates"):
        Settings(**REQUIRED, gates={})


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings(**REQUIRED).gate.margin = 0.2  # type: ignore[misc]


@pytest.mark.parametrize("step", [0, 101, 5.5, "0 requests", "many"])
def test_a_wrong_step_of_a_rollout_is_explained_without_names_of_types(step: object) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**REQUIRED, rollout={"steps": [step, 100]})
    (problem,) = refused.value.errors()
    assert problem["loc"] == ("rollout", "steps", 0)
    assert 'a step is a per cent from 1 to 100 or a text like "300 requests"' in problem["msg"]


def test_accounts_of_steps_are_named_as_kfp_names_components() -> None:
    accounts = {"pin_snapshot": "reader", "gate": "gate"}
    assert Settings(**REQUIRED, argo={"service_accounts": accounts}).argo.service_accounts == {
        "pin-snapshot": "reader",
        "gate": "gate",
    }
    with pytest.raises(ValidationError, match="pin-snapshot has two values, one and two"):
        Settings(**REQUIRED, argo={"service_accounts": {"pin_snapshot": "one", "pin-snapshot": "two"}})
    for account in ("", "Gate", "gate "):
        with pytest.raises(ValidationError, match=r"service_accounts\.gate"):
            Settings(**REQUIRED, argo={"service_accounts": {"gate": account}})


def test_the_earlier_key_for_the_gates_account_is_refused_with_the_present_one() -> None:
    with pytest.raises(
        ValidationError, match=r"gate_service_account is now the key `gate` of the table \[argo\.service_accounts\]"
    ):
        Settings(**REQUIRED, argo={"gate_service_account": "sluice-gate"})
