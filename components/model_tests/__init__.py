"""Test layer 3, model: the model is good enough, in all rows and in each segment."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def model_tests(
    model: dsl.Input[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    roc: dsl.Output[dsl.ClassificationMetrics],
    curves: dsl.Output[dsl.Artifact],
    verdicts: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    junit: dsl.Output[dsl.Artifact],
    record: dsl.Output[dsl.Artifact],
) -> None:
    """Run the project's model suite on the test rows of the holdout. The step fails if a check fails."""
    from sluice.artifact_metadata import read_metadata
    from sluice.carried_records import keep_record
    from sluice.steps.layers import run_model_tests

    keep_record(record.path, record.metadata)
    outputs = {"verdicts": verdicts.path, "page": page.path, "junit": junit.path}
    numbers, points = run_model_tests(outputs, (model.path, read_metadata(model.metadata)), curves.path)
    for name, value in numbers.items():
        metrics.log_metric(name, value)
    roc.log_roc_curve(*points)
