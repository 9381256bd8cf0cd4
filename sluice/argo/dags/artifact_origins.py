"""Where the artifacts that a task reads come from: a step, or a store outside of the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.artifact_keys import STORED, Origin, Origins
from sluice.argo.refusals import InexpressibleError
from sluice.ir.graph import Component, Constant, Container, Dag, FromInput, FromTask, Importer, Source, Task, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.argo.compilation import Lowering
    from sluice.ir.graph import JSON


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a DAG's inputs when compiling.

    Attributes:
        origins: Input artifact → where its artifacts come from.
        uris: Input parameter → the URI that it is, or is by default.
    """

    origins: dict[str, Origins] = field(default_factory=dict)
    uris: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        """The same as something that can be looked up by."""
        origins = tuple((name, tuple(sorted(map(repr, found)))) for name, found in sorted(self.origins.items()))
        return origins, tuple(sorted(self.uris.items()))


@dataclass(frozen=True, slots=True)
class ArtifactOrigins:
    """Where the artifacts of one DAG come from.

    Attributes:
        lowering: The compilation.
        component: The component whose DAG it is.
        known: What is known of its inputs.
    """

    lowering: Lowering
    component: Component
    known: Known

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks of the DAG."""
        assert isinstance(self.component.body, Dag)  # noqa: S101 - the callers chose by this
        return self.component.body.tasks

    def known_of(self, task: Task) -> Known:
        """What is known of the inputs of a task's component."""
        component = self.lowering.pipeline.component(task)
        origins = {name: self.origins_of(source) for name, source in task.artifacts.items()}
        loop = task.iterator
        if loop and loop.over_artifacts and isinstance(loop.items, FromInput):
            origins[loop.item] = origins.get(loop.items.name, frozenset())
        uris = {name: self.uri_of(binding.source) for name, binding in task.parameters.items() if not binding.selector}
        return Known(
            {name: origins.get(name, frozenset()) for name in component.input_artifacts},
            {name: uri for name, uri in uris.items() if uri},
        )

    def uri_of(self, source: Source) -> str:
        """The URI that a source is, or is by default; empty where that is not known."""
        value: JSON = None
        if isinstance(source, Constant):
            value = source.value
        elif isinstance(source, FromInput):
            parameter = self.component.inputs.get(source.name)
            value = self.known.uris.get(source.name) or (parameter.default if parameter else None)
        return value if isinstance(value, str) and "://" in value else ""

    def origins_of(self, source: FromInput | FromTask) -> Origins:
        """Where an artifact that a task reads comes from."""
        if isinstance(source, FromTask):
            return self._made(self.tasks[source.task], source.key)
        if self.component is self.lowering.pipeline.root:
            return frozenset({Origin(self.lowering.store.scheme)})
        return self.known.origins.get(source.name, frozenset())

    def _made(self, task: Task, key: str) -> Origins:
        component = self.lowering.pipeline.component(task)
        match component.body:
            case Importer():
                return frozenset({Origin(self._scheme(task, component.body))})
            case Container() | Unknown():
                return frozenset({Origin(STORED, component.name, key)})
            case Dag() as dag:
                inner = ArtifactOrigins(self.lowering, component, self.known_of(task))
                return frozenset(origin for source in dag.artifacts.get(key, ()) for origin in inner.origins_of(source))

    def _scheme(self, task: Task, importer: Importer) -> str:
        """The scheme of an imported artifact's URI: of the constant, or of the default of what it is bound to."""
        source: Source = importer.uri
        if isinstance(source, FromInput):
            binding = task.parameters.get(source.name)
            source = binding.source if binding else Constant(self.lowering.pipeline.component(task).inputs[source.name].default)
        uri = self.uri_of(source)
        scheme = uri.partition("://")[0]
        field_, readable = "importer.artifactUri", "gs, s3, minio, http, https or oci"
        if not uri:
            raise InexpressibleError(
                field_,
                f"importer {task.name!r}: its URI is known only to the run, and Argo must know the kind of store before",
                f"Give the URI itself, or an input whose default has the same scheme ({readable}).",
            )
        if scheme not in {"gs", "s3", "minio", "http", "https", "oci"}:
            raise InexpressibleError(
                field_,
                f"importer {task.name!r}: {uri!r} is of a kind that Argo cannot fetch",
                f"Copy it to a store that it can ({readable}); a claim can be mounted with kubernetes.mount_pvc.",
            )
        root = self.lowering.store.root
        if scheme in {"s3", "minio"} and _bucket(root) not in {"", _bucket(uri)}:
            # Argo takes a location without an endpoint for one in its own repository, and drops the bucket without a word.
            raise InexpressibleError(
                field_,
                f"importer {task.name!r}: Argo reads {scheme}:// from its artifact repository {root!r} alone, not {uri!r}",
                "Copy the artifact into that bucket.",
            )
        return scheme


def _bucket(uri: str) -> str:
    """The bucket of a URI of an S3 store; empty for any other."""
    scheme, _, rest = uri.partition("://")
    return rest.partition("/")[0] if scheme in {"s3", "minio"} else ""
