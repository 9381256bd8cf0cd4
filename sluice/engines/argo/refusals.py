"""What the API server's refusals mean, and what would allow the call. Pure functions of the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from sluice.errors import DataError, ServiceError, SluiceError, StateError, UsageError

_FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]+)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
_ACCOUNT = re.compile(r"system:serviceaccount:([^:]+):(.+)")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that the API server refused.

    Attributes:
        status: The HTTP status.
        message: The message of the Status object.
        call: Method and path.
        server: URL of the API server.
    """

    status: int
    message: str
    call: str
    server: str


def explain(refusal: Refusal) -> SluiceError:
    """Return the error that says what was refused, to whom and by which server, and what would allow it."""
    where = f"the API server {refusal.server}"
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        return ServiceError(
            f"{where} does not accept the credentials for {refusal.call}",
            hint="The token or certificate has expired, or belongs to another cluster. Log in again, or correct argo.token_file.",
        )
    if refusal.status == HTTPStatus.FORBIDDEN:
        return ServiceError(f"{where} refused {refusal.call}: {refusal.message}", hint=_permit(refusal.message))
    if refusal.status == HTTPStatus.NOT_FOUND:
        return _explain_absence(refusal, where)
    if refusal.status == HTTPStatus.CONFLICT:
        return _explain_conflict(refusal, where)
    if refusal.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
        return UsageError(f"{where} does not accept {refusal.call}: {refusal.message}", hint="Correct what the message names.")
    return ServiceError(f"{where} answered {refusal.status} to {refusal.call}: {refusal.message}", hint="Nothing was changed.")


def _explain_absence(refusal: Refusal, where: str) -> SluiceError:
    if "could not find the requested resource" in refusal.message:
        return ServiceError(
            f"{where} does not know the resource of {refusal.call}",
            hint="Install Argo Workflows in that cluster, with its CustomResourceDefinitions.",
        )
    return DataError(f"{where}: {refusal.message}", hint="`sluice runs` lists the runs that exist.")


def _explain_conflict(refusal: Refusal, where: str) -> SluiceError:
    if refusal.message.startswith("Apply failed"):
        return StateError(
            f"{where}: {refusal.message}",
            hint="Another tool owns these fields. Let that tool change them, or take them over with --force-conflicts.",
        )
    return StateError(
        f"{where}: {refusal.message}", hint="Run the command again. Somebody else changed the object at the same time."
    )


def _permit(message: str) -> str:
    """Return the line of a Role that would allow the refused call, and to whom it must be bound."""
    found = _FORBIDDEN.search(message)
    if found is None:
        return "An admission policy or a webhook of the cluster refused it. The message names it."
    resource, group, verb = found["resource"], found["group"], found["verb"]
    kind = "Role" if found["namespace"] else "ClusterRole"
    place = f" in namespace {found['namespace']}" if found["namespace"] else ""
    line = f'{{apiGroups: ["{group}"], resources: ["{resource}"], verbs: ["{verb}"]}}'
    account = _ACCOUNT.fullmatch(found["user"])
    subject = f"the service account {account[2]} of namespace {account[1]}" if account else f"the user {found['user']}"
    return f"Add this rule to a {kind}{place}, and bind it to {subject}: {line}"
