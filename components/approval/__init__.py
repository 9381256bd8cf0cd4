"""Wait until a person approves the release for production.

The compiler recognises this step by the name of its component, ``approval``. In Argo it becomes a suspended step. In every other
engine it waits for a recorded approval.
"""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def approval(release: str) -> str:
    """Wait until a person approves the release, and return that person."""
    from sluice.steps.production import wait_for_approval

    return wait_for_approval(release)
