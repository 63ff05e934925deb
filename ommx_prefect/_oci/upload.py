"""Upload blobs to a repository, several at a time."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ommx_prefect._oci.repository import Repository

# As many as OMMX sends at once.
BLOBS_AT_ONCE = 4


def push_blobs(repository: Repository, blobs: Mapping[str, Path | bytes]) -> None:
    """Push blobs by digest, some at a time, and stop at the first that is refused."""
    with ThreadPoolExecutor(BLOBS_AT_ONCE, "ommx-prefect-push") as pool:
        sent = [pool.submit(repository.push_blob, blobs[digest], digest) for digest in blobs]
        try:
            for future in sent:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
