"""Read everything that a seal depends on, once, into one frozen value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ommx_prefect._flowrun.pending import expected_task_runs
from ommx_prefect._prefect.api import TaskRunRow, find_deployment_name, find_flow_of
from ommx_prefect._sealing.previous import SealedContents, find_previous, is_held, read_contents
from ommx_prefect._sealing.records import read_staged
from ommx_prefect._sealing.result import PreviousSeal
from ommx_prefect._sealing.staged import Staged, with_ended
from ommx_prefect._sealing.task_runs import ask_for_task_runs
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.documents import End, FlowRecord
from ommx_prefect._stages.protocol import Stage
from ommx_prefect.exceptions import SealError

# What is known here is a checkpoint, and less than what the other host has composed.
SEALED_ELSEWHERE = (
    "its records are gone from {}: another host has sealed it as finished. Ask there, or load its "
    "image name"
)


@dataclass(frozen=True)
class SealInputs:
    """Everything that a seal depends on.

    Attributes:
        stage: The stage of the flow run.
        record: What is known of the flow run.
        end: How it ended.
        last: The last seal of it, whatever became of its experiment.
        previous: The last seal of it whose experiment is still stored; the new one extends it.
        staged: What waits in the stage and is not sealed.
        rows: What Prefect's API knows of its task runs.
        problems: Why the API could not be asked.
        expected: The ids of task runs that this process has begun or submitted.
        deployment_name: The name of its deployment.
        checkpoints: The last checkpoints of the attempts that wait, by key.
        contents: What the experiment of the previous seal holds.
        flow: Where another host wrote the record: the name of its flow, as Prefect tells it.
    """

    stage: Stage
    record: FlowRecord
    end: End
    last: PreviousSeal | None
    previous: PreviousSeal | None
    staged: Staged
    rows: Sequence[TaskRunRow] = ()
    problems: Sequence[str] = ()
    expected: frozenset[str] = frozenset()
    deployment_name: str = ""
    checkpoints: Mapping[str, Shard] = field(default_factory=dict)
    contents: SealedContents = field(default_factory=SealedContents)
    flow: str = ""

    @property
    def sealed_keys(self) -> frozenset[str]:
        """The names of the shards that the previous seal holds."""
        return self.previous.keys if self.previous else frozenset()

    @property
    def composed(self) -> SealInputs:
        """The inputs without the records of attempts, which take 300 MB for 10^5 attempts."""
        return replace(self, staged=self.staged.composed, checkpoints={})

    @property
    def has_news(self) -> bool:
        """Whether an attempt, or a call on the experiment, waits that is not sealed."""
        return bool(self.staged.keys or self.staged.interrupted)

    @property
    def is_sealed(self) -> bool:
        """Whether the previous seal holds all there is, and says how it ended."""
        before = self.previous
        return before is not None and before.sealed.status == self.end.status and not self.has_news

    @property
    def is_finished(self) -> bool:
        """Whether the experiment will be a finished one."""
        return self.end.status == "finished"


def load(stage: Stage, record: FlowRecord, end: End, last: PreviousSeal | None) -> SealInputs:
    """Read all that a seal needs; Prefect is asked only where something is to be sealed.

    Args:
        stage: The stage of the flow run.
        record: What is known of the flow run.
        end: How it ended.
        last: What the stage has written down of its last seal.

    Raises:
        SealError: What was recorded is gone, or belongs to the seal of another host.
    """
    last = find_previous(stage, record, last)
    previous = last if last is not None and is_held(last) else None
    keys = previous.keys if previous else frozenset()
    stage.collect(keys)
    inputs = SealInputs(stage, record, end, last, previous, read_staged(stage, keys))
    if inputs.is_sealed:
        return inputs
    _require_records(inputs)
    return _completed(inputs)


def _require_records(inputs: SealInputs) -> None:
    """Raise SealError where there is nothing to seal, for what was recorded is somewhere else."""
    stage, previous, last = inputs.stage, inputs.previous, inputs.last
    if previous is None and last is not None and not inputs.has_news:
        name = f"{last.sealed.image_name} ({last.sealed.manifest_digest})"
        reason = f"its experiment {name} was removed, and with it what was recorded"
        raise SealError(stage.flow_run_id, reason)
    if previous and previous.sealed.status != "finished" and stage.is_released():
        raise SealError(stage.flow_run_id, SEALED_ELSEWHERE.format(stage.name))


def _completed(inputs: SealInputs) -> SealInputs:
    """Add what Prefect's API knows, the checkpoints, and what the previous seal holds."""
    stage, record = inputs.stage, inputs.record
    rows, problems = ask_for_task_runs(record, inputs.staged)
    staged = with_ended(_read_again(inputs), {row.task_run_id: row for row in rows})
    return replace(
        inputs,
        staged=staged,
        rows=rows,
        problems=problems,
        expected=frozenset(expected_task_runs(record.root_flow_run_id)),
        deployment_name=find_deployment_name(record.deployment_id),
        checkpoints=CheckpointFiles(stage).take([*staged.keys, *staged.interrupted_keys]),
        contents=read_contents(inputs.previous) if inputs.previous else SealedContents(),
        flow=_flow_of(inputs),
    )


def _flow_of(inputs: SealInputs) -> str:
    """Return the flow's name as Prefect has it, where another host wrote the flow run's record."""
    record = inputs.record
    wants_others = record.replace or record.aliases or record.lineage
    return find_flow_of(record.flow_run_id) if wants_others and not inputs.stage.is_own() else ""


def _read_again(inputs: SealInputs) -> Staged:
    """Return what is staged: read again where attempts may have ended while Prefect was asked."""
    staged, keys = inputs.staged, inputs.sealed_keys
    if not (staged.running or staged.interrupted):
        return staged
    inputs.stage.collect(keys)
    return read_staged(inputs.stage, keys)
