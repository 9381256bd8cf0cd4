"""What KFP stores about the steps of a run in ML Metadata: outputs, and the places and the metadata of artifacts.

KFP's own API shows none of it. KFP's user interface asks ML Metadata with gRPC-Web, through its own web server, and so does this
module. The messages are the few fields of ml_metadata's ``metadata_store.proto`` and ``metadata_store_service.proto`` that are
needed; protobuf skips the others.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from sluice.artifact_metadata import unwrap
from sluice.engines.kfp.connection import calling
from sluice.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sluice.engines import StepStatus

SERVICE = "ml_metadata.MetadataStoreService"
RUN_CONTEXT = "system.PipelineRun"
"""Type of the context that holds the executions of one run. Its name is the run's id."""

OUTPUT = 4
"""Type of the event that binds an artifact to the execution that made it, or whose result from the cache it is."""

SECONDS = (5, 30)
"""Time limits of the connection and of each read."""

_NOT_FOUND = 5
_PACKAGE = "sluice.ml_metadata"
_MESSAGES: Mapping[str, Sequence[tuple[str, int, str]]] = {
    "Value": (
        ("int_value", 1, "int64"),
        ("double_value", 2, "double"),
        ("string_value", 3, "string"),
        ("struct_value", 4, "google.protobuf.Struct"),
        ("bool_value", 6, "bool"),
    ),
    "Property": (("key", 1, "string"), ("value", 2, "Value")),  # an entry of a map
    "Context": (("id", 1, "int64"),),
    "Execution": (("id", 1, "int64"), ("custom_properties", 5, "*Property")),
    "Artifact": (("id", 1, "int64"), ("uri", 3, "string"), ("custom_properties", 5, "*Property")),
    "PathStep": (("index", 1, "int64"), ("key", 2, "string")),
    "Path": (("steps", 1, "*PathStep"),),
    "Event": (("artifact_id", 1, "int64"), ("execution_id", 2, "int64"), ("path", 3, "Path"), ("type", 4, "int32")),
    "GetContextByTypeAndNameRequest": (("type_name", 1, "string"), ("context_name", 2, "string")),
    "GetContextByTypeAndNameResponse": (("context", 1, "Context"),),
    "GetExecutionsByContextRequest": (("context_id", 1, "int64"),),
    "GetExecutionsByContextResponse": (("executions", 1, "*Execution"),),
    "GetEventsByExecutionIDsRequest": (("execution_ids", 1, "*int64"),),
    "GetEventsByExecutionIDsResponse": (("events", 1, "*Event"),),
    "GetArtifactsByIDRequest": (("artifact_ids", 1, "*int64"),),
    "GetArtifactsByIDResponse": (("artifacts", 1, "*Artifact"),),
}
"""Message → name, number and type of its fields. ``*`` stands for a repeated field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArtifact:
    """An artifact that a step made.

    Attributes:
        uri: Where it is.
        metadata: Its metadata, as the step wrote them.
        session: JSON text about the store of the artifact, as KFP's user interface needs it; empty if there is none.
    """

    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution of a task.

    Attributes:
        id: Its id. Ids grow with time.
        names: The names of the task: its key in the pipeline, and the name that people see.
        outputs: Values of its output parameters.
        artifacts: Name of the output → artifact.
        pod: Name of its pod; empty if it has none.
    """

    id: int
    names: frozenset[str]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, StoredArtifact] = field(default_factory=dict)
    pod: str = ""


def read_executions(client: Any, host: str, run: str) -> list[Execution]:  # noqa: ANN401 - kfp.Client has no types
    """Return the executions of a run, in the order of their start; none if the run has not started.

    Args:
        client: The ``kfp.Client``. Its credentials are used.
        host: URL of KFP's user interface.
        run: Id of the run.

    Raises:
        SluiceError: There is no ML Metadata at this URL, or it refuses.
    """
    found = _call(client, host, "GetContextByTypeAndName", type_name=RUN_CONTEXT, context_name=run)
    if not found.HasField("context"):
        return []
    executions = _call(client, host, "GetExecutionsByContext", context_id=found.context.id).executions
    ids = [each.id for each in executions]
    events = _call(client, host, "GetEventsByExecutionIDs", execution_ids=ids).events if ids else ()
    made = [event for event in events if event.type == OUTPUT]
    wanted = sorted({event.artifact_id for event in made})
    artifacts = _call(client, host, "GetArtifactsByID", artifact_ids=wanted).artifacts if wanted else ()
    stored = {each.id: _read_artifact(each) for each in artifacts}
    outputs: dict[int, dict[str, StoredArtifact]] = {}
    for event in made:
        name = next((step.key for step in event.path.steps if step.HasField("key")), "")
        if event.artifact_id in stored:
            outputs.setdefault(event.execution_id, {})[name] = stored[event.artifact_id]
    return [_read_execution(each, outputs.get(each.id, {})) for each in sorted(executions, key=lambda each: int(each.id))]


def _read_execution(message: Any, artifacts: Mapping[str, StoredArtifact]) -> Execution:  # noqa: ANN401 - a protobuf message
    known = _read_properties(message)
    names = frozenset(str(known[key]) for key in ("task_name", "display_name") if known.get(key))
    outputs = known.get("outputs")
    return Execution(
        id=message.id,
        names=names,
        outputs=outputs if isinstance(outputs, dict) else {},
        artifacts=artifacts,
        pod=str(known.get("pod_name") or ""),
    )


def _read_artifact(message: Any) -> StoredArtifact:  # noqa: ANN401 - a protobuf message
    known = {key: unwrap(value) for key, value in _read_properties(message).items()}
    session = str(known.pop("store_session_info", "") or "")
    return StoredArtifact(uri=str(message.uri), metadata=known, session=session)


def _read_properties(message: Any) -> dict[str, Any]:  # noqa: ANN401 - a protobuf message
    return {each.key: _read_value(each.value) for each in message.custom_properties}


def _read_value(value: Any) -> Any:  # noqa: ANN401 - a protobuf message, and any JSON value
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - a part of kfp, which only this engine needs

    present = value.ListFields()
    if not present:
        return None
    field_, found = present[0]
    return MessageToDict(found) if field_.name == "struct_value" else found


def _call(client: Any, host: str, method: str, **values: Any) -> Any:  # noqa: ANN401 - protobuf messages
    """Call a method of ML Metadata with gRPC-Web: one frame is the request, and one the answer."""
    request = _message(f"{method}Request")(**values).SerializeToString()
    headers = {"Content-Type": "application/grpc-web+proto", "Accept": "application/grpc-web+proto", "X-Grpc-Web": "1"}
    with calling(client, "read ML Metadata", at=host):
        answer = client._run_api.api_client.call_api(  # noqa: SLF001 - kfp.Client has no method for ML Metadata
            f"/{SERVICE}/{method}",
            "POST",
            header_params=headers,
            body=struct.pack(">BI", 0, len(request)) + request,
            auth_settings=["Bearer"],
            _preload_content=False,
            _request_timeout=SECONDS,
            _host=host,
        )
        data, told = bytes(answer.data), dict(answer.headers)
    body, trailers = split_frames(data)
    status = trailers.get("grpc-status") or told.get("grpc-status") or ("0" if body is not None else "")
    if status == str(_NOT_FOUND):
        return _message(f"{method}Response")()
    if status != "0" or body is None:
        reason = trailers.get("grpc-message") or told.get("grpc-message") or "the answer is not one of ML Metadata"
        raise ServiceError(
            f"{host} does not show what KFP stored about the steps: {reason}",
            hint="Set kfp.ui_url to the URL of KFP's user interface, because its web server leads to ML Metadata.",
        )
    return _message(f"{method}Response").FromString(body)


def split_frames(data: bytes) -> tuple[bytes | None, dict[str, str]]:
    """Return the message and the trailers of an answer in gRPC-Web. Without a message, the first is None."""
    body, trailers = None, dict[str, str]()
    while len(data) >= 5:  # noqa: PLR2004 - a flag and four bytes of length
        flag, size = struct.unpack(">BI", data[:5])
        content, data = data[5 : 5 + size], data[5 + size :]
        if flag == 0 and len(content) == size:
            body = content
        elif flag & 0x80:
            for line in content.decode("utf-8", "replace").splitlines():
                name, _, value = line.partition(":")
                trailers[name.strip().lower()] = value.strip()
    return body, trailers


def _message(name: str) -> Any:  # noqa: ANN401 - a class of protobuf messages
    return _classes()[name]


@cache
def _classes() -> dict[str, Any]:
    """Return the classes of the messages by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2  # noqa: PLC0415

    file = descriptor_pb2.FileDescriptorProto(name="sluice/ml_metadata.proto", package=_PACKAGE, syntax="proto2")
    file.dependency.append(struct_pb2.DESCRIPTOR.name)
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            plain = kind.lstrip("*")
            label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            added = message.field.add(name=field_name, number=number, label=label)
            scalar = getattr(kinds, f"TYPE_{plain.upper()}", None)
            if scalar is not None:
                added.type = scalar
            else:
                added.type = kinds.TYPE_MESSAGE
                added.type_name = f".{plain}" if "." in plain else f".{_PACKAGE}.{plain}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


def match_executions(steps: Sequence[StepStatus], executions: Iterable[Execution]) -> dict[str, Execution]:
    """Return id of each step → its execution. Steps of the same name, as in a loop, are matched in the order of their start."""
    known = sorted(executions, key=lambda each: each.id)
    found: dict[str, Execution] = {}
    for step in steps:
        if step.is_group:
            continue
        execution = next((each for each in known if step.name in each.names), None)
        if execution is not None:
            known.remove(execution)
            found[step.id] = execution
    return found
