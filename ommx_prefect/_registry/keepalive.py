"""Keep the blobs of open Runs from being removed by `ommx.artifact.gc(delete=True)`.

OMMX stores payloads as they are logged, and nothing names them until the Run closes; `gc` takes
what no name reaches and what is older than its grace period (24 hours by default). So one thread
of each process that records renews the blobs written since its oldest open attempt began. When
the process dies they grow old, and `gc` may have them.
"""

from __future__ import annotations

import contextlib
import os
import threading

from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._registry.layout import blob_folder
from ommx_prefect._shards.shard import Attempt

# A grace period of `gc` must be longer than this.
EVERY_SECONDS = 600.0
# Clocks of file systems lag behind, and those of file servers differ.
SLACK_SECONDS = 60.0

_began: dict[str, float] = {}
_lock = threading.Lock()
_thread: threading.Thread | None = None


def keep(attempt: Attempt) -> None:
    """Protect the blobs that an attempt logs from now on, until it is released."""
    global _thread
    with _lock:
        _began[attempt.key] = attempt.started_at
        if _thread is None or not _thread.is_alive():  # none yet, or this process was forked
            _thread = threading.Thread(
                target=_keep_alive, name="ommx-prefect-keepalive", daemon=True
            )
            _thread.start()


def release(attempt: Attempt) -> None:
    """Stop protecting the blobs of an attempt that has ended: its shard holds them."""
    with _lock:
        _began.pop(attempt.key, None)


def _keep_alive() -> None:
    """Renew the blobs of open attempts as long as this process lives."""
    never = threading.Event()  # not `time.sleep`, which users' tests replace
    while not never.wait(EVERY_SECONDS):
        with _lock:
            oldest = min(_began.values(), default=None)
        if oldest is not None:
            with contextlib.suppress(OSError):
                renew_blobs_since(oldest - SLACK_SECONDS)


def renew_blobs_since(seconds: float) -> None:
    """Set the time of every blob that is younger than this (seconds since the epoch) to now."""
    for entry in os.scandir(blob_folder(registry_root())):
        with contextlib.suppress(OSError):  # taken meanwhile, or another user's
            if entry.stat().st_mtime >= seconds:
                os.utime(entry.path)
