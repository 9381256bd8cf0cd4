"""The graph of a pipeline: the content of KFP's PipelineSpec as frozen dataclasses.

The names are those of kubeflow/pipelines ``api/v2alpha1/pipeline_spec.proto``. Nothing in this module depends on a target.
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
    """An input or output parameter of a component.

    Attributes:
        type: Declared type.
        default: Default, as a JSON value. It is also None if there is no default.
        has_default: Whether there is a default.
        optional: Whether a task may leave the parameter out.
    """

    type: ParameterType
    default: JSON = None
    has_default: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """An input or output artifact of a component.

    Attributes:
        schema: Type as KFP writes it, for example ``{"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}``.
        is_list: Whether it is a list of artifacts.
        optional: Whether a task may leave the artifact out.
        metadata: Metadata that every artifact of this output has before the step runs.
    """

    schema: Mapping[str, str]
    is_list: bool = False
    optional: bool = False
    metadata: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is known when compiling. A string may contain placeholders."""

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
    """The final status of another task of the same DAG."""

    task: str


Source = Constant | FromInput | FromTask | FromFinalStatus
"""Where a value comes from."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The value that a task gives to an input parameter.

    Attributes:
        source: Where the value comes from.
        selector: Keys of the part of the value that is used, outermost first. ``parseJson(string_value)["a"]`` is ``("a",)``.
    """

    source: Source
    selector: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Iterator:
    """A loop that repeats a task.

    Attributes:
        item: Input of the task's component that gets the item.
        items: The constant list, or the input of the task that holds the list.
        over_artifacts: Whether the items are artifacts.
        parallelism: How many iterations may run at the same time; 0 for all.
    """

    item: str
    items: Constant | FromInput
    over_artifacts: bool = False
    parallelism: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy.

    Attributes:
        limit: Maximum number of retries.
        backoff_seconds: Pause before the first retry, in seconds; 0 if not given.
        factor: Factor by which each pause is longer than the one before; 0 if not given.
        backoff_max_seconds: Longest pause, in seconds; 0 if not given.
    """

    limit: int
    backoff_seconds: float = 0.0
    factor: float = 0.0
    backoff_max_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a DAG.

    Attributes:
        name: Key of the task in the DAG.
        display_name: Name for people.
        component: Name of the task's component.
        parameters: Input parameter → the value that the task gives.
        artifacts: Input artifact → where it comes from.
        after: Names of the tasks for which this task waits, data dependencies included.
        condition: The task runs only if this expression is true (see `conditions`). It is empty if the task always runs.
        when_all_ended: Whether the task also runs after a task for which it waits has failed.
        iterator: The loop that repeats the task; None if there is none.
        retry: The retry policy; None if there is none.
        cached: Whether the task may use the result of an earlier run with equal inputs.
        cache_key: Cache key that replaces KFP's fingerprint; empty if there is none.
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
    """A DAG: tasks, and the outputs that the DAG takes from them.

    Attributes:
        tasks: The tasks by name.
        parameters: Output parameter → outputs of tasks. The value is the output of the first of these tasks that ran.
        artifacts: Output artifact → outputs of tasks, with the same rule.
    """

    tasks: Mapping[str, Task]
    parameters: Mapping[str, tuple[FromTask, ...]] = field(default_factory=dict)
    artifacts: Mapping[str, tuple[FromTask, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """An executor that runs a container. All strings may contain placeholders.

    Attributes:
        image: Image of the container.
        command: Command of the container.
        args: Arguments of the command.
        env: Environment variables in order, as pairs of name and value.
        resources: KFP's ``ResourceSpec`` as the IR holds it.
        has_hook: Whether the container has a lifecycle hook, which no open-source engine runs.
    """

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    resources: Mapping[str, JSON] = field(default_factory=dict)
    has_hook: bool = False


@dataclass(frozen=True, slots=True)
class Importer:
    """An executor that imports an existing artifact.

    Attributes:
        uri: URI of the artifact, or the component's input parameter that holds the URI.
        schema: Type of the artifact.
        metadata: Metadata of the artifact. Strings may contain placeholders.
        to_workspace: Whether KFP copies the artifact into the workspace.
    """

    uri: Constant | FromInput
    schema: Mapping[str, str]
    metadata: Mapping[str, JSON] = field(default_factory=dict)
    to_workspace: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """An executor that no open-source engine runs.

    Attributes:
        kind: ``resolver`` or ``customJob``.
    """

    kind: str


Executor = Container | Importer | Unknown


@dataclass(frozen=True, slots=True)
class Component:
    """A component: its inputs and outputs, and a DAG or an executor.

    Attributes:
        name: Key of the component in the pipeline.
        body: A DAG or an executor.
        inputs: Input parameters by name.
        input_artifacts: Input artifacts by name.
        outputs: Output parameters by name.
        output_artifacts: Output artifacts by name.
        platform: KFP's ``KubernetesExecutorConfig`` of the executor, as the IR holds it.
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
        name: Name of the pipeline.
        display_name: Name for people; empty if there is none.
        description: Description for people; empty if there is none.
        root: The outermost component. Its body is a DAG.
        components: All other components by name.
        default_root: URI under which KFP would store the artifacts. It is empty if KFP's server chooses the URI.
        config: KFP's ``PipelineConfig`` (workspace, time to live, deadline), as the IR holds it.
        unread: Fields of the IR that Sluice does not read.
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
        """Return the component of a task."""
        return self.components[task.component]
