"""Where the experiment of a flow run is to stand, or stands.

| stage | flow run | the experiment stands |
|---|---|---|
| `oci://REGISTRY/...` | finished, with a name in REGISTRY | in REGISTRY, and is composed there |
| any | any other, or too large for a registry | in the Local Registry, with all payload |

A checkpoint of OMMX is a thing of the Local Registry, and so is an anonymous experiment. A name
in another registry than the stage's is pushed where `push=True` says so, as always.
"""

from __future__ import annotations

from ommx_prefect._stages.oci import OciStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._targets.local import Home, LocalHome
from ommx_prefect._targets.oci import RegistryHome


def homes_for(stage: Stage, image_name: str, status: str) -> tuple[Home, ...]:
    """Return where an experiment that ended with this status can stand, best first."""
    here = LocalHome(stage)
    if isinstance(stage, OciStage) and status == "finished" and stage.serves(image_name):
        return RegistryHome(stage, image_name), here
    return (here,)


def home_of(stage: Stage, image_name: str, composed_in: str) -> Home:
    """Return where an experiment stands: what its answer says, as `SealedExperiment` has it."""
    if composed_in:
        return RegistryHome(OciStage(stage.owner, composed_in), image_name)
    return LocalHome(stage)
