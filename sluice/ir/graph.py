"""The graph of a pipeline: what KFP's PipelineSpec says, as frozen dataclasses.

Names are those of kubeflow/pipelines ``api/v2alpha1/pipeline_spec.proto``. Nothing here knows a target.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.ir.fields import Unread

JSON = Any
"""Any JSON value: None, bool, int, float, str, list, dict."""


class ParameterType(StrEnum):
    """KFP's ``ParameterType.ParameterTypeEnum``."""

    DOUBLE = "NUMBER_DOUBLE"
    INTEGER = "NUMBER_INTEGER"
    STRING = "STRING"
    BOOLEAN = "BOOLEAN"
    LIST = "LIST"
    STRUCT = "STRUCT"
    FINAL_STATUS = "TASK_FINAL_STATUS"
    TASK_CONFIG = "TASK_CONFIG"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that a component takes or gives.

    Attributes:
        type: Its declared type.
        default: Its default, a JSON value; None also where there is none.
        has_default: Whether there is one.
        optional: Whether it may be left out.
    """

    type: ParameterType
    default: JSON = None
    has_default: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact that a component takes or gives.

    Attributes:
        schema: Its type as KFP writes it: ``{"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}``.
        is_list: Whether it is a list of artifacts.
        optional: Whether it may be left out.
        metadata: Metadata that every artifact of this output starts with.
    """

    schema: Mapping[str, str]
    is_list: bool = False
    optional: bool = False
    metadata: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Constant:
    """A value known when compiling; a string may hold placeholders."""

    value: JSON


@dataclass(frozen=True, slots=True)
class FromInput:
    """An input of the enclosing component."""

    name: str


@dataclass(frozen=True, slots=True)
class FromTask:
    """An output of another task of the same DAG."""

    task: str
    key: str


@dataclass(frozen=True, slots=True)
class FromFinalStatus:
    """How another task of the same DAG ended."""

    task: str


Source = Constant | FromInput | FromTask | FromFinalStatus
"""Where a value comes from."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a task's input parameter is bound to.

    Attributes:
        source: Where the value comes from.
        selector: Keys to follow inside the value, outermost first: ``parseJson(string_value)["a"]`` is ``("a",)``.
    """

    source: Source
    selector: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Iterator:
    """A loop over a task.

    Attributes:
        item: Input of the task's component that takes the item.
        items: The constant list, or the input of the task that holds the list.
        over_artifacts: Whether the items are artifacts.
        parallelism: How many iterations may run at once; 0 for all.
    """

    item: str
    items: Constant | FromInput
    over_artifacts: bool = False
    parallelism: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy; durations in seconds, 0 where not given."""

    limit: int
    backoff_seconds: float = 0.0
    factor: float = 0.0
    backoff_max_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a DAG.

    Attributes:
        name: Its key in the DAG.
        display_name: The name that people gave it.
        component: Name of its component.
        parameters: Its input parameters.
        artifacts: Its input artifacts.
        after: Names of the tasks that it waits for, data dependencies included.
        condition: Runs only where this expression holds (see `conditions`); empty for always.
        when_all_ended: Whether it also runs when a task that it waits for failed.
        iterator: The loop over it, if there is one.
        retry: Its retry policy, if there is one.
        cached: Whether a result of equal inputs may be used again.
        cache_key: A key to use in place of KFP's fingerprint.
    """

    name: str
    display_name: str
    component: str
    parameters: Mapping[str, Binding] = field(default_factory=dict)
    artifacts: Mapping[str, FromInput | FromTask] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    condition: str = ""
    when_all_ended: bool = False
    iterator: Iterator | None = None
    retry: Retry | None = None
    cached: bool = False
    cache_key: str = ""


@dataclass(frozen=True, slots=True)
class Dag:
    """Tasks and what they give to the outside.

    Attributes:
        tasks: By name.
        parameters: Output parameter → the tasks' outputs that it is, the first that ran.
        artifacts: Output artifact → likewise.
    """

    tasks: Mapping[str, Task]
    parameters: Mapping[str, tuple[FromTask, ...]] = field(default_factory=dict)
    artifacts: Mapping[str, tuple[FromTask, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """A container to run; strings may hold placeholders.

    Attributes:
        image: Its image.
        command: The command.
        args: Its arguments.
        env: Environment variables in order.
        resources: KFP's ``ResourceSpec`` as it is written.
        has_hook: Whether it has a lifecycle hook, which no open-source engine runs.
    """

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    resources: Mapping[str, JSON] = field(default_factory=dict)
    has_hook: bool = False


@dataclass(frozen=True, slots=True)
class Importer:
    """An artifact that exists already.

    Attributes:
        uri: Its URI, or the component's input parameter that holds it.
        schema: Its type.
        metadata: Its metadata; strings may hold placeholders.
        to_workspace: Whether it is to be copied into the workspace.
    """

    uri: Constant | FromInput
    schema: Mapping[str, str]
    metadata: Mapping[str, JSON] = field(default_factory=dict)
    to_workspace: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """An executor of a kind that no open-source engine runs (resolver, custom job); its name."""

    kind: str


Executor = Container | Importer | Unknown


@dataclass(frozen=True, slots=True)
class Component:
    """A component: its interface, and a DAG or an executor behind it.

    Attributes:
        name: Its key in the pipeline.
        body: A DAG, or an executor.
        inputs: Input parameters by name.
        input_artifacts: Input artifacts by name.
        outputs: Output parameters by name.
        output_artifacts: Output artifacts by name.
        platform: KFP's ``KubernetesExecutorConfig`` of the executor, as it is written.
        passthroughs: Fields that a ``dsl.TaskConfig`` input gets → whether the task keeps them too.
    """

    name: str
    body: Dag | Executor
    inputs: Mapping[str, Parameter] = field(default_factory=dict)
    input_artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    outputs: Mapping[str, Parameter] = field(default_factory=dict)
    output_artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    platform: Mapping[str, JSON] = field(default_factory=dict)
    passthroughs: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A whole pipeline.

    Attributes:
        name: Its name.
        display_name: The name that people gave it; empty where there is none.
        description: What it does; empty where nothing is said.
        root: The outermost component; its body is a DAG.
        components: The others by name.
        default_root: Where KFP would keep its artifacts; empty for the server's choice.
        config: KFP's ``PipelineConfig`` (workspace, ttl, deadline), as it is written.
        unread: Fields of the IR that nothing here reads.
    """

    name: str
    display_name: str
    description: str
    root: Component
    components: Mapping[str, Component]
    default_root: str = ""
    config: Mapping[str, JSON] = field(default_factory=dict)
    unread: tuple[Unread, ...] = ()

    def component(self, task: Task) -> Component:
        """The component of a task."""
        return self.components[task.component]
