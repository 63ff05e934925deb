"""What a stage in an OCI registry takes: for each attempt, for its seal, and for the removal.

    python -m tests.benchmarks.oci_stage_cost                    # 1,000 attempts
    python -m tests.benchmarks.oci_stage_cost --runs 200
    python -m tests.benchmarks.oci_stage_cost --tiny             # 10 attempts; for CI
    python -m tests.benchmarks.oci_stage_cost --write            # and docs/costs.md

Each attempt returns a small dict of its own, one after the other, and the experiment is composed in
another repository of a docker-registry on this machine. Beside it: the same attempts in the local
stage, and the least that a registry has to be asked for the same bytes (a blob, which are two
requests, and a manifest that names it), by plain httpx. Prefect is asked nothing.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.benchmarks.attempts import attempt_of, new_flow_run_id  # first

# isort: split
import httpx

from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, sha256_digest
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._sealing.seal import seal_flow_run
from ommx_prefect._stages.documents import FLOW_RECORD, STATE_RECORD, End, write_document
from ommx_prefect._stages.oci_manifests import EMPTY, EMPTY_BLOB, record_manifest
from ommx_prefect._stages.oci_store import OciStore
from ommx_prefect._stages.resolve import stage_of, tell_stage
from ommx_prefect.testing._scene import flow_record
from tests.benchmarks.measures import report, shown, table
from tests.support.registry_server import RegistryServer, running_registry

TITLES = ("stage", "ms an attempt", "requests", "ms of its seal", "requests", "of that removal, ms")


@dataclass
class Took:
    """Seconds and requests of each round."""

    put: list[float] = field(default_factory=list)
    seal: list[float] = field(default_factory=list)
    removal: list[float] = field(default_factory=list)
    put_requests: int = 0
    seal_requests: int = 0


def requests_of(server: RegistryServer) -> int:
    """Return how many requests a registry has answered, by its access log."""
    return server.log.count(' HTTP/1.1" ')


def night(server: RegistryServer, stage: str, runs: int, took: Took) -> None:
    """Leave the records of a flow run in a stage, and seal it."""
    flow_run_id = new_flow_run_id()
    tell_stage(flow_run_id, stage)
    name = f"{server.host}/bench/night:{flow_run_id}"
    record = replace(
        flow_record(flow_run_id), image_name=name, aliases=(), chosen=True, stage=stage
    )
    place = stage_of(flow_run_id)
    write_document(place, FLOW_RECORD, record)
    write_document(place, STATE_RECORD, End("finished", "Completed", None))
    before, began = requests_of(server), time.perf_counter()
    for number in range(runs):
        recording = Recording(attempt_of(flow_run_id), RecordingOptions(), {"i": number})
        recording.record.stage = place
        with recording, recording.active():
            recording.returned({"value": number, "gap": 0.25, "of": flow_run_id})
    took.put.append(time.perf_counter() - began)
    between, began = requests_of(server), time.perf_counter()
    with removal_timed(took.removal):
        sealed = seal_flow_run(flow_run_id, end=End("finished", "Completed", None))
    took.seal.append(time.perf_counter() - began)
    took.put_requests, took.seal_requests = between - before, requests_of(server) - between
    assert sealed.counts == {"finished": runs}


@contextmanager
def removal_timed(seconds: list[float]) -> Iterator[None]:
    """Note how long the removal of records takes while the block runs; 0 where there is none."""
    took, remove = [0.0], OciStore.remove_all

    def timed(self: OciStore, names: list[str]) -> None:
        began = time.perf_counter()
        remove(self, names)
        took.append(time.perf_counter() - began)

    OciStore.remove_all = timed  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        OciStore.remove_all = remove  # type: ignore[method-assign]
    seconds.append(sum(took))


def plain(server: RegistryServer, runs: int, took: Took) -> None:
    """Push the same bytes, as much as must be, by plain requests on one connection."""
    headers = {"Content-Type": MANIFEST_MEDIA_TYPE}
    with httpx.Client(base_url=f"{server.url}bench/plain/", trust_env=False) as client:
        push_blob(client, EMPTY_BLOB, EMPTY.digest)
        began = time.perf_counter()
        for number in range(runs):
            data = f'{{"value": {next(_numbers)}, "gap": 0.25}}'.encode()
            push_blob(client, data, sha256_digest(data))
            manifest = record_manifest(f"plain-{number}", data * 40)
            path = f"manifests/plain-{number}"
            client.put(path, content=manifest, headers=headers).raise_for_status()
        took.put.append(time.perf_counter() - began)
    took.put_requests = 3 * runs


_numbers = itertools.count()


def push_blob(client: httpx.Client, data: bytes, digest: str) -> None:
    """Push a blob by two requests."""
    where = httpx.URL(client.post("blobs/uploads/").raise_for_status().headers["Location"])
    where = where.copy_merge_params({"digest": digest})
    client.put(where, content=data).raise_for_status()


def row_of(name: str, took: Took, runs: int) -> list[str]:
    """Return the row of a table."""
    row = [name, shown(took.put, runs), f"{took.put_requests / runs:.1f}"]
    if not took.seal:
        return [*row, "", "", ""]
    seal = [shown(took.seal, runs), f"{took.seal_requests / runs:.1f}"]
    return [*row, *seal, shown(took.removal, runs) if any(took.removal) else ""]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="10 attempts, once")
    parser.add_argument("--write", action="store_true", help="write the table of docs/costs.md")
    options = parser.parse_args()
    runs, rounds = (10, 1) if options.tiny else (options.runs, options.rounds)
    oci, local, by_hand = Took(), Took(), Took()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_registry(Path(folder) / "registry") as server,
    ):
        stage = f"oci://{server.host}/bench/shards"
        night(server, stage, 5, Took())  # what is opened once
        for _ in range(rounds):
            night(server, stage, runs, oci)
            plain(server, runs, by_hand)
            night(server, "local", runs, local)
    rows = [
        row_of("OCI registry", oci, runs),
        row_of("OCI registry, plain requests", by_hand, runs),
        row_of("local", local, runs),
    ]
    report("oci_stage_cost", f"{runs:,} attempts.\n\n{table(TITLES, rows)}", write=options.write)


if __name__ == "__main__":
    main()
