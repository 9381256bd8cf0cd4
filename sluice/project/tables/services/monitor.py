"""The table ``[monitor]``: how `sluice monitor` watches the requests, and what it starts when they have drifted."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from sluice.project.base import Table


class MonitorTable(Table):
    """``[monitor]``: the windows of the drift monitor, and what it starts."""

    port: int = Field(default=8090, ge=0, le=65535, description="Port of the monitor. 0 means any free port.")
    window_seconds: float = Field(
        default=86_400.0, gt=0, description="Length of the window whose requests are compared with the reference."
    )
    slice_seconds: float = Field(
        default=3_600.0,
        gt=0,
        description="The window moves on by one slice of this length. The window is judged once for each slice.",
    )
    least_rows: int = Field(
        default=1_000, ge=1, description="A window with fewer rows is not judged. `drift.least_rows` must be reached too."
    )
    flush_seconds: float = Field(
        default=30.0, gt=0, description="Time between two writes of the counts to the state file. A crash loses at most this."
    )
    cooldown_seconds: float = Field(
        default=604_800.0, ge=0, description="After a retraining was started, no other one is started for this time."
    )
    reference: str = Field(
        default="",
        description="File with the frozen drift reference (JSON). If empty, the reference of the champion's release is used.",
    )
    reference_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Time between two looks for a new champion, whose reference then replaces the present one.",
    )
    state: str = Field(
        default="", description="File with the monitor's counts. If empty, `monitor.json` in the state folder of the project."
    )
    poll: list[str] = Field(
        default=[],
        description="URLs of model servers whose recent requests are fetched, for example `http://127.0.0.1:9000`. "
        "It is for where no request log is sent. The servers of `sluice serve` return theirs to `sluice serve` alone.",
    )
    poll_seconds: float = Field(default=1.0, gt=0, description="Time between two fetches of the recent requests.")
    remembered_ids: int = Field(
        default=200_000,
        ge=1,
        description="An event that is sent again counts once if it is among at least this many last events.",
    )
    max_body_bytes: int = Field(default=4_194_304, ge=1, description="A larger request body is refused.")
    max_waiting_bytes: int = Field(
        default=67_108_864, ge=1, description="If more bytes of events wait to be counted, further events are refused (503)."
    )
    pipeline: str = Field(default="retrain", description="The pipeline to start when the requests have drifted.")
    engine: str = Field(default="", description="The engine to start it on. If empty, the default engine of the project.")

    @model_validator(mode="after")
    def _has_whole_slices(self) -> Self:
        """Check that a window has at least one slice, and not so many that judging it takes long."""
        slices = self.window_seconds / self.slice_seconds
        if not 1 <= slices <= 1_000:  # noqa: PLR2004 - more than this is no useful resolution
            raise ValueError(f"window_seconds must be 1 to 1,000 times slice_seconds, not {slices:g} times")
        return self
