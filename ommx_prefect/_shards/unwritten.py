"""Keep records that could not be written in memory, for a seal in the same process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from ommx_prefect._memory.forks import process_lock
from ommx_prefect._shards.shard import Shard

_shards: dict[str, list[Shard]] = defaultdict(list)
_lock = process_lock()


def remember(shard: Shard) -> None:
    """Keep the shard of an attempt whose stage cannot be written."""
    with _lock:
        _shards[shard.attempt.root_flow_run_id].append(shard)


def of(flow_run_id: str) -> list[Shard]:
    """Return the shards that were remembered for a flow run."""
    with _lock:
        return list(_shards.get(flow_run_id, ()))


def forget(flow_run_id: str, keys: Collection[str]) -> None:
    """Forget the shards that a seal holds."""
    with _lock:
        left = [shard for shard in _shards.pop(flow_run_id, ()) if shard.attempt.key not in keys]
        if left:
            _shards[flow_run_id] = left
