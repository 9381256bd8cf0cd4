"""The YAML documents of compiled IR, read within bounds: a PipelineSpec, and a PlatformSpec after it where there is one."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where the wheel has it: ten times faster, the same result."""

_SPARE = 10_000
"""Nodes that aliases may add. KFP's compiler writes one where a list is given twice; a billion of them is an attack."""

Raw = dict[str, Any]


def load_documents(text: str) -> list[Any]:
    """Every document that is not empty.

    Raises:
        yaml.YAMLError: It is not YAML.
        ValueError: A value does not exist (a date), or aliases repeat so much that reading it would take for ever.
        RecursionError: It is nested deeper than Python goes.
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
    """Count nodes as they are written, and as aliases repeat them; a node that holds itself never ends."""
    sizes: dict[int, int] = {}
    _count(root, sizes)
    if sizes[id(root)] > len(sizes) + _SPARE:
        raise ValueError(f"its aliases repeat {sizes[id(root)]:,} values, and IR needs none")


def _count(node: yaml.Node, sizes: dict[int, int]) -> int:
    known = sizes.get(id(node))
    if known is not None:
        if not known:
            raise ValueError("a value holds itself")
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
    """The PipelineSpec among the documents, also where a PipelineJob holds it; None where there is none."""
    spec = next((d for d in documents if isinstance(d, dict) and "root" in d), None) or find_job(documents).get("pipelineSpec")
    return spec if isinstance(spec, dict) and "deploymentSpec" in spec else None


def find_platforms(documents: list[Any]) -> Raw:
    """The PlatformSpec's platforms by name; none where it says nothing."""
    return next((d["platforms"] for d in documents if isinstance(d, dict) and "platforms" in d), {})


def find_job(documents: list[Any]) -> Raw:
    """The PipelineJob that the PipelineSpec stands in; empty where there is none."""
    first = documents[0] if documents else None
    return first if isinstance(first, dict) and "pipelineSpec" in first else {}
