"""The syntax of stage addresses: `local`, a storage block, an OCI registry, or a custom store.

| address | the stage |
|---|---|
| `local` | a directory beside the Local Registry of this host |
| `type-slug/name` | a Prefect storage block |
| `oci://registry/repository` | a repository of an OCI registry |
| `oci://...?credentials=type-slug/name` | likewise, with the user and password of a Prefect block |
| `scheme://...` | a store that another package brings (see `ommx_prefect.testing`) |
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ommx_prefect._oci.names import REPOSITORY
from ommx_prefect.exceptions import StageError

LOCAL = "local"
OCI_SCHEME = "oci"
BLOCK_NAME = r"[a-z0-9-]+/[^/\s]+"
_OCI = re.compile(
    r"oci://(?P<registry>(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?)"
    rf"/(?P<repository>{REPOSITORY.pattern})"
    rf"(?:\?credentials=(?P<credentials>{BLOCK_NAME}))?"
)
_OWN = re.compile(r"[a-z][a-z0-9+.-]*://\S+")


@dataclass(frozen=True)
class StageAddress:
    """A stage in an OCI registry, in its parts.

    Attributes:
        registry: `host` or `host:port`.
        repository: The path below it.
        credentials: The Prefect block with user and password, as `type-slug/name`; or empty.
    """

    registry: str
    repository: str
    credentials: str


def scheme_of(stage: str) -> str:
    """Return what stands before `://`; empty for `local` and storage blocks."""
    scheme, found, _ = stage.partition("://")
    return scheme if found else ""


def split_stage(stage: str) -> StageAddress:
    """Split `oci://registry/repository[?credentials=type-slug/name]`.

    Raises:
        StageError: It is none.
    """
    found = _OCI.fullmatch(stage)
    if found is None:
        raise StageError(
            stage,
            "it is not oci://registry/repository, such as oci://ghcr.io/acme/shards: a host with "
            "its port, a repository in small letters, no tag, no digest, and no credentials but "
            "?credentials=type-slug/name of a Prefect block",
        )
    return StageAddress(found["registry"], found["repository"], found["credentials"] or "")


def checked_stage(stage: str | None) -> str | None:
    """Return an address as it was given, or raise StageError where it cannot be one."""
    if stage is None or stage == LOCAL:
        return stage
    if not isinstance(stage, str):
        raise TypeError(f"stage={stage!r} is no text, such as 's3-bucket/shards'")
    if scheme_of(stage) == OCI_SCHEME:
        split_stage(stage)
    elif not (re.fullmatch(BLOCK_NAME, stage) or _OWN.fullmatch(stage)):
        raise StageError(
            stage,
            f"it is neither {LOCAL!r}, nor a storage block as type-slug/name, such as "
            "s3-bucket/shards, nor oci://registry/repository",
        )
    return stage
