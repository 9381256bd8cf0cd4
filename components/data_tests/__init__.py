"""Test layer 2, data: the snapshot is good enough to train on."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def data_tests(
    snapshot: dsl.Input[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    verdicts: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    junit: dsl.Output[dsl.Artifact],
    record: dsl.Output[dsl.Artifact],
) -> None:
    """Run the project's data suite on the pinned snapshot. The step fails if a check fails."""
    from sluice.artifact_metadata import read_metadata
    from sluice.carried_records import keep_record
    from sluice.steps.layers import run_tests

    keep_record(record.path, record.metadata)
    outputs = {"verdicts": verdicts.path, "page": page.path, "junit": junit.path}
    for name, value in run_tests("data", outputs, snapshot=(snapshot.path, read_metadata(snapshot.metadata))).items():
        metrics.log_metric(name, value)
