"""What a large output takes beside SHA-256 and a write of its bytes: time, and memory beyond it.

    python -m tests.benchmarks.payload_cost                       # 256 MB
    python -m tests.benchmarks.payload_cost --megabytes 1024
    python -m tests.benchmarks.payload_cost --tiny                # 8 MB; for CI
    python -m tests.benchmarks.payload_cost --write               # and docs/costs.md

The value is made before; memory is the most that the process holds beyond it while it is recorded.
Shared stages are a folder (a LocalFileSystem block, whose methods take and return bytes) and a
docker-registry, both on this machine; of the latter the experiment is composed there.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tests.benchmarks.quiet import SCRATCH  # first: it sets what Prefect and OMMX read

# isort: split
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._sealing.seal import seal_flow_run
from ommx_prefect._stages.documents import FLOW_RECORD, STATE_RECORD, End, write_document
from ommx_prefect._stages.resolve import stage_of, tell_stage
from ommx_prefect.testing._scene import flow_record
from tests.benchmarks.attempts import attempt_of, new_flow_run_id
from tests.benchmarks.measures import PeakMemory, alternating, ratio, report, shown, table
from tests.benchmarks.options import size_and_rounds
from tests.support.places import folder_place
from tests.support.registry_server import running_registry

MEGABYTE = 2**20
CHUNK = 4 * MEGABYTE
_numbers = itertools.count()


def drawn(megabytes: int) -> bytes:
    """Draw bytes that nothing has stored before."""
    return os.urandom(MEGABYTE) * megabytes + uuid.uuid4().bytes


def file_of(megabytes: int) -> Path:
    """Write a file piece by piece."""
    path, piece = Path(SCRATCH) / f"output-{next(_numbers)}", os.urandom(MEGABYTE)
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(piece)
        file.write(uuid.uuid4().bytes)
    return path


def array_of(megabytes: int) -> Any:
    """Make an array."""
    return np.frombuffer(drawn(megabytes)[: megabytes * MEGABYTE], dtype=np.float64).copy()


STAGES = {"local": "local", "local-file-system": "shared folder", "oci": "OCI registry"}
TITLES = (
    *("stage", "output", "SHA-256 and write, ms", "recorded, ms", "ratio"),
    *("memory while recorded, MB", "while sealed, MB"),
)
KINDS: dict[str, Callable[[int], Any]] = {"bytes": drawn, "numpy": array_of, "file": file_of}


def by_hand(value: Any) -> None:
    """Hash and write, in pieces."""
    digest, target = hashlib.sha256(), Path(SCRATCH) / "by-hand"
    with target.open("wb") as file:
        for piece in pieces_of(value):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    target.unlink()


def pieces_of(value: Any) -> Any:
    """Return a value's bytes piece by piece."""
    if isinstance(value, Path):
        with value.open("rb") as file:
            yield from iter(functools.partial(file.read, CHUNK), b"")
        return
    view = memoryview(value).cast("B")
    for start in range(0, len(view), CHUNK):
        yield view[start : start + CHUNK]


END = End("finished", "Completed", None)


def begun_in(stage: str) -> str:
    """Begin a flow run that is recorded in a stage; return its id."""
    flow_run_id = new_flow_run_id()
    tell_stage(flow_run_id, stage)
    host = urlsplit(stage).netloc or "nights.local"
    name = f"{host}/bench/night:{flow_run_id}"
    begun = flow_record(flow_run_id)
    begun = replace(begun, image_name=name, aliases=(), chosen=True, stage=stage)
    write_document(stage_of(flow_run_id), FLOW_RECORD, begun)
    write_document(stage_of(flow_run_id), STATE_RECORD, END)
    return flow_run_id


def record_in(flow_run_id: str, output: Any) -> None:
    """Record one attempt that returns a value."""
    recording = Recording(attempt_of(flow_run_id), RecordingOptions(), {})
    recording.record.stage = stage_of(flow_run_id)
    with recording, recording.active():
        recording.returned(output)


def remove_large_files() -> None:
    """Remove what the rounds of a row have stored: a gigabyte each time, in two places."""
    for path in Path(SCRATCH).rglob("*"):
        if path.is_file() and path.stat().st_size > MEGABYTE:
            path.unlink()


def row_of(kind: str, stage: str, megabytes: int, rounds: int) -> list[str]:
    """Measure one kind of value in one stage."""
    values = iter([KINDS[kind](megabytes) for _ in range(rounds + 1)])
    value = KINDS[kind](megabytes)
    ways = {
        "plain": lambda: by_hand(value),
        "ours": lambda: record_in(begun_in(stage), next(values)),
    }
    found = alternating(ways, rounds)
    fresh = KINDS[kind](megabytes)
    flow_run_id = begun_in(stage)
    with PeakMemory() as recording:
        record_in(flow_run_id, fresh)
    with PeakMemory() as sealing:
        sealed = seal_flow_run(flow_run_id, end=END)
    assert sealed.counts == {"finished": 1}
    remove_large_files()
    return [
        STAGES[urlsplit(stage).scheme or stage.partition("/")[0]],
        f"{kind}, {megabytes} MB",
        shown(found["plain"].wall),
        shown(found["ours"].wall),
        ratio(found["ours"].wall, found["plain"].wall),
        f"{recording.megabytes:.0f}",
        f"{sealing.megabytes:.0f}",
    ]


def main() -> None:
    """Measure and print."""
    options = size_and_rounds(__doc__, "--megabytes", size=256, rounds=3, tiny=8)
    size, rounds = options.size, options.rounds
    with (
        tempfile.TemporaryDirectory(dir=SCRATCH) as folder,
        running_registry(Path(folder) / "registry") as server,
    ):
        shared = folder_place(Path(folder), "payload-cost").stage
        stages = ("local", shared, f"oci://{server.host}/bench/shards")
        rows = [row_of(kind, stage, size, rounds) for stage in stages for kind in KINDS]
    report("payload_cost", table(TITLES, rows), write=options.write)


if __name__ == "__main__":
    main()
