"""Request the rollout of the release (5 → 25 → 100 % of live traffic by default), and wait for its outcome."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def canary(release: str, approved_by: str, record: dsl.Output[dsl.Artifact]) -> str:
    """Request the rollout and return its outcome. The step fails if the canary is rolled back."""
    from sluice.carried_records import keep_record
    from sluice.steps.production import run_canary

    keep_record(record.path, record.metadata)
    return run_canary(release, approved_by)
