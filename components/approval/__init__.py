"""Wait for a person's word before production.

The compiler knows this step by its component's name, ``approval``: a suspend in Argo, a wait for a recorded approval elsewhere.
"""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def approval(release: str) -> str:
    """Wait until somebody approves the release; gives who did."""
    from sluice.steps.production import wait_for_approval

    return wait_for_approval(release)
