"""Test layer 4, integration: the packaged release answers correctly when it is served."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def integration_tests(
    release: str,
    metrics: dsl.Output[dsl.Metrics],
    verdicts: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    junit: dsl.Output[dsl.Artifact],
    record: dsl.Output[dsl.Artifact],
) -> None:
    """Serve the release and run the project's integration suite against it. The step fails if a check fails."""
    from sluice.carried_records import keep_record
    from sluice.steps.layers import run_tests

    keep_record(record.path, record.metadata)
    outputs = {"verdicts": verdicts.path, "page": page.path, "junit": junit.path}
    for name, value in run_tests("integration", outputs, release=release).items():
        metrics.log_metric(name, value)
