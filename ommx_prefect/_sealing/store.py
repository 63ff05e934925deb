"""Store a planned experiment, verified, under no name of the user's."""

from __future__ import annotations

from ommx_prefect._sealing import ledger
from ommx_prefect._sealing.plan import SealPlan


def store(plan: SealPlan) -> None:
    """Store an experiment with all its payload, and check that it is what was planned.

    An earlier seal may have let links to payload go just before its shard was written, so all of
    it is brought within reach again.

    Raises:
        DocumentError: It reads back differently, or payload is lost; the shards are kept.
    """
    inputs, target = plan.inputs, plan.target
    before = inputs.contents.documents
    target.keep(*([before] if before else []), *inputs.staged.documents)
    inputs.stage.add_blob(plan.ledger, ledger.MEDIA_TYPE)
    target.store(plan.composition)
