"""Store a planned experiment, publish it, and discard its shards; killing any step is safe.

Moving names, writing the answer down and letting the shards go are several steps. What they are
is written to the stage first (`sealing.json`); the next seal of the flow run takes all of them
again, and each may be taken twice. Without that a seal killed between two of them would lose
the Runs of the seal before, or publish the same experiment under a second name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ommx_prefect._flowrun.attachment_names import forget_names
from ommx_prefect._flowrun.pending import forget_task_runs
from ommx_prefect._format import parts
from ommx_prefect._format.compose import layers_of
from ommx_prefect._format.model import Descriptor
from ommx_prefect._registry.names import NameMovedError, drop_name, find
from ommx_prefect._registry.parts import forget_unnamed_parts
from ommx_prefect._sealing import ledger
from ommx_prefect._sealing.names import aliases_to_move, free_name
from ommx_prefect._sealing.plan import SealPlan
from ommx_prefect._sealing.result import (
    PreviousSeal,
    SealedExperiment,
    target_of_sealed,
    write_sealed,
)
from ommx_prefect._shards import unwritten
from ommx_prefect._shards.archive import payload_layers
from ommx_prefect._shards.schema import CLOSED, Key
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.documents import INTENT, read_document, write_document
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.quarantine import Quarantine
from ommx_prefect._targets.protocol import Target


@dataclass(frozen=True)
class Publication:
    """The steps of a publication, kept in the stage while they are taken.

    Attributes:
        sealed: The answer of the seal.
        names: The names to point to the experiment, and the digest that each points to before.
        keys: The names of all shards and parts that the experiment holds.
        cut_off: The interrupted attempts that it holds without a shard, and the number of the last
            checkpoint that it holds of each.
    """

    __pydantic_config__ = CLOSED

    sealed: SealedExperiment
    names: Mapping[str, str | None]
    keys: tuple[Key, ...]
    cut_off: Mapping[Key, int]


def keep_payload(plan: SealPlan) -> None:
    """Make all payload of an experiment available to its target, the ledger first.

    An earlier seal may have let links to payload go just before its shard was written, so that is
    done for all of it.
    """
    inputs, target, stage = plan.inputs, plan.target, plan.inputs.stage
    before = inputs.contents.all_documents
    own = {stage.add_blob(plan.ledger, ledger.MEDIA_TYPE).digest}
    if plan.parts:
        own.add(stage.add_blob(plan.parts_document, parts.MEDIA_TYPE).digest)
    if inputs.previous and not inputs.previous.target.target_stage:
        for each in before:
            stage.pin_sealed(each)
    else:
        target.keep([layer for each in before for layer in payload_layers(each)])
    if plan.earlier.documents:  # of this Local Registry, wherever the shards come from
        stage.pin_sealed(plan.earlier.documents)
    others = filter(None, (*before, plan.earlier.documents))
    own.update(layer.digest for each in others for layer in payload_layers(each))
    target.keep([x for x in _layers_of(plan) if x.digest not in own])


def _layers_of(plan: SealPlan) -> list[Descriptor]:
    """Return the payload layers of an experiment, each once."""
    return sorted(
        set().union(*(layers_of(each.experiment) for each in plan.compositions)),
        key=lambda layer: layer.digest,
    )


def store(plan: SealPlan) -> None:
    """Store an experiment whose payload is within reach, and check that it is what was planned.

    Raises:
        DocumentError: It reads back differently, or payload is lost; the shards are kept.
    """
    _store_parts(plan)
    plan.target.store(plan.composition)


def _store_parts(plan: SealPlan) -> None:
    """Store the parts of an experiment, and name them: their index comes last.

    The name of a part is made of its digest, so that it takes nobody's place, and the next seal
    finds what a killed one has stored. What no index names in the end is forgotten then.
    """
    target = plan.target
    for part in plan.parts:
        target.store(part.composition)
        target.publish(part.composition.documents.digest, {part.name: target.find(part.name)})


def publish(plan: SealPlan) -> PreviousSeal:
    """Publish an experiment that is stored and verified, and discard its shards.

    Raises:
        NameMovedError: Another flow run has one of the names meanwhile; the shards are kept, and
            the names have to be chosen again.
    """
    stage, target, inputs = plan.inputs.stage, plan.target, plan.inputs
    names = _names_to_move(plan)
    if free_name(target, inputs) != plan.sealed.image_name:  # taken while it was stored
        raise NameMovedError(f"{plan.sealed.image_name} is another flow run's now")
    publication = Publication(plan.sealed, names, tuple(sorted(plan.keys)), plan.interrupted)
    published = carry_out(stage, target, publication, inputs.last)
    Quarantine(stage).report()
    if inputs.is_finished:
        stage.release()
        forget_names(stage.flow_run_id)
    unwritten.forget(stage.flow_run_id, plan.keys)
    for flow_run_id in (stage.flow_run_id, *inputs.staged.subflows):
        forget_task_runs(flow_run_id)
    return published


def _names_to_move(plan: SealPlan) -> dict[str, str | None]:
    """Return the names of an experiment, and what each points to now."""
    sealed, target = plan.sealed, plan.target
    names = {sealed.stored_name: target.find(sealed.stored_name)}
    if plan.inputs.is_finished:
        names |= aliases_to_move(target, plan.inputs, sealed.image_name)
    return names


def carry_out(
    stage: Stage, target: Target, publication: Publication, last: PreviousSeal | None
) -> PreviousSeal:
    """Write a publication down, and take its steps.

    Args:
        stage: The stage of the flow run.
        target: Where the experiment is stored.
        publication: What is to be published.
        last: The last seal of the flow run.

    Raises:
        NameMovedError: Another flow run has one of the names meanwhile.
    """
    write_document(stage, INTENT, publication)
    try:
        return _take_steps(stage, target, publication, last)
    except NameMovedError:
        stage.remove(INTENT)
        raise


def read_publication(stage: Stage) -> Publication | None:
    """Read what a seal was publishing when it was killed; None where none was."""
    return read_document(stage, INTENT, Publication)


def finish_publication(stage: Stage, last: PreviousSeal | None) -> PreviousSeal | None:
    """Finish what a killed seal has begun to publish, as far as no later seal has its names.

    Args:
        stage: The stage of the flow run.
        last: What the stage has written down of its last seal.

    Returns:
        The last seal after that.
    """
    publication = read_publication(stage)
    if publication is None:
        return last
    target = target_of_sealed(publication.sealed)
    free = _free_names(target, publication, last)
    if publication.sealed.stored_name in free and target.holds(publication.sealed.manifest_digest):
        return _take_steps(stage, target, replace(publication, names=free), last)
    stage.remove(INTENT)  # nothing is lost: the shards are there until the answer is written
    return last


def _take_steps(
    stage: Stage, target: Target, publication: Publication, last: PreviousSeal | None
) -> PreviousSeal:
    sealed = publication.sealed
    target.publish(sealed.manifest_digest, publication.names)
    _drop_checkpoint(sealed.stored_name, last)
    published = write_sealed(stage, sealed, publication.keys)
    if sealed.parts or (last and last.sealed.parts):
        forget_unnamed_parts(sealed.flow_run_id)
    stage.discard_starts(CheckpointFiles(stage).discard(publication.cut_off))
    stage.discard(publication.keys)
    stage.remove(INTENT)
    return published


def _drop_checkpoint(stored_name: str, last: PreviousSeal | None) -> None:
    """Remove the checkpoint that this flow run had before, and no other's."""
    before = last.sealed if last else None
    if before is None or before.status == "finished" or before.stored_name == stored_name:
        return
    if find(before.stored_name) == before.manifest_digest:
        drop_name(before.stored_name)


def _free_names(
    target: Target, publication: Publication, last: PreviousSeal | None
) -> dict[str, str | None]:
    """Return the names that point to what they pointed to, to nothing, or to this flow run's."""
    own = {None, publication.sealed.manifest_digest, last.sealed.manifest_digest if last else None}
    found = {name: target.find(name) for name in publication.names}
    return {x: found[x] for x, before in publication.names.items() if found[x] in {before, *own}}
