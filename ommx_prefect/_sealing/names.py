"""Choose the image name of an experiment, and the aliases that are moved to it.

Two flow runs may end in the same moment and want the same name; none takes it from a later one.

A host that wrote the record of a flow run (it started there) does what the record says. Any other
host has it from a place to which many may write. It takes a name only from an experiment of the
flow to which, as Prefect says, the flow run belongs; there and in its own Local Registry.
"""

from __future__ import annotations

from datetime import datetime

from ommx_prefect._oci.image_name import with_tag
from ommx_prefect._registry.names import checkpoint_name
from ommx_prefect._sealing.load import SealInputs
from ommx_prefect._targets.annotations import (
    FLOW_NAME,
    FLOW_RUN_ID,
    SCHEDULED_TIME,
    read_annotations,
)
from ommx_prefect._targets.local import LocalTarget
from ommx_prefect._targets.protocol import Target


def free_name(target: Target, inputs: SealInputs) -> str:
    """Return the name to publish: never one that another flow run has taken meanwhile.

    Nor does the checkpoint of one flow run take the place of another's, which has no other name.
    """
    record, name = inputs.record, inputs.record.image_name
    replaces = record.replace and not _was_finished(inputs)
    if not _is_free(target, name, inputs, replaces=replaces):
        return record.other_name
    if not inputs.is_finished and not _is_free(target, checkpoint_name(name), inputs):
        return record.other_name
    return name


def stored_name(inputs: SealInputs, image_name: str) -> str:
    """Return the name to store an experiment under: of one that is not finished, a checkpoint's."""
    return image_name if inputs.is_finished else checkpoint_name(image_name)


def aliases_to_move(target: Target, inputs: SealInputs, name: str) -> dict[str, str | None]:
    """Return the aliases to move, and what each points to now.

    What comes late takes none back from a later flow run.

    Args:
        target: Where the experiment is published.
        inputs: What is sealed.
        name: The name of the experiment.
    """
    record = inputs.record
    found = {alias: target.find(alias) for alias in (with_tag(name, x) for x in record.aliases)}
    replaces = not _was_finished(inputs)
    return {x: found[x] for x in found if _is_free(target, x, inputs, replaces=replaces)}


def _was_finished(inputs: SealInputs) -> bool:
    return inputs.previous is not None and inputs.previous.sealed.status == "finished"


def _is_free(target: Target, name: str, inputs: SealInputs, *, replaces: bool = False) -> bool:
    """Tell whether a name may be taken; one that replaces takes it from earlier flow runs only."""
    places = [target]
    if target.target_stage and not inputs.stage.is_own():
        places.append(LocalTarget(inputs.stage))
    return all(_is_free_in(place, name, inputs, replaces=replaces) for place in places)


def _is_free_in(target: Target, name: str, inputs: SealInputs, *, replaces: bool) -> bool:
    record, digest = inputs.record, target.find(name)
    if digest is None:
        return True
    found = read_annotations(target, digest)
    if found.get(FLOW_RUN_ID) == record.flow_run_id:
        return True
    if not inputs.stage.is_own() and not (inputs.flow and found.get(FLOW_NAME) == inputs.flow):
        return False
    return replaces and not _is_later(found.get(SCHEDULED_TIME, ""), record.scheduled_time)


def _is_later(time: str, than: str) -> bool:
    try:
        return datetime.fromisoformat(time) > datetime.fromisoformat(than)
    except (ValueError, TypeError):  # no experiment of a flow run
        return False
