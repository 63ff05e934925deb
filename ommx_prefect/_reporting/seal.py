"""Seal a flow run by hand, and show what came of it and of its push."""

from __future__ import annotations

from ommx_prefect._reporting.publish import report_again, report_push
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._sealing.seal import seal_by_id
from ommx_prefect._stages.documents import End


def seal(flow_run_id: object, *, stage: str | None = None) -> SealedExperiment:
    """Seal a flow run that has ended: compose its Runs into one Experiment and publish it.

    The flow's hook does this by itself; call it after a crash in which no hook fired, after a
    seal that failed, or to ask what was sealed. It may be called as often as you like: without
    new Runs the answer is the same, and what came later extends the experiment. With `push=True`
    on the flow, a push that failed before is tried again; `pushed` of the answer tells.

    Args:
        flow_run_id: Prefect's id of the flow run, as a UUID or text in any usual spelling. That
            of a subflow without an experiment of its own means the flow run that it is part of.
        stage: Where its shards wait, as for `ommx_prefect.flow`; a host on which the flow run
            never ran does not know by itself.

    Raises:
        InvalidFlowRunIdError: It is no id.
        FlowRunNotFinishedError: It has not ended.
        NotSealedError: Nothing of it was recorded on this Local Registry.
        SealError: It could not be sealed; its records are kept.
        StageError: The stage does not answer.
    """
    return seal_shown(flow_run_id, stage=stage)


def seal_shown(
    flow_run_id: object, *, stage: str | None = None, end: End | None = None
) -> SealedExperiment:
    """Seal a flow run as `seal` does, and show it where something changed.

    Args:
        flow_run_id: As for `seal`.
        stage: As for `seal`.
        end: How it ended, where the caller knows better than Prefect.
    """
    done = seal_by_id(flow_run_id, stage=stage, end=end)
    if done.sealed.manifest_digest != done.was_digest:
        report_again(done.sealed)
    elif done.sealed.pushed is not None and done.sealed.pushed != done.was_pushed:
        report_push(done.sealed)
    return done.sealed
