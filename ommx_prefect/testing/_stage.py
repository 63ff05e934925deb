"""The tests of a store as the stage of flow runs: one host writes, another one seals."""

from __future__ import annotations

from pathlib import Path

from ommx_prefect._registry.blobs import read_checked
from ommx_prefect._shards.archive import payload_of
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.checkpoints import NUMBER, CheckpointFiles
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    PARTS,
    ROLLED_BACK,
    SEALED_RECORD,
    read_flow_record,
    write_document,
)
from ommx_prefect._stages.store import ShardStore, Store
from ommx_prefect.testing._scene import (
    Away,
    Host,
    as_shard_store,
    attempt_of,
    documents_of,
    flow_record,
    lose_payload,
    new_id,
    shard_of,
)


class StageContract:
    """Tests of a place as the stage of flow runs, through what hosts do there.

    A subclass has a pytest fixture `store` that returns the place: a `Store`, or a `ShardStore`
    that holds shards in a way of its own.
    """

    def test_what_one_host_records_comes_to_another(
        self, store: Store | ShardStore, tmp_path: Path
    ) -> None:
        """With its payload, in order of start; the start of what has ended is not asked for."""
        flow_run_id = new_id()
        worker, sealing = (Host(tmp_path / x, flow_run_id, store) for x in ("worker", "sealing"))
        attempts = [attempt_of(flow_run_id, number) for number in (1, 2, 3)]
        write_document(worker.stage, FLOW_RECORD, flow_record(flow_run_id))
        for attempt in attempts:
            worker.stage.begin(attempt)
        shards = [shard_of(attempt, {flow_run_id: attempt.started_at}) for attempt in attempts[:2]]
        part = shard_of(attempt_of(flow_run_id, 4), [flow_run_id, "part"])
        assert [worker.stage.put(shard) for shard in reversed(shards)] == [None, None]
        assert worker.stage.put(part, PARTS) is None
        lose_payload(*shards, part)
        sealing.stage.collect(())
        assert sealing.stage.shards() == shards
        assert sealing.stage.shards(PARTS) == [part]
        assert sealing.stage.starts() == attempts[2:]
        assert read_flow_record(sealing.stage) == flow_record(flow_run_id)
        for layer in (x for shard in (*shards, part) for x in payload_of(shard)):
            assert len(read_checked(sealing.stage.bring(layer.digest), layer.digest)) == layer.size

    def test_documents_reach_other_hosts_and_private_ones_do_not(
        self, store: Store | ShardStore, tmp_path: Path
    ) -> None:
        """What was sealed, say, concerns the host alone that has sealed it."""
        flow_run_id, task_run_id = new_id(), new_id()
        first, second = (Host(tmp_path / x, flow_run_id, store) for x in ("first", "second"))
        write_document(first.stage, FLOW_RECORD, flow_record(flow_run_id))
        first.stage.write(f"{ROLLED_BACK}/{task_run_id}", {})
        first.stage.write(SEALED_RECORD, {"keys": []})
        assert second.stage.exists()
        assert read_flow_record(second.stage) == flow_record(flow_run_id)
        assert not second.stage.has(FLOW_RECORD)
        second.stage.collect(())
        assert second.stage.listed(ROLLED_BACK) == {task_run_id: {}}
        assert second.stage.read(SEALED_RECORD) is None

    def test_what_a_finished_seal_holds_is_gone_and_what_comes_later_stays(
        self, store: Store | ShardStore, tmp_path: Path
    ) -> None:
        """Another host can tell that it was released."""
        flow_run_id = new_id()
        worker, sealing, other = (Host(tmp_path / x, flow_run_id, store) for x in ("w", "s", "o"))
        write_document(worker.stage, FLOW_RECORD, flow_record(flow_run_id))
        first, late = (shard_of(attempt_of(flow_run_id, x), [x]) for x in (1, 2))
        worker.stage.put(first)
        sealing.stage.collect(())
        worker.stage.put(late)
        sealing.stage.release()
        other.stage.collect(())
        assert other.stage.shards() == [late]
        assert other.stage.is_released()
        assert not sealing.stage.is_released()

    def test_what_is_sealed_is_not_brought_again(
        self, store: Store | ShardStore, tmp_path: Path
    ) -> None:
        """A second seal takes what is new."""
        flow_run_id = new_id()
        worker, sealing = (Host(tmp_path / x, flow_run_id, store) for x in ("worker", "sealing"))
        old, new = (shard_of(attempt_of(flow_run_id, x), [x]) for x in (1, 2))
        for shard in (old, new):
            worker.stage.put(shard)
        sealing.stage.collect({old.attempt.key})
        assert sealing.stage.shards() == [new]

    def test_a_checkpoint_that_was_replaced_after_it_was_taken_stays(
        self, store: Store | ShardStore, tmp_path: Path
    ) -> None:
        """An attempt that was taken for dead may run on."""
        flow_run_id = new_id()
        worker, sealing, later = (Host(tmp_path / x, flow_run_id, store) for x in ("w", "s", "l"))
        attempt = attempt_of(flow_run_id)
        _checkpoint(worker, attempt_number=1, shard=shard_of(attempt, [flow_run_id, 1]))
        sealing.stage.collect(())
        taken = CheckpointFiles(sealing.local).take([attempt.key])
        assert taken[attempt.key].parameters[NUMBER] == 1
        _checkpoint(worker, attempt_number=2, shard=shard_of(attempt, [flow_run_id, 2]))
        sealing.stage.release()
        later.stage.collect(())
        left = CheckpointFiles(later.local).take([attempt.key])
        assert left[attempt.key].parameters[NUMBER] == 2
        later.stage.release()
        assert not Host(tmp_path / "last", flow_run_id, store).stage.exists()

    def test_what_cannot_be_written_waits_and_goes_out_later(
        self, store: Store | ShardStore, tmp_path: Path
    ) -> None:
        """No task fails because its place is away, and nothing is lost."""
        flow_run_id, place = new_id(), Away(as_shard_store(store))
        worker, sealing = (Host(tmp_path / x, flow_run_id, place) for x in ("worker", "sealing"))
        kept, next_one = (shard_of(attempt_of(flow_run_id, x), [x]) for x in (1, 2))
        place.is_away = True
        worker.stage.begin(kept.attempt)
        assert "it is away" in (worker.stage.put(kept) or "")
        assert worker.local.shards() == [kept]
        place.is_away = False
        assert worker.stage.put(next_one) is None
        assert worker.local.shards() == []
        sealing.stage.collect(())
        assert sealing.stage.shards() == [kept, next_one]

    def test_an_experiment_of_many_shards_keeps_equal_payload_apart_from_none(
        self, store: Store | ShardStore, tmp_path: Path
    ) -> None:
        """Two attempts may leave the same bytes, and one may leave none."""
        flow_run_id = new_id()
        worker, sealing = (Host(tmp_path / x, flow_run_id, store) for x in ("worker", "sealing"))
        documents = documents_of({flow_run_id: True})
        shards = [
            Shard(attempt_of(flow_run_id, x), "finished", documents=documents) for x in (1, 2)
        ]
        shards.append(Shard(attempt_of(flow_run_id, 3), "failed", reason="ValueError: no"))
        for shard in shards:
            worker.stage.put(shard)
        sealing.stage.collect(())
        assert sealing.stage.shards() == shards


def _checkpoint(host: Host, attempt_number: int, shard: Shard) -> None:
    """Make a checkpoint durable on a host, and share it, as an attempt does."""
    checkpoint = Shard(
        attempt=shard.attempt,
        status="interrupted",
        parameters={NUMBER: attempt_number},
        documents=shard.documents,
    )
    blobs = {x.digest: host.local.bring(x.digest).read_bytes() for x in payload_of(checkpoint)}
    CheckpointFiles(host.local).put(checkpoint, blobs)
    assert host.stage.share_checkpoint(checkpoint) is None
