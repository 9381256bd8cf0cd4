"""Service accounts for the tests of the engine, and the engine as such an account."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sluice.engines.argo.credentials import connect
from sluice.engines.argo.engine import ArgoEngine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def make_token(namespace: str, file: Path, rules: Sequence[dict[str, Any]] = ()) -> Path:
    """Create an account with these rules, and write its token to a file. Without rules it may do nothing."""
    from kubernetes import client

    core, name = client.CoreV1Api(), f"nobody-{time.monotonic_ns()}"
    core.create_namespaced_service_account(namespace, client.V1ServiceAccount(metadata=client.V1ObjectMeta(name=name)))
    if rules:
        roles = client.RbacAuthorizationV1Api()
        roles.create_namespaced_role(namespace, {"metadata": {"name": name}, "rules": list(rules)})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        roles.create_namespaced_role_binding(namespace, {"metadata": {"name": name}, "subjects": [subject], "roleRef": role})
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600))
    file.write_text(core.create_namespaced_service_account_token(name, namespace, request).status.token + "\n")
    return file


def with_token(engine: ArgoEngine, file: Path) -> ArgoEngine:
    """Return the engine as the account of a token."""
    from kubernetes import client

    configuration = client.Configuration.get_default_copy()
    table = engine.project.settings.argo.model_copy(
        update={"server": engine.api.url, "token_file": str(file), "ca_file": configuration.ssl_ca_cert or ""}
    )
    return ArgoEngine(engine.project, connect(table))
