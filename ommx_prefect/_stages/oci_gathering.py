"""Combine the single records of a process in a registry into groups, see `oci_groups`.

Once that is enough, a thread writes all of them once more, as one group, and deletes the single
ones. An attempt waits for that only where the same was begun before and is not done yet. At any
moment a record is in the registry by itself, or in a group, or both.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE
from ommx_prefect._memory.bounded import Bounded
from ommx_prefect._memory.forks import process_lock
from ommx_prefect._oci.names import digest_of
from ommx_prefect._oci.repository import Repository
from ommx_prefect._stages.documents import PARTS, SHARDS, STARTS
from ommx_prefect._stages.oci_groups import group_manifest, new_group, open_group
from ommx_prefect._stages.oci_manifests import MOST_WHOLE_BYTES, tag_of
from ommx_prefect._stages.oci_removal import MOST_TAGS
from ommx_prefect.exceptions import RegistryUnavailableError

# So many attempts that ended are put together.
TOGETHER = 32
# Of a record that is put together with others, with its signature.
MOST_TOGETHER_BYTES = MOST_WHOLE_BYTES + 1024
# Flow runs of which a process remembers what it has left.
MOST_FLOW_RUNS = 64


@dataclass(frozen=True)
class Single:
    """A record that has a manifest of its own: the digest of that, and the record's bytes."""

    digest: str
    data: bytes


@dataclass
class Singles:
    """The single records that this process has written for one flow run; used by many threads."""

    _ended: dict[str, Single] = field(default_factory=dict)
    _begun: dict[str, Single] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, manifest: bytes, data: bytes) -> None:
        """Remember a record, if it is one that may be combined: of an attempt, or a part."""
        kind, single = name.split("/")[1], Single(digest_of(manifest), data)
        with self._lock:
            if kind == STARTS:
                self._begun[name] = single
            elif kind in (SHARDS, PARTS):
                self._ended[name] = single

    def leave(self, name: str) -> None:
        """Exclude a record from groups, and its start record with it."""
        with self._lock:
            self._begun.pop(start_of(name), None)

    def take(self) -> Mapping[str, Single]:
        """Return records for a new group, with their start records, or none if they are too few."""
        with self._lock:
            if len(self._ended) < TOGETHER:
                return {}
            ended = {name: self._ended.pop(name) for name in list(self._ended)[:TOGETHER]}
            starts = self._begun.keys() & set(map(start_of, ended))
            return ended | {name: self._begun.pop(name) for name in starts}


def start_of(name: str) -> str:
    """Return the name of the start record of a shard's attempt; any other name as it is."""
    return name.replace(f"/{SHARDS}/", f"/{STARTS}/")


# (this process, and none that it is forked from; stage; flow run) -> what it has left
_left: Bounded[tuple[int, str, str], Singles] = Bounded(MOST_FLOW_RUNS)


def singles_of(stage: str, flow_run_id: str) -> Singles:
    """Return the single records that this process has written for a flow run."""
    key = (os.getpid(), stage, flow_run_id)
    if (found := _left.get(key)) is None:
        found = _left[key] = Singles()
    return found


# Process -> its thread that puts records together, the last one.
_threads: dict[int, threading.Thread] = {}
_turn = process_lock()


def in_turn(gather: Callable[[], None]) -> None:
    """Run a function in a thread after earlier ones have ended; the process waits at its exit."""
    with _turn:
        settle()
        thread = threading.Thread(target=gather, name="ommx-prefect-gather")
        with contextlib.suppress(RuntimeError):  # the process ends: they stay by themselves
            thread.start()
            _threads[os.getpid()] = thread


def settle() -> None:
    """Wait until this process has written the groups that it had begun."""
    if thread := _threads.get(os.getpid()):
        thread.join()


def put_together(repository: Repository, flow_run_id: str, singles: Mapping[str, Single]) -> bool:
    """Write records as a group, and delete the single ones.

    In a repository of many tags a manifest is not deleted soon: there nothing is done. Where a
    record is gone before it is deleted here, a seal is removing what it holds, and the group goes
    again. That seal looks for groups once they are gone, so one of both sees the other.

    Args:
        repository: Where they are.
        flow_run_id: Their flow run.
        singles: The records by name.

    Returns:
        Whether the registry allows it.
    """
    if len(repository.tags()) > MOST_TAGS:
        return True
    name, records = new_group(flow_run_id), {record: x.data for record, x in singles.items()}
    manifest = group_manifest(name, records)
    if open_group(name, digest_of(manifest), manifest).records != records:
        return False
    repository.put_manifest(tag_of(name), manifest, MANIFEST_MEDIA_TYPE)
    there = set(repository.tags())
    if not set(map(tag_of, singles)) <= there:
        return repository.delete_manifest(digest_of(manifest))
    if tag_of(name) not in there:  # so a seal would not find it
        return False
    # One by one: attempts have requests of their own meanwhile.
    return all(_let_go(repository, single.digest) for single in singles.values())


def _let_go(repository: Repository, digest: str) -> bool:
    """Delete a manifest; where that fails, the seal deletes it later.

    docker-registry 2.8 answers 500 where it reads a tag that somebody just writes.
    """
    try:
        return repository.delete_manifest(digest, once=True)
    except RegistryUnavailableError:
        return True
