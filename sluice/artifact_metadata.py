"""The metadata of an artifact as the step wrote them, whatever engine carried them to the next step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of an input artifact as the step that made it wrote them.

    KFP's launcher hands on a list as ``{"list": […]}`` and a table as ``{"struct": {…}}`` (seen on 2.17.0), because ML Metadata
    stores them so. Argo and the local engine hand on what was written.
    """
    return {name: unwrap(value) for name, value in metadata.items()}


def unwrap(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value of an artifact's metadata without what KFP's launcher puts around a list or a table."""
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        if (key == "struct" and isinstance(inner, dict)) or (key == "list" and isinstance(inner, list)):
            return inner
    return value
