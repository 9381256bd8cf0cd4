"""The whole of sluice.toml as one typed model. `sluice schema` prints its JSON Schema."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sluice.project.base import ObjectPath  # noqa: TC001 - pydantic reads the annotations
from sluice.project.tables.data import DataTable  # noqa: TC001 - pydantic reads the annotations
from sluice.project.tables.demo import DemoTable
from sluice.project.tables.drift import DriftTable
from sluice.project.tables.gate import GateTable
from sluice.project.tables.model import ModelTable  # noqa: TC001 - pydantic reads the annotations
from sluice.project.tables.pipelines.argo import ArgoTable
from sluice.project.tables.pipelines.engines import EnginesTable
from sluice.project.tables.pipelines.kfp import KfpTable
from sluice.project.tables.pipelines.schedule import ScheduleTable
from sluice.project.tables.pipelines.steps import StepsTable
from sluice.project.tables.project import ProjectTable  # noqa: TC001 - pydantic reads the annotations
from sluice.project.tables.rollout import RolloutTable
from sluice.project.tables.seldon import SeldonTable
from sluice.project.tables.services.monitor import MonitorTable
from sluice.project.tables.services.webhook import WebhookTable
from sluice.project.tables.serving import ServingTable
from sluice.project.tables.tests import TestsTable
from sluice.project.tables.trust import TrustTable


class Settings(BaseSettings):
    """The whole of sluice.toml."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="SLUICE_", env_nested_delimiter="__", env_ignore_empty=True
    )

    project: ProjectTable
    data: DataTable
    model: ModelTable
    thresholds: dict[str, float] = Field(default={}, description="Numbers that the project's tests compare results with.")
    tests: TestsTable = TestsTable()
    gate: GateTable = GateTable()
    trust: TrustTable = TrustTable()
    serving: ServingTable = ServingTable()
    rollout: RolloutTable = RolloutTable()
    seldon: SeldonTable = SeldonTable()
    pipelines: dict[str, ObjectPath] = Field(default={}, description="Name of a pipeline → KFP pipeline function.")
    steps: StepsTable = StepsTable()
    drift: DriftTable = DriftTable()
    engines: EnginesTable = EnginesTable()
    argo: ArgoTable = ArgoTable()
    kfp: KfpTable = KfpTable()
    schedule: ScheduleTable = ScheduleTable()
    monitor: MonitorTable = MonitorTable()
    webhook: WebhookTable = WebhookTable()
    demo: DemoTable = DemoTable()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment first, then the file (given as keyword arguments), but no dotenv file and no secrets folder."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings
