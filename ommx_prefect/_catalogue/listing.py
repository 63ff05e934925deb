"""List what a Local Registry has: sealed experiments, checkpoints, and flow runs left unsealed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ommx.experiment import (
    ExperimentCheckpointRef,
    ExperimentRef,
    list_experiment_checkpoints,
    list_experiments,
)

from ommx_prefect._catalogue.sizes import layer_sizes, stage_bytes
from ommx_prefect._format.earlier import earlier_solves, first_own_run
from ommx_prefect._format.parts import PART_OF
from ommx_prefect._recovery.unsealed import read_unsealed
from ommx_prefect._registry.names import OUR_NAMES
from ommx_prefect._registry.parts import is_part, runs_in, solves_in
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from ommx_prefect._targets import annotations as names
from ommx_prefect.exceptions import DocumentError, OmmxPrefectError

# Flag -> the annotation of the seal that raises it.
FLAGS = {"degraded": names.DEGRADED}


@dataclass(frozen=True)
class Listed:
    """One row of a listing: an experiment, a checkpoint, a part or an unsealed flow run.

    Attributes:
        kind: `sealed`, `checkpoint`, `unsealed`, or `part`, where parts are asked for.
        image: Its name, as people know it; of what is unsealed the id of the flow run.
        stored_name: Its name in the Local Registry; empty of what is unsealed.
        digest: Digest of its manifest; empty of what is unsealed.
        status: `finished`, `failed`, `interrupted`, `draft`; `unsealed`.
        updated_at: When it was written last, ISO 8601, UTC.
        runs: How many Runs it has of its own, without those of nights before.
        solves: How many solves it has of its own.
        bytes: Its size on disk; blobs that several experiments share count in each.
        flags: `degraded`, and what else is to be looked at.
    """

    kind: str
    image: str
    status: str
    updated_at: str
    stored_name: str = ""
    digest: str = ""
    flow: str = ""
    deployment: str = ""
    flow_run: str = ""
    flow_run_id: str = ""
    runs: int = 0
    solves: int = 0
    bytes: int = 0
    flags: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def repository(self) -> str:
        """The image name without its tag."""
        return self.image.rpartition(":")[0]


def listed(prefix: str = "", *, parts: bool = False) -> list[Listed]:
    """Return everything whose image name begins with a prefix, the newest first.

    What is unsealed has no image name yet: it is told by the name of its flow.

    Args:
        prefix: The beginning of image names.
        parts: Whether the parts of experiments are listed, too, whose Runs their experiment has.
    """
    refs = (ref for ref in list_experiments(prefix) if parts or not is_part(ref.annotations))
    # By OMMX's own time, which tells two of one second apart: the sort below keeps their order.
    newest_first = sorted(refs, key=lambda ref: ref.updated_at, reverse=True)
    found = [_sealed(ref) for ref in newest_first]
    found += [_checkpoint(ref) for ref in list_experiment_checkpoints(prefix)]
    found = [each for each in found if not each.image.startswith(OUR_NAMES)]
    found += [each for each in _unsealed() if each.flow.startswith(prefix)]
    return sorted(found, key=lambda each: each.updated_at, reverse=True)


def _sealed(ref: ExperimentRef) -> Listed:
    kind = "part" if is_part(ref.annotations) else "sealed"
    return _listed(kind, ref.image_name, ref.image_name, ref)


def _checkpoint(ref: ExperimentCheckpointRef) -> Listed:
    return _listed("checkpoint", ref.requested_image_name, ref.checkpoint_image_name, ref)


def _listed(
    kind: str, image: str, stored_name: str, ref: ExperimentRef | ExperimentCheckpointRef
) -> Listed:
    said = names.told_of_flow_run(ref.annotations)
    return Listed(
        kind,
        image,
        ref.status,
        _plain_time(ref.updated_at),
        stored_name,
        ref.manifest_digest,
        flow=said.get(names.FLOW_NAME, ""),
        deployment=said.get(names.DEPLOYMENT_NAME, ""),
        flow_run=said.get(names.FLOW_RUN_NAME, ""),
        flow_run_id=said.get(names.FLOW_RUN_ID) or said.get(PART_OF, ""),
        runs=runs_in(ref) - first_own_run(said),
        solves=solves_in(ref) - earlier_solves(said),
        bytes=_size(ref.manifest_digest),
        flags=tuple(flag for flag, key in FLAGS.items() if key in said),
        annotations=ref.annotations,
    )


def _size(digest: str) -> int:
    with contextlib.suppress(DocumentError, ValueError, KeyError):
        return sum(layer_sizes(digest).values())
    return 0


def _unsealed() -> Iterator[Listed]:
    for flow_run_id in unsealed_flow_runs():
        with contextlib.suppress(OmmxPrefectError, OSError):
            found = read_unsealed(flow_run_id)
            if found is None:
                continue
            yield Listed(
                "unsealed",
                flow_run_id,
                "unsealed",
                _iso(found.touched),
                flow=found.flow,
                flow_run=found.name,
                flow_run_id=flow_run_id,
                runs=len(found.shards) + len(found.open_attempts),
                bytes=stage_bytes(found.stage.path),
            )


def _plain_time(text: str) -> str:
    """Return OMMX's time, which has nanoseconds, to the second."""
    return f"{text[:19]}+00:00" if text.endswith("+00:00") else text


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
