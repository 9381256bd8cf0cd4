"""Credentials for a registry: user and password from Docker's configuration, and the token that the registry gives for them.

The configuration is ``config.json`` in ``$DOCKER_CONFIG`` or ``~/.docker`` (auths, credHelpers, credsStore). The tokens follow
the token authentication of CNCF Distribution.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from sluice.errors import ConfigurationError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT_SECONDS = 30.0


def read_credentials(host: str) -> tuple[str, str] | None:
    """Return user and password for a registry, or None if Docker's configuration has none.

    Raises:
        ConfigurationError: The configuration cannot be read, or the credential helper that it names fails.
    """
    file = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        helper = (config.get("credHelpers") or {}).get(host)
        entry = (config.get("auths") or {}).get(host) or (config.get("auths") or {}).get(f"https://{host}")
        if entry and entry.get("auth"):
            user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
            return user, password
        helper = helper or (config.get("credsStore") if entry is not None else None)
    except (OSError, ValueError, AttributeError, binascii.Error) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error}", hint="Write it again with `docker login` or `buildah login`."
        ) from error
    return _ask_helper(helper, host) if helper else None


def _ask_helper(helper: str, host: str) -> tuple[str, str] | None:
    command = [f"docker-credential-{helper}", "get"]
    try:
        done = subprocess.run(command, input=host, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)
        if done.returncode != 0:
            return None  # with an exit code the helper says that it has no credentials for this host
        given = json.loads(done.stdout)
        return given["Username"], given["Secret"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        raise ConfigurationError(
            f"the credential helper {command[0]} failed: {error}", hint="Install the helper, or log in without it."
        ) from error


def answer_challenge(client: httpx.Client, challenge: str, credentials: tuple[str, str] | None, scope: str) -> str:
    """Return the Authorization header that a registry's challenge (``WWW-Authenticate``) requires.

    Args:
        client: The HTTP client for the token server.
        challenge: The text of the ``WWW-Authenticate`` header.
        credentials: User and password. None to ask anonymously.
        scope: The access that is needed: ``repository:NAME:pull,push``.

    Raises:
        ServiceError: The registry requires credentials and there are none, or its token server refuses.
    """
    kind, _, rest = challenge.partition(" ")
    if kind.lower() == "basic":
        if credentials is None:
            raise _access_denied("it requires a user and a password")
        return "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
    if kind.lower() != "bearer":
        raise _access_denied(f"it requires an unknown kind of authentication, {kind!r}")
    required: Mapping[str, str] = dict(_PARAMETER.findall(rest))
    parameters = {"service": required.get("service", ""), "scope": required.get("scope") or scope}
    try:
        answer = client.get(required["realm"], params=parameters, auth=credentials)
        answer.raise_for_status()
        given = answer.json()
        return f"Bearer {given.get('token') or given['access_token']}"
    except (KeyError, ValueError, httpx.HTTPError) as error:
        raise _access_denied(f"its token server gave no token: {error}") from error


def _access_denied(why: str) -> ServiceError:
    return ServiceError(f"the registry denies access: {why}", hint="Log in with `docker login` or `buildah login`.")
