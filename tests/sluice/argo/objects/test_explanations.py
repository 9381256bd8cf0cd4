"""Tests of `--explain`: its counts agree with the compiled workflow, and with the pods that KFP's backend would start."""

from argo_pipelines import compile_flow, lower
from kfp import dsl, kubernetes

from sluice.argo.compilation import Options
from sluice.argo.objects.explanations import explain

component = dsl.component(base_image="python:3.11", install_kfp_package=False)


@component
def train(number: int, model: dsl.Output[dsl.Model]) -> None:
    pass


@component
def compare(models: dsl.Input[list[dsl.Model]]) -> str:
    return "x"


@dsl.pipeline(name="flow")
def collecting() -> None:
    with dsl.ParallelFor([1, 2]) as number:
        trained = train(number=number)
    compare(models=dsl.Collected(trained.outputs["model"])).set_display_name("Compare all")


@dsl.pipeline(name="flow")
def claiming() -> None:
    claim = kubernetes.CreatePVC(pvc_name="c", access_modes=["ReadWriteOnce"], size="1Gi")
    kubernetes.DeletePVC(pvc_name=claim.outputs["name"])


def test_the_explanation_does_not_count_a_step_as_memoized_if_a_loop_collects_its_artifacts() -> None:
    counts = {feature[:2]: feature[2] for feature in explain(compile_flow(collecting), Options()).features}
    memoized = [template for template in lower(collecting).spec["templates"] if "memoize" in template]
    assert counts["cached step", "memoize"] == len(memoized) == 1
    assert [count for (kfp, argo), count in counts.items() if kfp == "cached step" and argo.startswith("none, ")] == [1]
    assert counts["display name", "annotation of the template"] == 1


def test_a_claim_counts_as_one_pod_in_argo_and_one_driver_in_kfp() -> None:
    found = explain(compile_flow(claiming), Options())
    assert (found.pods, found.kfp_pods) == (2, 3)
    assert ("claim", "resource template with one pod", 2) in found.features
