"""A seal holds little for each Run: of its record no more than the Run, and parts are small."""

from __future__ import annotations

import dataclasses
import uuid

import pytest

from ommx_prefect._format.compose import compose, settle_columns
from ommx_prefect._format.encode import columns_of
from ommx_prefect._format.model import Attachments, Descriptor, ExperimentRecord, RunRecord
from ommx_prefect._sealing import parts
from ommx_prefect._sealing.records import read_staged
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.local import LocalStage

NAME = "ghcr.io/acme/night:one"


def attempt_of(flow_run_id, task_run_id, number=1, **fields):
    return Attempt(
        flow_run_id, flow_run_id, 1, task_run_id, "solve", "solve-0", number, f"n{number}",
        float(number), "elsewhere", 1, **fields,
    )  # fmt: skip


def shard_of(attempt):
    return Shard(attempt, "finished", None, attempt.parameters("Completed", 0.5))


def test_of_a_record_its_run_is_kept_and_of_few_more():
    flow_run_id = str(uuid.uuid4())
    stage = LocalStage(flow_run_id)
    plain, saved, first = (attempt_of(flow_run_id, str(uuid.uuid4())) for _ in range(3))
    second = attempt_of(flow_run_id, first.task_run_id, 2)
    sealed = attempt_of(flow_run_id, first.task_run_id, 3)
    for attempt in (plain, saved, second, sealed):
        stage.put(shard_of(attempt))
    CheckpointFiles(stage).put(shard_of(saved), {})
    stage.begin(first)

    staged = read_staged(stage, frozenset({sealed.key}))
    assert {entry.key for entry in staged.ended} == {plain.key, second.key}
    assert [shard.attempt for shard in staged.shards] == [saved]
    assert {attempt.key for attempt in staged.witnesses} == {saved.key, second.key}
    assert [attempt.key for attempt in staged.interrupted] == [first.key]
    assert staged.keys == sorted([plain.key, saved.key, second.key])
    assert {each.task_run_id for each in staged.all_ended} == {
        plain.task_run_id, saved.task_run_id, second.task_run_id,
    }  # fmt: skip
    assert staged.last_end(0.0) == 2.5
    left = staged.composed
    assert [*left.ended, *left.shards, *left.witnesses, *left.parts] == []
    assert left.interrupted == staged.interrupted
    assert dataclasses.replace(staged, ended=(), shards=()).last_end(7.0) == 7.0


def run_of(number):
    layer = Descriptor("application/json", f"sha256:{number:064x}", 10)
    attachments = Attachments({"output": layer})
    return RunRecord("finished", attachments=attachments, parameters={"x": number / 2})


@pytest.mark.parametrize(("runs", "most_bytes", "count"), [(10, 4_000, 0), (40, 4_000, 4)])
def test_an_experiment_that_fits_is_one_and_the_parts_of_another_are_small(
    monkeypatch, runs, most_bytes, count
):
    monkeypatch.setattr(parts, "MOST_MANIFEST_BYTES", most_bytes)
    monkeypatch.setattr(parts, "MOST_PART_BYTES", 2_000)
    experiment = ExperimentRecord("finished", tuple(map(run_of, range(runs))))
    settled = settle_columns(columns_of(experiment.runs))
    whole = compose(experiment).documents
    one = compose(experiment, settled) if parts.may_fit(experiment) else None
    found = parts.fitted(experiment, settled, one, NAME, "flow-run")
    assert len(found.parts) == count
    assert found.whole_bytes <= len(whole.manifest)
    assert (found.whole_bytes > most_bytes) == (len(whole.manifest) > most_bytes) == bool(count)
    assert (found.composition.documents == whole) == (not count)
    pieces = [part.composition for part in found.parts]
    assert all(len(piece.documents.manifest) <= 2_000 for piece in pieces)
    joined = [run for piece in pieces for run in piece.experiment.runs]
    assert joined == list(experiment.runs if count else ())
    for piece in pieces:  # columns are those of its own Runs
        ids = range(piece.experiment.first_run_id, len(experiment.runs))
        cells = {i: experiment.runs[i].parameters["x"] for i in ids[: len(piece.experiment.runs)]}
        assert dict(piece.columns) == {"x": cells}
        assert len(piece.columns) == 1
