"""sluice.toml as a typed model: the one place that says what a project's functions, data, thresholds and steps are.

Values come from the file, then from environment variables (``SLUICE_GATE__MARGIN=0.01`` sets ``gate.margin``), which win.
Nothing in Sluice knows a project's folders: it loads the objects that this file names.
"""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from collections.abc import Sequence  # noqa: TC003 - beside types that pydantic reads
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sluice.errors import ConfigurationError
from sluice.roots import FILE_NAME, find_root

ObjectPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
"""``package.module:name``, imported with the project's root first on the path."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""``sha256:`` and 64 lower-case hexadecimal digits."""

STATE_VARIABLE = "SLUICE_STATE"
STATE_FOLDER = ".sluice"
ALL_TRAFFIC = 100

SLOW_BOUNDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Bounds of latency, in seconds, that both Seldon's executor and Envoy count."""


class Table(BaseModel):
    """One table of sluice.toml: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProjectTable(Table):
    """``[project]``."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")] = Field(
        description="Name of the project; names its releases and, in a cluster, its objects."
    )
    packages: list[str] = Field(
        default=[],
        description="Folders with the Python code that the fitted model needs to load; they travel in the release.",
    )


class DataTable(Table):
    """``[data]``."""

    snapshot: str = Field(description="The training data: a path below the project or any fsspec URL.")
    holdout: str = Field(description="The fixed labelled holdout: a path below the project or any fsspec URL.")
    holdout_digest: Digest | None = Field(
        default=None, description="Digest that the holdout's bytes must have; None accepts any, once."
    )
    load: ObjectPath = Field(description="Function (path) -> DataFrame; raises where the data breaks its contract.")
    label: str = Field(description="Column with the label, 0 or 1.")
    id: str = Field(description="Column with the row's unique id; never a feature.")
    gate_fraction: float = Field(
        default=0.5, gt=0, lt=1, description="Share of the holdout kept for the gate alone, by a hash of the id."
    )
    slices: dict[str, str] = Field(default={}, description="Name of a slice → pandas query that selects its rows.")


class ModelTable(Table):
    """``[model]``."""

    build: ObjectPath = Field(description="Function (**parameters) -> unfitted scikit-learn Pipeline.")
    parameters: dict[str, Any] = Field(default={}, description="Keyword arguments of `build`.")


class TestsTable(Table):
    """``[tests]``: where the suites of the four layers lie."""

    code: str = Field(default="tests/code", description="Folder of layer 1's suite.")
    data: str = Field(default="tests/data", description="Folder of layer 2's suite.")
    model: str = Field(default="tests/model", description="Folder of layer 3's suite.")
    integration: str = Field(default="tests/integration", description="Folder of layer 4's suite.")


class GateTable(Table):
    """``[gate]``."""

    margin: float = Field(
        default=0.005, ge=0, lt=1, description="The challenger's AUC must exceed the champion's by more than this."
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Chance of one false promotion over the whole budget.")
    budget: int = Field(default=52, ge=1, description="How often one holdout may be asked; alpha is split over it.")


class ServingTable(Table):
    """``[serving]``."""

    python: str = Field(
        default=".venv-serving/bin/python",
        description="Interpreter of the serving environment; relative to the project.",
    )
    server: str = Field(
        default="serving.model_server.ModelServer",
        description="Seldon model class, as seldon-core-microservice names it.",
    )
    lock: str = Field(default="locks/serving.txt", description="Lock of the serving environment; its digest is in every release.")
    image: str = Field(default="", description="The serving image in a registry: what a release's image is made on.")
    repository: str = Field(default="", description="Repository of a registry that releases are pushed to.")
    plain_http: bool = Field(default=False, description="Speak HTTP to the registries of `image` and `repository`.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port of the proxy; 0 chooses a free one.")
    start_timeout_seconds: float = Field(default=60.0, gt=0, description="How long a server may take until it is ready.")


def rises_to_all(steps: Sequence[int]) -> bool:
    """Whether these are a canary's steps: per cents above 0 that rise and end with all of the traffic."""
    return bool(steps) and list(steps) == sorted(set(steps)) and steps[0] > 0 and steps[-1] == ALL_TRAFFIC


class RolloutTable(Table):
    """``[rollout]``."""

    splitter: Literal["envoy", "seldon"] = Field(
        default="envoy", description="What splits the traffic: the Envoy of `sluice serve`, or Seldon Core in a cluster."
    )
    steps: list[Annotated[int, Field(ge=1, le=100)]] = Field(default=[5, 25, 100], description="Canary shares, in %.")
    margin: float = Field(default=0.01, gt=0, lt=1, description="Tolerated excess of the canary's error rate over stable's.")
    first_look: int = Field(default=300, ge=1, description="Canary requests at a step before the first look.")
    look_growth: float = Field(default=1.5, gt=1, description="Each further look comes after this many times the requests.")
    evidence: float = Field(default=100.0, gt=1, description="e-value at which the canary is condemned.")
    tolerated_ratio: float = Field(default=1.0, ge=1, description="Error ratio canary/stable that is still no worse.")
    shadow_requests: int = Field(
        default=0, ge=0, description="Requests of stable that the canary is asked as well before any traffic; 0: no shadow."
    )
    shadow_difference: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Tolerated mean difference of the canary's probabilities from stable's in the shadow.",
    )
    bake_seconds: float = Field(default=60.0, ge=0, description="How long the canary is watched at 100 % before it is champion.")
    holdback: int = Field(
        default=0, ge=0, le=50, description="Per cent that stable keeps while the canary bakes, to compare it with; 0: none."
    )
    deadline_seconds: float = Field(default=3600.0, gt=0, description="A rollout that has not ended by then is rolled back.")
    approval_seconds: float = Field(default=86400.0, gt=0, description="How long an approval holds.")
    slow_seconds: float = Field(
        default=0.5, description="An answer that takes longer is slow: the canary's slow answers are a second, weaker evidence."
    )
    request_timeout_seconds: float = Field(default=5.0, gt=0, description="A prediction that takes longer is an error.")

    @property
    def in_cluster(self) -> bool:
        """Whether production is in a cluster, and not on this machine."""
        return self.splitter == "seldon"

    @field_validator("slow_seconds")
    @classmethod
    def _is_a_bound(cls, seconds: float) -> float:
        if seconds not in SLOW_BOUNDS:
            raise ValueError(f"must be one of {', '.join(f'{bound:g}' for bound in SLOW_BOUNDS)}")
        return seconds

    @field_validator("steps")
    @classmethod
    def _rises_to_all(cls, steps: list[int]) -> list[int]:
        if not rises_to_all(steps):
            raise ValueError("must rise and end at 100, for example [5, 25, 100]")
        return steps

    @model_validator(mode="after")
    def _rises_to_the_bake(self) -> Self:
        """A canary that gets less at 100 % than at the step before would go down where it goes up."""
        if len(self.steps) > 1 and self.steps[-2] >= ALL_TRAFFIC - self.holdback:
            raise ValueError(f"holdback must leave more than the step of {self.steps[-2]} % to the canary")
        return self


class SeldonTable(Table):
    """``[seldon]``: production in a cluster, where ``rollout.splitter`` is ``seldon``."""

    name: str = Field(default="", description="Name of the SeldonDeployment; empty for the project's.")
    namespace: str = Field(default="", description="Its namespace; empty for the Pod's own, or the kubeconfig's.")
    replicas: int = Field(default=1, ge=1, description="Replicas of a release; a canary gets as many as the champion has.")
    requests: dict[str, str] = Field(
        default={"cpu": "100m", "memory": "384Mi"}, description="Resources that each replica of the model asks for."
    )
    workers: int = Field(default=2, ge=1, description="Processes of a replica that answer; each holds the model, about 100 MB.")
    limits: dict[str, str] = Field(default={}, description="Resources that each replica of the model may use.")
    service_account: str = Field(default="", description="Account of the model's Pods; its token is not mounted.")
    pull_secrets: list[str] = Field(default=[], description="Secrets that the registry of releases wants.")
    gateway: str = Field(default="", description="Istio gateway, `namespace/name`; empty for the operator's.")
    host: str = Field(default="", description="Host that the gateway routes; empty for all.")
    request_log_url: str = Field(default="", description="Where executors send requests and answers to, for the drift monitor.")
    url: str = Field(default="", description="Where users reach the gateway; for status and reports only.")
    drain_seconds: float = Field(default=30.0, ge=0, description="Between a release's last traffic and its removal.")
    look_seconds: float = Field(default=1.0, gt=0, le=30, description="Between two looks at the executors' counters.")
    lease_seconds: float = Field(default=15.0, ge=2, description="How long a controller that vanished keeps others from acting.")


class StepsTable(Table):
    """``[steps]``."""

    image: str = Field(default="sluice-step:latest", description="Image that every step runs in; a release names it by digest.")


class DriftTable(Table):
    """``[drift]``: when a feature counts as drifted."""

    threshold: float = Field(default=0.2, gt=0, description="The population stability index must be above it.")
    alpha: float = Field(default=0.01, gt=0, lt=1, description="The p-value, adjusted over all features, must be below it.")
    least_rows: int = Field(default=500, ge=1, description="With fewer rows nothing is said.")
    columns: list[str] = Field(
        default=[], description="Features to compare; empty: those that are numeric, boolean, or text of at most 50 values."
    )


class ArgoTable(Table):
    """``[argo]``: what a cluster wants of the workflows that `sluice compile --target argo` writes."""

    namespace: str = Field(default="", description="Namespace of the object; empty for the one it is created in.")
    service_account: str = Field(default="", description="Service account of the steps; empty for the namespace's default.")
    artifact_repository: str = Field(
        default="", description="ConfigMap of the artifact repository, `name` or `name/key`; empty for the default one."
    )
    artifact_driver: Literal["s3", "gcs", "oss", "azure"] = Field(
        default="s3", description="Kind of store behind the artifact repository."
    )
    artifact_root: str = Field(
        default="",
        description="URI under which artifacts lie, `s3://bucket/prefix` (with driver gcs `gs://…`); "
        "empty: an artifact's URI is its path in the pod.",
    )
    cache: bool = Field(default=True, description="Memoize the steps that KFP would cache.")
    cache_ttl: str = Field(default="", description="How long a memoized result holds, for example `168h`; empty for ever.")
    security: Literal["", "baseline", "restricted"] = Field(
        default="", description="Pod Security level that every step's container asks for; `restricted` needs non-root images."
    )
    state_claim: str = Field(
        default="",
        description="PersistentVolumeClaim that the project's own steps share as their state: releases, ledger, snapshots.",
    )
    env: dict[str, str] = Field(default={}, description="Environment variables of the project's own steps.")
    read_only: bool = Field(
        default=False, description="Read-only root file systems, with a volume at /tmp; only for images that write nowhere else."
    )
    labels: dict[str, str] = Field(default={}, description="Labels of the workflows.")
    annotations: dict[str, str] = Field(default={}, description="Annotations of the workflows.")

    @field_validator("artifact_root")
    @classmethod
    def _has_a_bucket(cls, root: str, info: ValidationInfo) -> str:
        """KFP's runtime knows a path for these URIs alone, and Argo's location of the others needs more than a bucket."""
        driver = info.data.get("artifact_driver", "s3")
        schemes = {"s3": ("s3", "minio"), "gcs": ("gs",)}.get(driver, ())
        scheme, _, rest = root.partition("://")
        if root and (scheme not in schemes or not rest.strip("/")):
            wanted = " or ".join(f"{each}://bucket/prefix" for each in schemes) or "empty"
            raise ValueError(f"{root!r} is no root for artifact_driver {driver!r}: it must be {wanted}")
        return root


class DemoTable(Table):
    """``[demo]``."""

    story: ObjectPath | None = Field(default=None, description="The story that `sluice demo` tells.")


class Settings(BaseSettings):
    """The whole of sluice.toml."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="SLUICE_", env_nested_delimiter="__", env_ignore_empty=True
    )

    project: ProjectTable
    data: DataTable
    model: ModelTable
    thresholds: dict[str, float] = Field(default={}, description="Numbers that the project's layer tests hold results against.")
    tests: TestsTable = TestsTable()
    gate: GateTable = GateTable()
    serving: ServingTable = ServingTable()
    rollout: RolloutTable = RolloutTable()
    seldon: SeldonTable = SeldonTable()
    pipelines: dict[str, ObjectPath] = Field(default={}, description="Pipeline name → KFP pipeline function.")
    steps: StepsTable = StepsTable()
    drift: DriftTable = DriftTable()
    argo: ArgoTable = ArgoTable()
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
        """Environment first, then the file (given as keyword arguments); no dotenv file and no secrets folder is read."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


class Project:
    """A folder with a sluice.toml: its settings and the paths and objects that they name.

    Attributes:
        root: Absolute path of the folder.
        settings: The checked contents of sluice.toml.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        """Bind settings to the folder they were read from."""
        self.root = root
        self.settings = settings

    @property
    def state(self) -> Path:
        """The folder of everything local: ``$SLUICE_STATE``, else ``.sluice`` in the project."""
        return Path(os.environ.get(STATE_VARIABLE) or self.root / STATE_FOLDER).resolve()

    def path(self, name: str) -> Path:
        """A path of sluice.toml made absolute: relative ones start at the project's root."""
        return self.root / name

    def locate(self, name: str) -> str:
        """A path or fsspec URL of sluice.toml: URLs stay, paths become absolute."""
        return name if "://" in name else str(self.path(name))

    def load_object(self, name: ObjectPath, *, key: str) -> Any:  # noqa: ANN401 - whatever the project made
        """Import ``module:name`` with the project's root first on the path.

        Args:
            name: The object.
            key: Key of sluice.toml that named it, for the message.

        Raises:
            ConfigurationError: There is no such module or name in it.
        """
        self.put_first_on_path()
        module_name, _, attribute = name.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise ConfigurationError(
                f"{FILE_NAME}: {key} names {name!r}, but module {module_name!r} cannot be imported: {error}",
                hint=f"Correct {key}, or run from the environment that has what the module imports.",
            ) from error
        if not hasattr(module, attribute):
            raise ConfigurationError(
                f"{FILE_NAME}: {key} names {name!r}, but module {module_name!r} has no {attribute!r}",
                hint=f"Correct {key} in {self.root / FILE_NAME}.",
            )
        return getattr(module, attribute)

    def put_first_on_path(self) -> None:
        """Let imports find the project's own folders before any other of the same name."""
        root = str(self.root)
        if root in sys.path:
            sys.path.remove(root)
        sys.path.insert(0, root)


def read_project(start: Path | None = None) -> Project:
    """Find, read and check sluice.toml.

    Raises:
        DataError: There is no such file.
        ConfigurationError: It is not TOML, lacks a key, has one too many or a value that does not fit; it names the keys.
    """
    root = find_root(start)
    file = root / FILE_NAME
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{file} cannot be read as TOML: {error}", hint="Correct the file at that place.") from error
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise ConfigurationError(
            f"{file} is not valid: {_describe(error)}",
            hint="`sluice schema` prints every key, its type and its default.",
        ) from error
    return Project(root, settings)


def _describe(error: ValidationError) -> str:
    """Each fault as ``key: what``, in the words of a person who wrote the file."""
    words = {"extra_forbidden": "there is no such key", "missing": "this key is required"}
    faults = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        faults.append(f"{key}: {words.get(fault['type']) or fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(faults)
