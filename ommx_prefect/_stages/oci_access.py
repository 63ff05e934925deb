"""Open a repository for a stage: once per process, with the right credentials.

Credentials are those of this machine (see `_oci.credentials`), or those of the Prefect block that
the stage names, `oci://ghcr.io/acme/shards?credentials=docker-registry-credentials/ghcr`: any
block with a `username` and a `password`, or a `Secret` that holds both as JSON.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from prefect.blocks.system import Secret
from pydantic import SecretStr

from ommx_prefect._oci.answers import OtherBytesError
from ommx_prefect._oci.credentials import Credentials
from ommx_prefect._oci.repository import Repository
from ommx_prefect._stages.address import split_stage
from ommx_prefect._stages.block_store import load_block
from ommx_prefect._stages.store import GoneError
from ommx_prefect.exceptions import (
    DocumentError,
    ManifestTooLargeError,
    NotInRegistryError,
    RegistryAuthError,
    RegistryError,
    StageError,
)


@functools.lru_cache(maxsize=64)
def open_repository(stage: str, repository: str = "", *, brief: bool = False) -> Repository:
    """Open a repository of the registry in which a stage is.

    Args:
        stage: The stage, `oci://registry/repository`.
        repository: Another repository of the same registry; empty for the stage's own.
        brief: Whether to give up soon.

    Raises:
        StageError: The block with the credentials cannot be used.
    """
    where = split_stage(stage)
    credentials = _credentials_of(stage, where.credentials) if where.credentials else None
    path = repository or where.repository
    return Repository(where.registry, path, credentials, brief=brief)


@contextlib.contextmanager
def translated(stage: str, what: str) -> Iterator[None]:
    """Translate errors of a registry into a StageError, and damage into a DocumentError."""
    try:
        yield
    except OtherBytesError as error:
        raise DocumentError(f"could not {what}: {error.reason}") from error
    except (RegistryError, ManifestTooLargeError) as error:
        if isinstance(error, RegistryAuthError):
            open_repository.cache_clear()  # somebody may have logged in by the next time
        kind = GoneError if isinstance(error, NotInRegistryError) else StageError
        raise kind(stage, f"could not {what}: {error}") from error


def _credentials_of(stage: str, name: str) -> Credentials:
    block = load_block(stage, name)
    held = block.get() if isinstance(block, Secret) else vars(block)
    if isinstance(held, str):  # as the UI keeps what is typed between quotes
        with contextlib.suppress(ValueError):
            held = json.loads(held)
    username, password = _text(held, "username"), _text(held, "password")
    if not (username and password):
        reason = f"the block {name} has no username and password"
        raise StageError(stage, f"{reason}; a Secret block needs both in its JSON")
    return Credentials(username, SecretStr(password))


def _text(held: Any, name: str) -> str:
    value = held.get(name) if isinstance(held, Mapping) else None
    value = value.get_secret_value() if isinstance(value, SecretStr) else value
    return value if isinstance(value, str) else ""
