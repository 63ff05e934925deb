"""Choose the target in which an experiment is published, or find the one in which it was.

| stage | flow run | the experiment is |
|---|---|---|
| `oci://REGISTRY/...` | finished, with a name in REGISTRY | in REGISTRY, and is composed there |
| any | any other, or too large for a registry | in the Local Registry, with all payload |

A checkpoint of OMMX is a thing of the Local Registry, and so is an anonymous experiment. A name
in another registry than the stage's is pushed where `push=True` says so, as always.
"""

from __future__ import annotations

from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.resolve import stage_at
from ommx_prefect._targets.local import LocalTarget
from ommx_prefect._targets.oci import OciTarget
from ommx_prefect._targets.protocol import Target


def targets_for(stage: Stage, image_name: str, status: str) -> tuple[Target, ...]:
    """Return where an experiment that ended with this status can be published, best first."""
    here = LocalTarget(stage)
    if status == "finished" and stage.serves(image_name):
        return OciTarget(stage, image_name), here
    return (here,)


def target_of(stage: Stage, image_name: str, target_stage: str) -> Target:
    """Return where an experiment was published.

    Args:
        stage: The stage of its flow run.
        image_name: Its name.
        target_stage: The stage in whose registry it was composed; empty for the Local Registry.
    """
    if target_stage:
        return OciTarget(stage_at(stage.flow_run_id, target_stage), image_name)
    return LocalTarget(stage)
