"""Which stage a flow run has: said by whoever knows, or by Prefect's settings."""

from __future__ import annotations

import re

from prefect.settings.base import PrefectBaseSettings, build_settings_config

from ommx_prefect._oci.names import STAGE_SCHEME, split_stage
from ommx_prefect._stages.documents import FLOW_RECORD, LOCAL, OUTBOX_RECORD
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.oci import OciStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.shared import MirroredStage
from ommx_prefect.exceptions import StageError

_BLOCK = re.compile(r"[a-z0-9-]+/[^/\s]+")
# What this process was told: owner -> stage. Old entries go; the record of the flow run tells, too.
_told: dict[str, str] = {}
MOST_TOLD = 10_000


class OmmxSettings(PrefectBaseSettings):
    """Settings of this package: `PREFECT_INTEGRATIONS_OMMX_STAGE` and the like.

    Attributes:
        stage: The stage of flows that name none.
    """

    model_config = build_settings_config(("integrations", "ommx"))

    stage: str = LOCAL


def checked_stage(stage: str | None) -> str | None:
    """Return a stage as it was given, or raise StageError where it cannot be one."""
    if stage is None:
        return stage
    if not isinstance(stage, str):
        raise TypeError(f"stage={stage!r} is no text, such as 's3-bucket/shards'")
    if stage == LOCAL or _BLOCK.fullmatch(stage):
        return stage
    if stage.startswith(STAGE_SCHEME):
        split_stage(stage)
        return stage
    raise StageError(
        stage,
        f"it is neither {LOCAL!r}, nor a storage block as type-slug/name, such as "
        "s3-bucket/shards, nor oci://registry/repository",
    )


def tell_stage(owner: str, stage: str) -> None:
    """Remember the stage of a flow run in this process."""
    _told[owner] = stage
    while len(_told) > MOST_TOLD:
        _told.pop(next(iter(_told)), None)


def stage_of(
    owner: str,
    stage: str | None = None,
    default: str | None = None,
    *,
    recorded: str | None = None,
) -> Stage:
    """Return the stage of a flow run.

    Args:
        owner: Id of the flow run that is sealed.
        stage: Its stage, where the caller knows it better than anything that is written.
        default: The stage that its flow asks for, unless it was opened with another one.
        recorded: The stage in its record on this host, where the caller has read that.
    """
    local = LocalStage(owner)
    name = checked_stage(stage) or _told.get(owner) or recorded or _recorded(local)
    name = name or checked_stage(default or OmmxSettings().stage)
    if name is None or name == LOCAL:
        return local
    return (OciStage if name.startswith(STAGE_SCHEME) else MirroredStage)(owner, name)


def _recorded(local: Stage) -> str | None:
    record = local.read(FLOW_RECORD) or local.read(OUTBOX_RECORD)
    return None if record is None else str(record.get("stage", LOCAL))
