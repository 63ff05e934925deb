"""How a verified experiment is published so that a seal may be killed at any step of it.

Moving names, writing the answer down and letting the shards go are several steps. What they are
is written to the stage first (`sealing.json`); the next seal of the flow run takes all of them
again, and each may be taken twice. Without that a seal killed between two of them would lose
the Runs of the seal before, or publish the same experiment under a second name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from ommx_prefect._registry.names import NameMovedError, drop_name, find
from ommx_prefect._sealing.result import (
    SealedExperiment,
    read_answer,
    target_of_sealed,
    write_sealed,
)
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.documents import INTENT
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._targets.protocol import Target


@dataclass(frozen=True)
class Publication:
    """What is to be published, and what is let go then.

    Attributes:
        sealed: The answer of the seal.
        names: The names to point to the experiment, and the digest that each points to before.
        keys: The names of all shards and parts that the experiment holds.
        cut_off: The attempts that it holds without a shard, and the number of the last checkpoint
            that it holds of each.
    """

    sealed: SealedExperiment
    names: Mapping[str, str | None]
    keys: tuple[str, ...]
    cut_off: Mapping[str, int]


def publish(stage: Stage, target: Target, publication: Publication) -> None:
    """Publish an experiment that is stored and verified, and let its shards go.

    Raises:
        NameMovedError: Another flow run has one of the names meanwhile; the shards are kept.
    """
    stage.write(INTENT, asdict(publication))
    try:
        _publish(stage, target, publication)
    except NameMovedError:
        stage.remove(INTENT)
        raise


def finish_publication(stage: Stage) -> None:
    """Finish what a killed seal has begun to publish, as far as no later seal has its names."""
    publication = _read(stage)
    if publication is None:
        return
    target = target_of_sealed(publication.sealed)
    free = _free_names(stage, target, publication)
    if publication.sealed.stored_name in free and target.holds(publication.sealed.manifest_digest):
        _publish(stage, target, replace(publication, names=free))
    else:  # nothing is lost: the shards are there until the answer is written
        stage.remove(INTENT)


def _publish(stage: Stage, target: Target, publication: Publication) -> None:
    sealed = publication.sealed
    target.publish(sealed.manifest_digest, publication.names)
    _drop_checkpoint(stage, sealed.stored_name)
    write_sealed(stage, sealed, list(publication.keys))
    stage.discard_starts(CheckpointFiles(stage).discard(publication.cut_off))
    stage.discard(publication.keys)
    stage.remove(INTENT)


def _drop_checkpoint(stage: Stage, stored_name: str) -> None:
    """Let go of the checkpoint that this flow run had before, and of no other's."""
    before, _ = read_answer(stage) or (None, ())
    if before is None or before.status == "finished" or before.stored_name == stored_name:
        return
    if find(before.stored_name) == before.manifest_digest:
        drop_name(before.stored_name)


def _free_names(stage: Stage, target: Target, publication: Publication) -> dict[str, str | None]:
    """Return the names that point to what they pointed to, to nothing, or to this flow run's."""
    before = read_answer(stage)
    own = {None, publication.sealed.manifest_digest, before and before[0].manifest_digest}
    found = {name: target.find(name) for name in publication.names}
    return {x: found[x] for x, stood in publication.names.items() if found[x] in {stood, *own}}


def _read(stage: Stage) -> Publication | None:
    document = stage.read(INTENT)
    if document is None:
        return None
    sealed = document.pop("sealed")
    return Publication(
        SealedExperiment(**{**sealed, "warnings": tuple(sealed["warnings"])}),
        names=document.get("names", {}),
        keys=tuple(document["keys"]),
        cut_off=document["cut_off"],
    )
