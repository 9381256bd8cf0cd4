"""Load the YAML documents of compiled IR: a PipelineSpec, and optionally a PlatformSpec. Their size is limited."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml if the PyYAML wheel contains it, because it is ten times faster and gives the same result."""

_MAX_ALIAS_NODES = 10_000
"""Number of nodes that aliases may add.

KFP's compiler writes an alias if a pipeline uses the same list twice. A document with a billion repeated nodes is an attack.
"""

Raw = dict[str, Any]


def load_documents(text: str) -> list[Any]:
    """Load every document that is not empty.

    Raises:
        yaml.YAMLError: The text is not YAML.
        ValueError: A value is impossible, for example a date that does not exist, or aliases repeat too many values.
        RecursionError: The text is nested more deeply than Python's recursion limit.
    """
    loader = _LOADER(text)
    try:
        found = []
        while loader.check_node():
            node = loader.get_node()
            _check_size(node)
            found.append(loader.construct_document(node))
        return [document for document in found if document is not None]
    finally:
        loader.dispose()


def _check_size(root: yaml.Node) -> None:
    """Refuse a document whose aliases repeat too many nodes, or in which a node contains itself."""
    sizes: dict[int, int] = {}
    _count(root, sizes)
    if sizes[id(root)] > len(sizes) + _MAX_ALIAS_NODES:
        raise ValueError(f"its aliases expand to {sizes[id(root)]:,} values, which is too many")


def _count(node: yaml.Node, sizes: dict[int, int]) -> int:
    known = sizes.get(id(node))
    if known is not None:
        if not known:
            raise ValueError("a value contains itself")
        return known
    sizes[id(node)] = 0
    size = 1
    if isinstance(node, yaml.MappingNode):
        size += sum(_count(key, sizes) + _count(value, sizes) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_count(value, sizes) for value in node.value)
    sizes[id(node)] = size
    return size


def find_spec(documents: list[Any]) -> Raw | None:
    """Return the PipelineSpec, which may be inside a PipelineJob. Return None if there is no PipelineSpec."""
    spec = next((d for d in documents if isinstance(d, dict) and "root" in d), None) or find_job(documents).get("pipelineSpec")
    return spec if isinstance(spec, dict) and "deploymentSpec" in spec else None


def find_platforms(documents: list[Any]) -> Raw:
    """Return the platforms of the PlatformSpec by name. The result is empty if there is no PlatformSpec."""
    return next((d["platforms"] for d in documents if isinstance(d, dict) and "platforms" in d), {})


def find_job(documents: list[Any]) -> Raw:
    """Return the PipelineJob around the PipelineSpec. The result is empty if there is none."""
    first = documents[0] if documents else None
    return first if isinstance(first, dict) and "pipelineSpec" in first else {}
