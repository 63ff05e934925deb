"""Upload blobs to a repository, several at a time."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ommx_prefect._oci.repository import Repository

# As many as OMMX sends at once.
BLOBS_AT_ONCE = 4


def push_blobs(
    repository: Repository, blobs: Mapping[str, Path | bytes], *, unasked_bytes: int = 0
) -> None:
    """Push blobs by digest, some at a time, and stop at the first that is refused.

    Args:
        repository: Where to.
        blobs: Files or bytes by their digest.
        unasked_bytes: Up to this size a blob is sent without asking whether it is there.
    """
    with ThreadPoolExecutor(BLOBS_AT_ONCE, "ommx-prefect-push") as pool:
        sent = [
            pool.submit(repository.push_blob, blob, digest, ask=size_of(blob) > unasked_bytes)
            for digest, blob in blobs.items()
        ]
        try:
            for future in sent:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def size_of(blob: Path | bytes) -> int:
    """Return the size of a file or of bytes."""
    return len(blob) if isinstance(blob, bytes) else blob.stat().st_size
