"""The origins of the artifacts that tasks read: a step of the run, or a store outside the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.artifact_keys import STORED, Origin, Origins
from sluice.argo.refusals import InexpressibleError
from sluice.ir.graph import Component, Constant, Container, Dag, FromInput, FromTask, Importer, Source, Task, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.argo.compilation import Compilation
    from sluice.ir.graph import JSON


@dataclass(frozen=True, slots=True)
class KnownInputs:
    """The facts about the inputs of a DAG that are known when compiling.

    Attributes:
        origins: Input artifact → where its artifacts come from.
        uris: Input parameter → its value or default, if that is a URI.
    """

    origins: dict[str, Origins] = field(default_factory=dict)
    uris: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        """A hashable form of the same facts."""
        origins = tuple((name, tuple(sorted(map(repr, found)))) for name, found in sorted(self.origins.items()))
        return origins, tuple(sorted(self.uris.items()))


@dataclass(frozen=True, slots=True)
class ArtifactOrigins:
    """Where the artifacts of one DAG come from.

    Attributes:
        compilation: The compilation.
        component: The component that contains the DAG.
        known: The facts about the inputs of the DAG.
    """

    compilation: Compilation
    component: Component
    known: KnownInputs

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks of the DAG."""
        assert isinstance(self.component.body, Dag)  # noqa: S101 - only components with a DAG have artifact origins
        return self.component.body.tasks

    def known_of(self, task: Task) -> KnownInputs:
        """Return the facts about the inputs of a task's component."""
        component = self.compilation.pipeline.component(task)
        origins = {name: self.origins_of(source) for name, source in task.artifacts.items()}
        loop = task.iterator
        if loop and loop.over_artifacts and isinstance(loop.items, FromInput):
            origins[loop.item] = origins.get(loop.items.name, frozenset())
        uris = {name: self.uri_of(binding.source) for name, binding in task.parameters.items() if not binding.selector}
        return KnownInputs(
            {name: origins.get(name, frozenset()) for name in component.input_artifacts},
            {name: uri for name, uri in uris.items() if uri},
        )

    def uri_of(self, source: Source) -> str:
        """Return the URI that a source gives, directly or by default. The text is empty if only the run knows it."""
        value: JSON = None
        if isinstance(source, Constant):
            value = source.value
        elif isinstance(source, FromInput):
            parameter = self.component.inputs.get(source.name)
            value = self.known.uris.get(source.name) or (parameter.default if parameter else None)
        return value if isinstance(value, str) and "://" in value else ""

    def origins_of(self, source: FromInput | FromTask) -> Origins:
        """Return where an artifact that a task reads comes from."""
        if isinstance(source, FromTask):
            return self._made(self.tasks[source.task], source.key)
        if self.component is self.compilation.pipeline.root:
            return frozenset({Origin(self.compilation.store.scheme)})
        return self.known.origins.get(source.name, frozenset())

    def _made(self, task: Task, key: str) -> Origins:
        component = self.compilation.pipeline.component(task)
        match component.body:
            case Importer():
                return frozenset({Origin(self._scheme(task, component.body))})
            case Container() | Unknown():
                return frozenset({Origin(STORED, component.name, key)})
            case Dag() as dag:
                inner = ArtifactOrigins(self.compilation, component, self.known_of(task))
                return frozenset(origin for source in dag.artifacts.get(key, ()) for origin in inner.origins_of(source))

    def _scheme(self, task: Task, importer: Importer) -> str:
        """Return the scheme of an imported artifact's URI.

        The URI is a constant, or the default of the input that gives it.

        Raises:
            InexpressibleError: Only the run knows the URI, or Argo cannot fetch the artifact.
        """
        source: Source = importer.uri
        if isinstance(source, FromInput):
            binding = task.parameters.get(source.name)
            source = (
                binding.source if binding else Constant(self.compilation.pipeline.component(task).inputs[source.name].default)
            )
        uri = self.uri_of(source)
        scheme = uri.partition("://")[0]
        field_, readable = "importer.artifactUri", "gs, s3, minio, http, https or oci"
        if not uri:
            raise InexpressibleError(
                field_,
                f"only the run knows the URI of the importer {task.name!r}, but Argo must know the kind of store before the run",
                f"Give the URI as a constant, or as an input whose default has the same scheme ({readable}).",
            )
        if scheme not in {"gs", "s3", "minio", "http", "https", "oci"}:
            raise InexpressibleError(
                field_,
                f"Argo cannot fetch the URI {uri!r} of the importer {task.name!r}",
                f"Copy the artifact to a store that Argo can read ({readable}), or mount a claim with kubernetes.mount_pvc.",
            )
        root = self.compilation.store.root
        if scheme in {"s3", "minio"} and _bucket(root) not in {"", _bucket(uri)}:
            # Argo reads a location without an endpoint from its own artifact repository, and it ignores the bucket silently.
            raise InexpressibleError(
                field_,
                f"the importer {task.name!r} names {uri!r}, but Argo reads {scheme}:// only from its own repository {root!r}",
                "Copy the artifact into that bucket.",
            )
        return scheme


def _bucket(uri: str) -> str:
    """Return the bucket of a URI in an S3 store, or an empty text for any other URI."""
    scheme, _, rest = uri.partition("://")
    return rest.partition("/")[0] if scheme in {"s3", "minio"} else ""
