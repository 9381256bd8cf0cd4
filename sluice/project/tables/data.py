"""The table ``[data]``: where the training data and the holdout are, and how to read them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from sluice.project.base import Digest, ObjectPath, Table


class DataTable(Table):
    """``[data]``: the training data and the holdout."""

    snapshot: str = Field(
        default="",
        description="The training data, a file or a folder of Parquet files: a path relative to the project, or an fsspec URL "
        "(of a folder with `/` at the end). With a wildcard (`*`, `?`, `[…]`), it is the last match in natural order of names. "
        "Required, unless `snapshot_command` is set.",
    )
    snapshot_command: list[str] = Field(
        default=[],
        description="Command (a list of words, run in the project's folder without a shell) whose last line is the path or URL "
        "of the newest snapshot. It replaces `snapshot`.",
    )
    snapshot_command_seconds: float = Field(default=60, gt=0, description="How long `snapshot_command` may take.")
    holdout: str = Field(description="The fixed, labelled holdout: a path relative to the project, or an fsspec URL.")
    holdout_digest: Digest | None = Field(
        default=None,
        description="Digest that the holdout file must have. If it is not set, the digest at the first use is required later.",
    )
    load: ObjectPath = Field(description="Function (path) -> DataFrame. It raises an error if the data breaks its contract.")
    label: str = Field(description="Column with the label, which is 0 or 1.")
    id: str = Field(description="Column with the unique id of the row. It is never a feature.")
    gate_fraction: float = Field(
        default=0.5, gt=0, lt=1, description="Share of the holdout that only the gate uses. A hash of the id selects these rows."
    )
    equal_contents: Literal["refuse", "warn"] = Field(
        default="refuse",
        description="What happens if more holdout rows have features and label of a training row than coincidence explains.",
    )
    slices: dict[str, str] = Field(default={}, description="Name of a slice → pandas query that selects its rows.")

    @model_validator(mode="after")
    def _names_one_snapshot(self) -> Self:
        if self.snapshot and self.snapshot_command:
            raise ValueError("snapshot and snapshot_command are both set, but only one can name the training data; remove one")
        if not self.snapshot and not self.snapshot_command:
            raise ValueError("snapshot is missing; it names the training data (or snapshot_command prints where they are)")
        return self
