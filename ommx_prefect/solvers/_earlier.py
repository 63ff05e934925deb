"""Find the solution of an earlier solve of the same instance to start from.

| asked | looked at, the newest first |
|---|---|
| `resume=True` | attempts of the same task in this flow run, dead ones too; what of it was sealed |
| | before the flow run was retried; then as `"previous"`, failed nights too |
| `start="previous"` | experiments of the same deployment, or of the same image name without tag |

The same instance is one of the same name; that a solution fits is tried before a solver has it.
What cannot be read is noted, and the next one looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from ommx import Sense, Solution
from ommx.experiment import (
    Experiment,
    ExperimentCheckpointRef,
    ExperimentRef,
    list_experiment_checkpoints,
    list_experiments,
)

from ommx_prefect._format.decode import decode
from ommx_prefect._format.earlier import own
from ommx_prefect._format.model import Descriptor, Documents
from ommx_prefect._recording.current import note_here, recording_here
from ommx_prefect._registry.names import OUR_NAMES
from ommx_prefect._registry.parts import is_part
from ommx_prefect._registry.run_parameters import run_parameters
from ommx_prefect._registry.whole import whole
from ommx_prefect._shards import columns
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._solver.start import UnfitStartError, solution_in
from ommx_prefect._solver.telemetry import INCUMBENT
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.documents import FlowRecord, read_flow_record
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._targets.annotations import DEPLOYMENT_ID, FLOW_RUN_ID

# So many experiments are opened at most.
MOST_EXPERIMENTS = 20


def earlier_solution(instance: str, adapter: str, *, resume: bool) -> Solution | None:
    """Return what an earlier solve of an instance has left, if there is one.

    Args:
        instance: The name of the instance.
        adapter: Name of the adapter's class; another attempt of this flow run is of the same.
        resume: Whether attempts of this flow run are looked at, and what was never finished.
    """
    recording = recording_here()
    if recording is None:
        return None
    stage = stage_of(recording.attempt.root_flow_run_id)
    if resume:
        for solution in _in_stage(stage, recording.attempt, instance, adapter):
            return solution
    record = read_flow_record(stage)
    if record is None:
        return None
    task = recording.attempt.task
    sealed = _sealed_before(record, task, instance, adapter) if resume else ()
    return next(chain(sealed, _in_experiments(record, instance, resume=resume)), None)


def _in_stage(stage: Stage, own: Attempt, instance: str, adapter: str) -> Iterator[Solution]:
    """Yield the solutions of earlier attempts, ended ones and dead ones, the newest first."""
    files = CheckpointFiles(stage)
    dead = filter(None, (files.record(attempt.key) for attempt in files.attempts()))
    found: list[tuple[Shard, Callable[[Descriptor], Path]]] = [
        *((shard, lambda layer: stage.bring(layer.digest, layer.size)) for shard in stage.shards()),
        *((shard, partial(_payload, files, shard.attempt.key)) for shard in dead),
    ]
    for shard, bring in sorted(found, key=lambda each: each[0].attempt.order, reverse=True):
        if shard.attempt.task == own.task and shard.attempt.key != own.key:
            left: list[Solution] = []
            with _unreadable_skipped(f"run {shard.attempt.key}"):
                layers = _layers(shard.documents, instance, adapter)
                left += [Solution.from_v2_bytes(bring(each).read_bytes()) for each in layers]
            yield from left


@contextlib.contextmanager
def _unreadable_skipped(what: str) -> Iterator[None]:
    """Note what is damaged, or gone meanwhile: what is older may have a solution all the same."""
    try:
        yield
    except Exception as error:
        note_here(f"an earlier solve in {what} cannot be read: {type(error).__name__}: {error}")


def _payload(files: CheckpointFiles, key: str, layer: Descriptor) -> Path:
    return files.payload(key, layer.digest)


def _layers(documents: Documents | None, instance: str, adapter: str) -> Iterator[Descriptor]:
    for run in decode(documents).runs if documents else ():
        asked = run.parameters.get("instance"), run.parameters.get("adapter")
        if asked == (instance, adapter) and INCUMBENT in run.attachments.entries:
            yield run.attachments.entries[INCUMBENT]


def _sealed_before(
    record: FlowRecord, task: str, instance: str, adapter: str
) -> Iterator[Solution]:
    """Yield what a task has left in the experiment of this flow run, which is retried since."""

    def is_own(name: str, said: Mapping[str, str]) -> bool:
        return said.get(FLOW_RUN_ID) == record.flow_run_id

    asked = {"instance": instance, "adapter": adapter, columns.TASK: task}
    return _best_of_each(_names(is_own, resume=True), asked)


def _in_experiments(record: FlowRecord, instance: str, *, resume: bool) -> Iterator[Solution]:
    """Yield the best Solution of each earlier experiment, the newest experiment first."""
    repository = record.image_name.rpartition(":")[0]

    def is_earlier(name: str, said: Mapping[str, str]) -> bool:
        is_deployed = record.deployment_id and said.get(DEPLOYMENT_ID) == record.deployment_id
        is_named = repository and name.startswith(f"{repository}:")
        return said.get(FLOW_RUN_ID) != record.flow_run_id and bool(is_deployed or is_named)

    return _best_of_each(_names(is_earlier, resume=resume), {"instance": instance})


def _best_of_each(names: Sequence[str], asked: Mapping[str, str]) -> Iterator[Solution]:
    for name in names[:MOST_EXPERIMENTS]:
        found: list[Solution] = []
        with _unreadable_skipped(name):
            found += _solutions_in(whole(Experiment.load(name)), asked)
        if found:
            yield best_of(found)


def _solutions_in(experiment: Experiment, asked: Mapping[str, str]) -> Iterator[Solution]:
    logged = run_parameters(experiment)
    for run in own(experiment.runs, experiment.annotations):
        if asked.items() <= logged[run.run_id].items():
            with contextlib.suppress(UnfitStartError):
                yield solution_in(run)


def best_of(solutions: Sequence[Solution]) -> Solution:
    """Return the best of some Solutions of one instance: a feasible one, if there is one."""
    sign = -1.0 if solutions[0].sense == Sense.Maximize else 1.0
    return min(solutions, key=lambda each: (not each.feasible, sign * each.objective))


def _names(is_wanted: Callable[[str, Mapping[str, str]], bool], *, resume: bool) -> list[str]:
    """Return the names of experiments to look at, the newest first."""
    known: list[tuple[str, str, str, ExperimentRef | ExperimentCheckpointRef]] = [
        (x.updated_at, x.image_name, x.image_name, x)
        for x in list_experiments()
        if not (is_part(x.annotations) or x.image_name.startswith(OUR_NAMES))
    ]
    if resume:
        known += [
            (x.updated_at, x.checkpoint_image_name, x.requested_image_name, x)
            for x in list_experiment_checkpoints()
        ]
    found = [
        (updated_at, stored)
        for updated_at, stored, name, ref in known
        if is_wanted(name, ref.annotations)
    ]
    return [stored for _, stored in sorted(found, reverse=True)]
