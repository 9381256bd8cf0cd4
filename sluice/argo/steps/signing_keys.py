"""The private keys of the steps that sign: each is a Secret that only the pod of its step mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.argo.component_kinds import SIGNING_VARIABLES, find_table_key, is_impostor
from sluice.kubernetes_calls import SIGNING_KEY

if TYPE_CHECKING:
    from sluice.argo.compilation import Call, Compilation
    from sluice.argo.pod_settings.step_pods import Pod

VOLUME = "sluice-signing-key"


def mount_signing_key(compilation: Compilation, pod: Pod, call: Call) -> None:
    """Mount the Secret that the options name for this step, and say in the step's environment where the key is."""
    key = find_table_key(call.component)
    secret = dict(compilation.options.signing_secrets).get(key, "")
    if not secret:
        return
    if is_impostor(call.component):
        reason = f"the component has the name of Sluice's step {key!r}, but its body does not call it, so it gets no signing key"
        compilation.refusals.add(call.path, "signing key", reason, "Give the component another name.")
        return
    pod.mount(
        {"name": VOLUME, "secret": {"secretName": secret}},
        {"name": VOLUME, "mountPath": str(SIGNING_KEY.parent), "readOnly": True},
    )
    pod.env({"name": SIGNING_VARIABLES[key], "value": str(SIGNING_KEY)})
