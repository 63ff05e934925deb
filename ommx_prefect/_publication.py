"""How a verified experiment is published so that a seal may be killed at any step of it.

Moving names, writing the answer down and letting the shards go are several steps. What they are
is written to the stage first (`sealing.json`); the next seal of the flow run takes all of them
again, and each may be taken twice. Without that a seal killed between two of them would lose
the Runs of the seal before, or publish the same experiment under a second name.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ommx_prefect._home import Home
from ommx_prefect._registry import drop_name, find
from ommx_prefect._sealed import SealedExperiment, home_of_sealed, read_answer, write_sealed
from ommx_prefect._stage import LocalStage

INTENT = "sealing.json"


@dataclass(frozen=True)
class Publication:
    """What is to be published, and what is let go then.

    Attributes:
        sealed: The answer of the seal.
        aliases: Further names to move to the experiment.
        keys: The names of all shards and parts that the experiment holds.
        cut_off: The names of the attempts that it holds without a shard.
    """

    sealed: SealedExperiment
    aliases: tuple[str, ...]
    keys: tuple[str, ...]
    cut_off: tuple[str, ...]


def publish(stage: LocalStage, home: Home, publication: Publication) -> None:
    """Publish an experiment that is stored and verified, and let its shards go."""
    stage.write(INTENT, asdict(publication))
    _publish(stage, home, publication)


def finish_publication(stage: LocalStage, *, replace: bool) -> None:
    """Finish what a killed seal has begun to publish, if it may still be published."""
    publication = _read(stage)
    if publication is None:
        return
    home = home_of_sealed(publication.sealed)
    if _is_possible(stage, home, publication.sealed, replace):
        _publish(stage, home, publication)
    else:  # nothing is lost: the shards are there until the answer is written
        stage.remove(INTENT)


def _publish(stage: LocalStage, home: Home, publication: Publication) -> None:
    sealed = publication.sealed
    home.publish(sealed.manifest_digest, [sealed.stored_name, *publication.aliases])
    _drop_checkpoint(stage, sealed.stored_name)
    write_sealed(stage, sealed, list(publication.keys))
    stage.discard_starts(publication.cut_off)
    stage.discard(publication.keys)
    stage.remove(INTENT)


def _drop_checkpoint(stage: LocalStage, stored_name: str) -> None:
    """Let go of the checkpoint that this flow run had before, and of no other's."""
    before, _ = read_answer(stage) or (None, ())
    if before is None or before.status == "finished" or before.stored_name == stored_name:
        return
    if find(before.stored_name) == before.manifest_digest:
        drop_name(before.stored_name)


def _is_possible(stage: LocalStage, home: Home, sealed: SealedExperiment, replace: bool) -> bool:
    if not home.holds(sealed.manifest_digest):
        return False
    before = read_answer(stage)
    own = {None, sealed.manifest_digest, before and before[0].manifest_digest}
    return replace or home.find(sealed.stored_name) in own


def _read(stage: LocalStage) -> Publication | None:
    document = stage.read(INTENT)
    if document is None:
        return None
    sealed = document.pop("sealed")
    return Publication(
        SealedExperiment(**{**sealed, "warnings": tuple(sealed["warnings"])}),
        **{name: tuple(value) for name, value in document.items()},
    )
