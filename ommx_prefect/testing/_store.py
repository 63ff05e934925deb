"""The tests of a store of objects: bytes under names, for many threads and hosts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ommx_prefect._stages.store import Store
from ommx_prefect.testing._scene import new_id
from ommx_prefect.testing._stage import StageContract

# Bytes that somebody may have taken for text, or for the end of one.
ODD = {"empty": b"", "zeros": bytes(8), "not-text": bytes(range(256)), "lines": b"\r\n\n"}
LARGE = 3_000_000
THREADS = 8


class StoreContract(StageContract):
    """Tests of a `Store`: its four methods, and the stages of flow runs over them.

    A subclass has a pytest fixture `store` that returns the store.
    """

    def test_bytes_come_back_as_they_were(self, store: Store) -> None:
        """An object is any bytes, and a name has folders, dots and dashes."""
        flow_run_id = new_id()
        for name, data in ODD.items():
            store.write(f"{flow_run_id}/shards/{name}.x-1", data)
            assert store.read(f"{flow_run_id}/shards/{name}.x-1") == data

    def test_a_large_object_comes_back_whole(self, store: Store) -> None:
        """A shard carries its payload with it."""
        name, data = f"{new_id()}/shards/large", bytes(range(256)) * (LARGE // 256)
        store.write(name, data)
        assert store.read(name) == data

    def test_an_object_that_is_written_again_is_replaced(self, store: Store) -> None:
        """A checkpoint takes the place of the one before, longer or shorter."""
        folder = f"{new_id()}/checkpoints/"
        name = f"{folder}one"
        for data in (b"the first one", b"2nd", b"and one that is longer than both"):
            store.write(name, data)
            assert store.read(name) == data
            assert list(store.names(folder)) == [name]

    def test_names_are_those_of_one_flow_run(self, store: Store) -> None:
        """A listing has every object below a folder, and none of its neighbours."""
        flow_run_id, other = new_id(), new_id()
        names = [f"{flow_run_id}/{x}" for x in ("flow.json", "shards/a", "shards/b", "starts/a")]
        for name in (*names, f"{other}/shards/c", f"{flow_run_id}x/shards/d"):
            store.write(name, b"{}")
        assert sorted(store.names(f"{flow_run_id}/")) == sorted(names)
        assert sorted(store.names(f"{flow_run_id}/shards/")) == names[1:3]
        assert list(store.names(f"{new_id()}/")) == []

    def test_an_object_that_was_removed_is_gone(self, store: Store) -> None:
        """And to remove it again is no error: two hosts may do so."""
        flow_run_id = new_id()
        for name in ("shards/a", "shards/b"):
            store.write(f"{flow_run_id}/{name}", b"1")
        for _ in range(2):
            store.remove(f"{flow_run_id}/shards/a")
        assert list(store.names(f"{flow_run_id}/")) == [f"{flow_run_id}/shards/b"]

    def test_an_object_that_is_not_there_cannot_be_read(self, store: Store) -> None:
        """Nothing is made up for it, not even no bytes."""
        try:
            found = store.read(f"{new_id()}/shards/none")
        except Exception:
            return
        raise AssertionError(f"reading what is not there returned {found!r}")

    def test_many_threads_write_read_and_remove_at_once(self, store: Store) -> None:
        """A seal reads and removes with several threads, and tasks write from theirs."""
        flow_run_id = new_id()
        names = [f"{flow_run_id}/shards/{number}" for number in range(4 * THREADS)]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda name: store.write(name, name.encode()), names))
            assert sorted(store.names(f"{flow_run_id}/")) == sorted(names)
            assert list(pool.map(store.read, names)) == [name.encode() for name in names]
            list(pool.map(store.remove, names))
        assert list(store.names(f"{flow_run_id}/")) == []
