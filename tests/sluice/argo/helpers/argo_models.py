"""Check an object against Argo's schema. The schema comes from the models of hera: every field must be in the model."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.representer import SafeRepresenter

# The import of hera changes how PyYAML writes texts in the whole process. The lines below undo this change, because kfp writes
# YAML in other tests.
_WRITERS: list[Any] = [SafeRepresenter, yaml.Dumper]
_BEFORE = [dict(writer.yaml_representers) for writer in _WRITERS]

from hera.workflows.models import CronWorkflow, Workflow, WorkflowTemplate  # noqa: E402 - the representers must be saved before

for _writer, _representers in zip(_WRITERS, _BEFORE, strict=True):
    _writer.yaml_representers = _representers

MODELS: dict[str, Any] = {"Workflow": Workflow, "WorkflowTemplate": WorkflowTemplate, "CronWorkflow": CronWorkflow}


def check_model(document: dict[str, Any]) -> None:
    """Check that Argo's schema allows an object.

    Raises:
        AssertionError: The object has a field that Argo does not know.
        pydantic.ValidationError: A field has a value of the wrong type.
    """
    model = MODELS[document["kind"]].model_validate(document)
    again = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    lost = list(_lost(document, again, document["kind"]))
    assert not lost, f"Argo does not know the fields {', '.join(lost)}"


def _lost(given: Any, kept: Any, path: str) -> list[str]:
    """Return the paths of the fields that the model dropped. Pydantic drops fields that it does not know."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            lost
            for key, value in given.items()
            for lost in (_lost(value, kept[key], f"{path}.{key}") if key in kept else [f"{path}.{key}"])
        ]
    if isinstance(given, list) and isinstance(kept, list):
        if len(given) != len(kept):
            return [path]
        return [lost for n, (one, two) in enumerate(zip(given, kept, strict=True)) for lost in _lost(one, two, f"{path}[{n}]")]
    return [] if isinstance(given, dict) == isinstance(kept, dict) else [path]
