"""The status of a Workflow says where the records of its steps are, and the metadata of the records say what the steps said."""

from __future__ import annotations

import json
from typing import Any

from workflow_nodes import RUN, children, node, workflow

from sluice.argo.expressions.wire_json import to_wire
from sluice.engines.argo.artifacts import Place, find_record
from sluice.engines.argo.node_storage import read_nodes, with_nodes
from sluice.engines.argo.run_statuses import describe_workflow
from sluice.engines.results.object_stores import Store

REPOSITORY = {
    "s3": {
        "endpoint": "minio.argo:9000",
        "bucket": "artifacts",
        "insecure": True,
        "region": "eu-central-1",
        "keyFormat": "{{workflow.name}}/{{pod.name}}",
        "accessKeySecret": {"name": "minio", "key": "accesskey"},
        "secretKeySecret": {"name": "minio", "key": "secretkey"},
    }
}
STORE = Store(driver="s3", bucket="artifacts", endpoint="minio.argo:9000", secure=False, region="eu-central-1")


def carried(name: str, location: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """Return the outputs of a step with a record, as Argo's executor reports them."""
    value = to_wire({"name": "record", "uri": f"/kfp/store/{name}/record", "metadata": metadata})
    found = {"name": "record", "path": "/kfp/store/record", **(location or {"s3": {"key": f"{RUN}/{name}/record"}})}
    return {"parameters": [{"name": "record", "value": value}], "artifacts": [{"name": "page", "s3": {"key": "x"}}, found]}


def find(*nodes: dict[str, Any], repository: dict[str, Any] | None = None, step: str = "gate") -> Place | None:
    found = workflow(node("", "DAG"), *nodes)
    found["status"]["artifactRepositoryRef"] = {"artifactRepository": REPOSITORY if repository is None else repository}
    steps = describe_workflow(found, now=0).steps
    return find_record(found, read_nodes(found), next(each for each in steps if each.name == step))


def test_a_record_is_in_the_repository_of_the_workflow() -> None:
    place = find(node("gate", outputs=carried("gate-pod")))
    minio = ("minio", "accesskey"), ("minio", "secretkey")
    assert place == Place(store=STORE, key=f"{RUN}/gate-pod/record", access=minio[0], secret=minio[1])


def test_an_artifact_with_a_bucket_of_its_own_keeps_it() -> None:
    place = find(node("gate", outputs=carried("g", {"s3": {"bucket": "mine", "key": "churn/g/record", "endpoint": ""}})))
    assert place is not None
    assert (place.store.bucket, place.store.endpoint, place.key) == ("mine", "minio.argo:9000", "churn/g/record")


def test_a_store_of_another_kind_and_a_step_without_a_record_are_told_apart() -> None:
    google = find(node("gate", outputs=carried("g", {"gcs": {"bucket": "b", "key": "k"}})))
    assert google is not None
    assert (google.store.driver, google.access) == ("gcs", None)
    assert find(node("gate", outputs={"exitCode": "0"})) is None
    assert find(node("gate")) is None


def test_of_several_attempts_the_last_one_with_a_record_counts() -> None:
    tried = [node(f"gate({each})", nodeFlag={"retried": True}, outputs=carried(f"try-{each}")) for each in (0, 1)]
    killed = node("gate(2)", phase="Failed", nodeFlag={"retried": True}, message="OOMKilled")
    retry = node("gate", "Retry", "Failed", children=children("gate(0)", "gate(1)", "gate(2)"))
    place = find(retry, *tried, killed)
    assert place is not None
    assert place.key == f"{RUN}/try-1/record"


def test_compressed_nodes_are_read() -> None:
    filler = {f"{RUN}-n{number}": node(f"n{number}", message="x" * 2000) for number in range(600)}
    gate = node("gate", outputs=carried("g"))
    root = node("", "DAG")
    large = with_nodes(workflow(root, gate), {root["id"]: root, gate["id"]: gate, **filler})
    assert "compressedNodes" in large["status"]
    step = next(each for each in describe_workflow(large, now=0).steps if each.name == "gate")
    assert find_record(large, read_nodes(large), step) is not None


def test_the_metadata_of_a_record_say_what_the_step_said_and_what_the_gate_answered() -> None:
    decision = {"promote": True, "difference": 0.02, "verdict": {"interval": {"low": 0.01, "high": 0.03}}, "first": False}
    gate = carried("g", gate=decision, detail="better by 0.02")
    gate["parameters"].append({"name": "Output", "value": "true"})
    package = carried("p", release={"number": 7, "digest": "sha256:ab"}, detail="release 7")
    package["parameters"].append({"name": "Output", "value": json.dumps("sha256:ab")})
    found = describe_workflow(workflow(node("", "DAG"), node("gate", outputs=gate), node("package", outputs=package)), now=0)
    assert {step.name: step.detail for step in found.steps} == {"gate": "better by 0.02", "package": "release 7"}
    assert (found.summary.release, found.summary.gate) == ("7", "promote")
    assert found.summary.numbers is not None
    assert (found.summary.numbers.difference, found.summary.numbers.low) == (0.02, 0.01)
