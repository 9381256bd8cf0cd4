"""The table ``[model]``: which function builds the model."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sluice.project.base import ObjectPath, Table


class ModelTable(Table):
    """``[model]``: how the model is built."""

    build: ObjectPath = Field(description="Function (**parameters) -> unfitted scikit-learn Pipeline.")
    parameters: dict[str, Any] = Field(default={}, description="Keyword arguments of `build`.")
