"""How what an open Run has logged survives `ommx gc --delete`: its blobs are kept young.

OMMX stores payloads as they are logged, and nothing names them until the Run closes; `gc` takes
what no name reaches and what is older than its grace period (24 hours by default). So one thread
of each process that records touches the blobs written since its oldest open attempt began. When
the process dies they grow old, and `gc` may have them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._shards.shard import Attempt

# A grace period of `gc` must be longer than this.
EVERY_SECONDS = 600.0
# Clocks of file systems lag behind, and those of file servers differ.
SLACK_SECONDS = 60.0

_began: dict[str, float] = {}
_lock = threading.Lock()
_thread: threading.Thread | None = None


def keep(attempt: Attempt) -> None:
    """Keep what an attempt logs from now on, until it is released."""
    global _thread
    with _lock:
        _began[attempt.key] = attempt.started_at
        if _thread is None or not _thread.is_alive():  # none yet, or this process was forked
            _thread = threading.Thread(
                target=_touch_for_ever, name="ommx-prefect-keep", daemon=True
            )
            _thread.start()


def release(attempt: Attempt) -> None:
    """Let go of an attempt that has ended: its shard holds what it logged."""
    with _lock:
        _began.pop(attempt.key, None)


def _touch_for_ever() -> None:
    while True:
        time.sleep(EVERY_SECONDS)
        with _lock:
            oldest = min(_began.values(), default=None)
        if oldest is not None:
            with contextlib.suppress(OSError):
                touch_blobs_since(oldest - SLACK_SECONDS)


def touch_blobs_since(seconds: float) -> None:
    """Make every blob of the Local Registry that is younger than this (since the epoch) new."""
    for entry in os.scandir(registry_root() / "blobs" / "sha256"):
        with contextlib.suppress(OSError):  # taken meanwhile, or another user's
            if entry.stat().st_mtime >= seconds:
                os.utime(entry.path)
