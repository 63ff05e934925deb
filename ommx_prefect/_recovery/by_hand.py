"""Seal one flow run, or one task run outside flows, on request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ommx_prefect._recovery.decision import Decision
from ommx_prefect._recovery.prefect_answer import UNKNOWN, connect
from ommx_prefect._recovery.recover import Recovered, Recovery, recover_one, seal_decided
from ommx_prefect._recovery.unsealed import Unsealed, read_unsealed
from ommx_prefect._reporting.seal import seal, seal_shown
from ommx_prefect._sealing.publish import read_publication
from ommx_prefect._sealing.result import SealedExperiment, read_previous
from ommx_prefect._stages.damage import set_aside_files
from ommx_prefect._stages.documents import INTENT, SEALED_RECORD, End, read_end
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.quarantine import Quarantine
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect.exceptions import DocumentError, SealError, UnknownFormatError


def seal_by_hand(
    flow_run_id: str,
    *,
    interrupted: bool = False,
    stage: str | None = None,
    quarantine: bool = False,
) -> SealedExperiment:
    """Seal one flow run, or task run outside flows, now.

    Args:
        flow_run_id: Prefect's id of it.
        interrupted: Do not ask Prefect how it ended: it was interrupted.
        stage: Where its shards wait, as for `ommx_prefect.seal`.
        quarantine: Set damaged records aside first, and seal the rest without them.

    Raises:
        NotSealedError: Nothing of it was recorded on this Local Registry.
        SealError: It could not be sealed, or is known not to be interrupted; its records are kept.
    """
    if quarantine:
        _set_aside(flow_run_id, stage)
    unsealed = read_unsealed(flow_run_id)
    lone = unsealed if unsealed is not None and unsealed.lone_attempt is not None else None
    if interrupted:
        return _seal_interrupted(flow_run_id, lone, stage)
    if lone is None:
        return seal(flow_run_id, stage=stage)
    found = next(_recover_now(flow_run_id))
    if found.sealed is None:
        raise SealError(flow_run_id, found.why)
    return found.sealed


def _set_aside(flow_run_id: str, stage: str | None) -> None:
    """Set damaged records aside: first here, since they name the place where others are."""
    local = LocalStage(flow_run_id)
    set_aside_files(local)
    for name, read in ((SEALED_RECORD, read_previous), (INTENT, read_publication)):
        try:
            read(local)
        except UnknownFormatError:
            raise
        except DocumentError:
            Quarantine(local).move(local.path / name, name)
    found = stage_of(flow_run_id, stage)
    if isinstance(found, SharedStage):
        found.set_aside()


def _seal_interrupted(
    flow_run_id: str, lone: Unsealed | None, stage: str | None
) -> SealedExperiment:
    """Seal without asking Prefect, unless it is known to have ended otherwise."""
    known = read_end(stage_of(flow_run_id, stage))
    if known is not None and known.status != "interrupted":
        reason = f"it is known to be {known.state}; seal it without calling it interrupted"
        raise SealError(flow_run_id, reason)
    end = End("interrupted", UNKNOWN, "it was called interrupted by hand")
    if lone is not None:
        return seal_decided(lone, Decision("seal", "", end=end))
    return seal_shown(flow_run_id, stage=stage, end=end)


def _recover_now(flow_run_id: str) -> Iterator[Recovered]:
    with contextlib.ExitStack() as stack:
        yield from recover_one(flow_run_id, Recovery(min_age_seconds=0), connect(stack))
