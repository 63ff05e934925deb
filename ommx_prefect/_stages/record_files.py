"""Read a record of an attempt from its file in a stage.

A record is empty where the power failed before it was flushed, and is gone where a seal let go of
it after the folder was listed: neither is an error.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ommx_prefect._registry.files import read_regular
from ommx_prefect._shards.archive import check_attempt
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.files import has_content
from ommx_prefect._stages.protocol import MALFORMED, damaged, without_frames
from ommx_prefect._stages.start_record import read_start

T = TypeVar("T")


def read_shard_file(path: Path | str, root_flow_run_id: str) -> Shard | None:
    """Read the record of an attempt of a flow run that ended; DocumentError where it is damaged."""

    def read(key: str, data: bytes) -> Shard:
        shard = Shard.from_bytes(data)
        check_attempt(shard.attempt, root_flow_run_id, key)
        return shard

    return _read_record(path, read)


def read_start_file(path: Path | str, root_flow_run_id: str) -> Attempt | None:
    """Read the record of an attempt that began; DocumentError where it is damaged."""
    return _read_record(path, lambda key, data: read_start(data, root_flow_run_id, key))


def _read_record(path: Path | str, parse: Callable[[str, bytes], T]) -> T | None:
    with contextlib.suppress(FileNotFoundError):
        if has_content(path):
            return parsed_file(path, parse)
    return None


def parsed_file(path: Path | str, parse: Callable[[str, bytes], T]) -> T:
    """Read a file by its name and bytes; DocumentError, which names it, where it is damaged."""
    try:
        return parse(os.path.basename(path), read_regular(path))
    except MALFORMED as error:
        raise damaged(Path(path), error) from without_frames(error)
