"""Tests of artifacts that steps make and read, that importers import, and that a person submits."""

from dataclasses import replace
from typing import Any

import pytest
from argo_components import component, say, score, train
from argo_pipelines import Lowered, arguments, compile_flow, launcher_input, lower, outputs, parse_with_tags
from kfp import dsl

from sluice.argo.compilation import Options
from sluice.argo.expressions.artifact_store import Store
from sluice.argo.objects.workflows import lower_pipeline


def test_the_key_of_an_output_artifact_contains_the_names_of_the_run_and_the_pod() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        score(model=train().outputs["model"])

    found = lower(flow)
    (made,) = found.inner("train")["outputs"]["artifacts"]
    assert made["s3"] == {"key": "{{workflow.name}}/{{pod.name}}/model"}
    assert made["path"] == "/kfp/store/{{workflow.name}}/{{pod.name}}/model"
    assert (made["optional"], made["archive"]) == (True, {"none": {}})
    described = launcher_input(found.inner("train"))["executor"]["outputs"]["artifacts"]["model"]["artifacts"][0]
    assert described["uri"] == "/kfp/store/<workflow.name>/<pod.name>/model"
    assert described["type"] == {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}
    (read,) = found.inner("score")["inputs"]["artifacts"]
    assert read["s3"]["key"] == "{{=trimPrefix(fromJSON(inputs.parameters.model).uri, '/kfp/store/')}}"
    uri = "fromJSON(inputs.parameters.model).uri"
    assert read["path"] == f"{{{{=hasPrefix({uri}, '/kfp/store/') ? {uri} : '/kfp/again/model'}}}}", "a step may set another URI"
    assert arguments(found.task("score"))["model"] == "{{=tasks['train'].outputs.parameters.model}}"


@pytest.mark.parametrize(
    ("driver", "root", "location", "path"),
    [
        ("s3", "s3://b/p", {"s3": {"bucket": "b", "key": "p/{{workflow.name}}/{{pod.name}}/model"}}, "/s3/b/p/"),
        ("s3", "minio://b", {"s3": {"bucket": "b", "key": "{{workflow.name}}/{{pod.name}}/model"}}, "/minio/b/"),
        ("gcs", "gs://b/p/", {"gcs": {"bucket": "b", "key": "p/{{workflow.name}}/{{pod.name}}/model"}}, "/gcs/b/p/"),
        (
            "azure",
            "",
            {"azure": {"blob": "{{workflow.name}}/{{pod.name}}/model", "container": "", "endpoint": ""}},
            "/kfp/store/",
        ),
    ],
)
def test_the_store_decides_the_uri_the_key_and_the_path(driver: str, root: str, location: dict[str, Any], path: str) -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        train()

    found = lower(flow, store=Store(driver, root)).inner("train")
    (made,) = found["outputs"]["artifacts"]
    assert {key: made[key] for key in location} == location
    assert made["path"] == f"{path}{{{{workflow.name}}}}/{{{{pod.name}}}}/model"
    assert path[:-1] in str(found["container"]["volumeMounts"])


def test_an_importer_has_no_pod_and_no_task_in_argo() -> None:
    @dsl.pipeline(name="flow")
    def flow(version: str = "1") -> None:
        imported = dsl.importer(
            artifact_uri="gs://bucket/folder/model", artifact_class=dsl.Model, metadata={"v": version, "deep": {"a": {"b": "c"}}}
        )
        score(model=imported.output)

    found = lower(flow)
    assert [task["name"] for task in found.entry["dag"]["tasks"]] == ["score"]
    given = arguments(found.task("score"))["model"]
    assert '"gs://bucket/folder/model"' in given
    assert "workflow.parameters.version" in given
    (read,) = found.inner("score")["inputs"]["artifacts"]
    assert set(read["gcs"]) == {"bucket", "key"}
    assert "hasPrefix(fromJSON(inputs.parameters.model).uri, 'gs://') ? '/gcs/' + " in read["path"]


def test_the_default_of_a_parameter_decides_the_kind_of_store_of_an_importer() -> None:
    @dsl.pipeline(name="flow")
    def flow(uri: str = "s3://b/k") -> None:
        score(model=dsl.importer(artifact_uri=uri, artifact_class=dsl.Model).output)

    found = lower(flow)
    assert "workflow.parameters.uri" in arguments(found.task("score"))["model"]
    assert set(found.inner("score")["inputs"]["artifacts"][0]["s3"]) == {"bucket", "key"}


def test_an_importer_uses_the_defaults_of_its_component_for_inputs_that_are_not_given() -> None:
    @dsl.pipeline(name="flow")
    def flow(uri: str = "s3://b/k") -> None:
        imported = dsl.importer(artifact_uri=uri, artifact_class=dsl.Model, metadata={"by": uri})
        score(model=imported.output)

    pipeline = compile_flow(flow)
    importer = pipeline.root.body.tasks["importer"]
    component = pipeline.components[importer.component]
    inputs = {name: replace(each, default="s3://b/default", has_default=True) for name, each in component.inputs.items()}
    tasks = {**pipeline.root.body.tasks, "importer": replace(importer, parameters={})}
    changed = replace(
        pipeline,
        root=replace(pipeline.root, body=replace(pipeline.root.body, tasks=tasks)),
        components={**pipeline.components, component.name: replace(component, inputs=inputs)},
    )
    document, refusals = lower_pipeline(changed, Options())
    assert not refusals.found
    given = arguments(Lowered(document, ()).task("score"))["model"]
    assert parse_with_tags(given)["uri"] == "<='\"s3://b/default\"'>"
    assert "s3://b/default" in parse_with_tags(given)["metadata"]["by"]


def test_an_importer_whose_store_is_unknown_when_compiling_is_refused() -> None:
    @dsl.pipeline(name="flow")
    def flow(uri: str) -> None:
        score(model=dsl.importer(artifact_uri=uri, artifact_class=dsl.Model).output)

    (refusal,) = lower(flow).refusals
    assert "only the run knows the URI" in refusal.reason
    assert refusal.task == "score"


def test_a_task_waits_for_the_tasks_from_which_its_importer_reads() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        named = say(text="x")
        imported = dsl.importer(artifact_uri="gs://b/k", artifact_class=dsl.Model, metadata={"by": named.output})
        score(model=imported.output)

    assert lower(flow).task("score")["dependencies"] == ["say"]


def test_a_branch_that_contains_only_an_importer_is_a_valid_dag() -> None:
    @dsl.pipeline(name="flow")
    def flow(text: str) -> None:
        with dsl.If(text == "x"):
            one = dsl.importer(artifact_uri="s3://b/one", artifact_class=dsl.Model)
        with dsl.Else():
            two = dsl.importer(artifact_uri="s3://b/two", artifact_class=dsl.Model)
        score(model=dsl.OneOf(one.output, two.output))

    found = lower(flow)
    branch = found.inner("condition-branches*")["dag"]["tasks"][0]
    (task,) = found.template(branch["template"])["dag"]["tasks"]
    assert found.template(task["template"])["suspend"] == {"duration": "0"}


def test_alternatives_from_different_stores_are_refused() -> None:
    @dsl.pipeline(name="flow")
    def flow(text: str) -> None:
        with dsl.If(text == "x"):
            one = dsl.importer(artifact_uri="s3://b/one", artifact_class=dsl.Model)
        with dsl.Else():
            two = train()
        score(model=dsl.OneOf(one.output, two.outputs["model"]))

    (refusal,) = lower(flow).refusals
    assert "s3 or stored" in refusal.reason


def test_a_person_submits_an_artifact_by_its_uri() -> None:
    @dsl.pipeline(name="flow")
    def flow(model: dsl.Input[dsl.Model]) -> None:
        score(model=model)

    found = lower(flow)
    (argument,) = found.spec["arguments"]["parameters"]
    assert argument == {"name": "model", "description": "URI of a system.Model."}
    assert "toJson(workflow.parameters.model)" in arguments(found.task("score"))["model"]
    assert set(found.inner("score")["inputs"]["artifacts"][0]["s3"]) == {"bucket", "key"}


def test_an_optional_artifact_of_the_pipeline_may_be_left_out() -> None:
    @component
    def maybe(model: dsl.Input[dsl.Model] = None) -> None:
        pass

    @dsl.pipeline(name="flow")
    def flow(model: dsl.Input[dsl.Model] = None) -> None:
        maybe(model=model)
        maybe()

    found = lower(flow)
    assert found.spec["arguments"]["parameters"][0]["value"] == "null"
    (artifact,) = found.inner("maybe")["inputs"]["artifacts"]
    assert "?.uri ?? '://'" in artifact["path"], "the path expression splits the URI, which must not be missing"
    assert artifact["path"].endswith(" : '/kfp/again/model'}}"), "Kubernetes cannot mount anything at an empty path"
    assert "arguments" not in found.task("maybe-2")


def test_artifacts_pass_through_nested_pipelines() -> None:
    @dsl.pipeline(name="make")
    def make() -> dsl.Model:
        return train().outputs["model"]

    @dsl.pipeline(name="use")
    def use(model: dsl.Input[dsl.Model]) -> float:
        return score(model=model).output

    @dsl.pipeline(name="flow")
    def flow() -> float:
        return use(model=make().output).output

    found = lower(flow)
    assert outputs(found.inner("make"))["Output"]["expression"] == "tasks['train'].outputs.parameters.model"
    assert arguments(found.task("use"))["model"] == "{{=tasks['make'].outputs.parameters.Output}}"
    assert "trimPrefix" in found.inner("use", "score")["inputs"]["artifacts"][0]["s3"]["key"]


def test_argo_downloads_an_artifact_that_two_inputs_share_only_once_to_its_path() -> None:
    @component
    def both(one: dsl.Input[dsl.Model], two: dsl.Input[dsl.Model]) -> None:
        pass

    @component
    def lists(one: dsl.Input[list[dsl.Model]], two: dsl.Input[list[dsl.Model]]) -> None:
        pass

    @dsl.pipeline(name="flow")
    def flow() -> None:
        model = train().outputs["model"]
        both(one=model, two=model)
        with dsl.ParallelFor([0.1, 0.2]) as rate:
            trained = train(rate=rate)
        lists(one=dsl.Collected(trained.outputs["model"]), two=dsl.Collected(trained.outputs["model"]))

    found = lower(flow)
    first, second = found.inner("both")["inputs"]["artifacts"]
    assert "/kfp/again/two" not in first["path"]
    assert second["path"].startswith(
        "{{=fromJSON(inputs.parameters.two).uri in [fromJSON(inputs.parameters.one).uri] ? '/kfp/again/two'"
    )
    assert len(found.inner("lists")["inputs"]["artifacts"]) == 1
    assert len(found.inner("lists")["inputs"]["parameters"]) == 2


@dsl.container_component
def copy(model: dsl.Input[dsl.Model], made: dsl.Output[dsl.Model]) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(
        image="alpine",
        command=["cp"],
        args=[model.path, made.path, model.uri, made.uri, model.metadata["k"]],
    )


def test_a_container_without_python_gets_paths_and_its_artifact_has_a_descriptor() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        score(model=copy(model=train().outputs["model"]).outputs["made"])

    template = lower(flow).inner("copy")
    args = template["container"]["args"]
    assert "fromJSON(inputs.parameters.model).uri" in args[0]
    assert "'/kfp/store/' + workflow.name + '/' + pod.name + '/made'" in args[1]
    assert "fromJSON(inputs.parameters.model).metadata['k']" in args[4]
    default = outputs(template)["made"]["default"]
    assert '"uri": "/kfp/store/{{workflow.name}}/{{pod.name}}/made"' in default


def test_an_init_container_copies_a_model_out_of_its_image() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        score(model=dsl.importer(artifact_uri="oci://registry/model:1", artifact_class=dsl.Model).output)

    template = lower(flow).inner("score")
    (copied,) = template["initContainers"]
    assert copied["image"] == "{{=trimPrefix(fromJSON(inputs.parameters.model).uri, 'oci://')}}"
    assert copied["command"][:2] == ["cp", "-R"]
    assert "artifacts" not in template["inputs"]


def test_only_a_python_component_may_refer_to_the_executor_output_file() -> None:
    @dsl.container_component
    def shell(out: dsl.OutputPath(str)) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image="alpine", command=["sh"], args=[dsl.PIPELINE_TASK_EXECUTOR_OUTPUT_PATH_PLACEHOLDER, out])

    @dsl.container_component
    def python(out: dsl.OutputPath(str)) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(
            image="python:3.11", command=["python3"], args=["{{$}}", dsl.PIPELINE_TASK_EXECUTOR_OUTPUT_PATH_PLACEHOLDER, out]
        )

    @dsl.pipeline(name="flow")
    def refused() -> None:
        shell()

    @dsl.pipeline(name="flow")
    def flow() -> None:
        python()

    (refusal,) = lower(refused).refusals
    assert "only a Python component has an executor output file" in refusal.reason
    template = lower(flow).inner("python")
    place = launcher_input(template)["executor"]["outputs"]["outputFile"]
    assert place == "/kfp/store/<workflow.name>/<pod.name>/executor_output.json"
    assert "{{='/kfp/store/' + workflow.name + '/' + pod.name + '/executor_output.json'}}" in template["container"]["args"]


def test_an_output_may_have_any_name() -> None:
    @component
    def make(wire: dsl.Output[dsl.Model], other: dsl.OutputPath(str)) -> None:
        pass

    @dsl.pipeline(name="flow")
    def flow() -> None:
        make()

    template = lower(flow).inner("make")
    wire = launcher_input(template)["wire"]
    taken = [template["outputs"]["artifacts"][0]["path"], *(each["path"] for each in outputs(template).values())]
    assert wire.rpartition("/")[2] not in {each.rpartition("/")[2] for each in taken}
