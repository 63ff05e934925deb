"""Find the credentials of a registry; the first source that has any is used.

| place | what it holds |
|---|---|
| handed in | a user name and a secret, of a Prefect block say |
| `OMMX_BASIC_AUTH_DOMAIN`, `_USERNAME`, `_PASSWORD` | as in OMMX; the domain is `host[:port]` |
| `credHelpers`, `credsStore` of the Docker config | the program `docker-credential-<name>` |
| `auths` of the Docker config | `auth`, `username` and `password`, or `identitytoken` |
| nothing | anonymous |

The Docker config is `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ommx_prefect.exceptions import RegistryAuthError

HELPER_SECONDS = 30
# What a helper calls the user whose secret is an identity token.
TOKEN_USER = "<token>"
# Docker Hub's key in the Docker config.
DOCKER_HUB = "https://index.docker.io/v1/"


@dataclass(frozen=True)
class Credentials:
    """A user and a secret.

    Attributes:
        username: The user's name; `<token>` with an identity token.
        password: The password, or the identity token.
    """

    username: str
    password: SecretStr

    @property
    def is_identity_token(self) -> bool:
        """Whether the secret is a refresh token of the registry's token server."""
        return self.username == TOKEN_USER

    @property
    def basic(self) -> str:
        """The value of a Basic `Authorization` header."""
        pair = f"{self.username}:{self.password.get_secret_value()}"
        encoded = pair.encode("utf-8", "surrogateescape")  # as the environment had it
        return f"Basic {base64.b64encode(encoded).decode()}"


def find_credentials(registry: str) -> Credentials | None:
    """Return this machine's credentials for a registry (`host[:port]`), or None: anonymous.

    Raises:
        RegistryAuthError: `OMMX_BASIC_AUTH_DOMAIN` names this registry, but the user or the
            password is not set.
    """
    return _of_environment(registry) or _of_docker_config(registry)


def _of_environment(registry: str) -> Credentials | None:
    if os.environ.get("OMMX_BASIC_AUTH_DOMAIN") != registry:
        return None
    names = ("OMMX_BASIC_AUTH_USERNAME", "OMMX_BASIC_AUTH_PASSWORD")
    missing = [name for name in names if name not in os.environ]
    if missing:
        reason = f"OMMX_BASIC_AUTH_DOMAIN names it, but {' and '.join(missing)} is not set"
        raise RegistryAuthError(registry, "", reason)
    username, password = (os.environ[name] for name in names)
    return Credentials(username, SecretStr(password))


def _of_docker_config(registry: str) -> Credentials | None:
    config = _docker_config()
    keys = [registry, f"https://{registry}", *([DOCKER_HUB] if registry == "docker.io" else [])]
    helpers = config.get("credHelpers") or {}
    for key in keys:
        if helper := helpers.get(key) or config.get("credsStore"):
            found = _of_helper(str(helper), key)
            if found:
                return found
        entry = (config.get("auths") or {}).get(key)
        if entry and (found := _of_entry(entry)):
            return found
    return None


def _docker_config() -> Mapping[str, Any]:
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        document = json.loads((Path(folder) / "config.json").read_bytes())
    except (OSError, ValueError):  # no config, or none that Docker could read either
        return {}
    return document if isinstance(document, dict) else {}


def _of_entry(entry: Mapping[str, str]) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials(TOKEN_USER, SecretStr(token))
    username, password = entry.get("username", ""), entry.get("password", "")
    if auth := entry.get("auth"):
        try:
            username, _, password = base64.b64decode(auth).decode().partition(":")
        except (ValueError, TypeError):
            return None
    # Docker pads with NUL what it writes itself.
    return Credentials(username, SecretStr(password.strip("\0"))) if username else None


def _of_helper(helper: str, key: str) -> Credentials | None:
    """Ask a credential helper; one that is missing, fails, or knows nothing has no answer."""
    command = [f"docker-credential-{helper}", "get"]
    try:
        answer = subprocess.run(
            command, input=key.encode(), capture_output=True, timeout=HELPER_SECONDS, check=True
        )
        document = json.loads(answer.stdout)
        return Credentials(document["Username"], SecretStr(document["Secret"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
