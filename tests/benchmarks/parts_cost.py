"""What an experiment beyond the manifest limit takes: its parts, their bytes, seal, and opening.

    python -m tests.benchmarks.parts_cost                          # 40,000 Runs, sealed and opened
    python -m tests.benchmarks.parts_cost --simulate 1000000       # composed alone, nothing stored
    python -m tests.benchmarks.parts_cost --tiny                   # for CI

Each Run has a small dict as its output. What is simulated is made of records in memory: the same
code writes the same documents, and neither payload nor ledger is there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

from tests.benchmarks.attempts import new_flow_run_id, record_small, seal
from tests.benchmarks.measures import PeakMemory, report, table

# isort: split
from ommx_prefect import load_experiment
from ommx_prefect._format.compose import Composition, compose, settle_columns
from ommx_prefect._format.encode import columns_of
from ommx_prefect._format.model import (
    Attachments,
    Descriptor,
    Documents,
    ExperimentRecord,
    RunRecord,
)
from ommx_prefect._format.parts import split
from ommx_prefect._registry.blobs import read_documents
from ommx_prefect._registry.parts import places_in
from ommx_prefect._sealing import parts
from ommx_prefect._shards.shard import Attempt

RUNS, TINY, TINY_BYTES = 40_000, 40, 4_000


def main() -> None:
    """Measure, or simulate, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--simulate", type=int, default=0, metavar="RUNS")
    parser.add_argument("--tiny", action="store_true", help="40 Runs in parts of a few")
    options = parser.parse_args()
    if options.tiny:
        parts.MOST_MANIFEST_BYTES = TINY_BYTES
    if options.simulate or options.tiny:
        rows = list(_simulated(options.simulate or TINY))
        report("parts_simulated", table(("simulated", ""), rows), write=False)
    if not options.simulate:
        rows = list(_measured(TINY if options.tiny else options.runs))
        report("parts_cost", table(("measured", ""), rows), write=False)


def _measured(runs: int) -> Iterator[list[str]]:
    """Seal Runs and open them as one; yield what that took."""
    seal(record_small(new_flow_run_id(), 5))
    begin = time.perf_counter()
    last = record_small(new_flow_run_id(), runs)
    yield ["Runs", f"{runs:,}"]
    yield _per_run("recording", time.perf_counter() - begin, runs)
    with PeakMemory() as peak:
        begin = time.perf_counter()
        sealed = seal(last)
        took = time.perf_counter() - begin
    yield _per_run("seal", took, runs)
    yield ["seal, peak", f"{peak.megabytes:,.0f} MB, {peak.megabytes * 1024 / runs:.1f} kB a Run"]
    places = places_in(sealed.manifest_digest)
    documents = [read_documents(place.digest) for place in places]
    index = read_documents(sealed.manifest_digest)
    yield from _sizes(documents or [index], runs)
    ledger = load_experiment(last.root_flow_run_id).get_blob("ledger")
    yield ["ledger", f"{len(ledger):,} bytes, {len(ledger) / runs:.0f} a Run"]
    yield from _opened(last, runs)


def _opened(last: Attempt, runs: int) -> Iterator[list[str]]:
    """Open what was sealed as one, once more: the first time was for the ledger."""
    with PeakMemory() as peak:
        begin = time.perf_counter()
        experiment = load_experiment(last.root_flow_run_id)
        took = time.perf_counter() - begin
    assert len(experiment.runs) == runs
    yield ["opened as one again", f"{took:.2f} s, {peak.megabytes:,.0f} MB"]


def _simulated(runs: int) -> Iterator[list[str]]:
    """Compose an experiment of so many Runs in parts; yield what that took."""
    yield ["Runs", f"{runs:,}"]
    with PeakMemory() as peak:
        experiment = ExperimentRecord("finished", tuple(map(_run, range(runs))))
        begin = time.process_time()
        settled = settle_columns(columns_of(experiment.runs))
        most = min(parts.MOST_PART_BYTES, parts.MOST_MANIFEST_BYTES)
        pieces = split(experiment, settled[0], "simulated", most)
        composed = time.process_time() - begin
    yield _per_run("composed in parts, processor", composed, runs)
    yield ["peak", f"{peak.megabytes:,.0f} MB, {peak.megabytes * 1024 / runs:.1f} kB a Run"]
    yield from _sizes([piece.documents for piece in pieces], runs)
    yield from _whole(compose(experiment, settled))


def _whole(whole: Composition) -> Iterator[list[str]]:
    documents = whole.documents
    yield ["manifest of all as one", f"{len(documents.manifest):,} bytes"]
    yield ["config of all as one", f"{len(documents.config):,} bytes"]


def _run(number: int) -> RunRecord:
    output = Descriptor("application/json", f"sha256:{number:064x}", 29)
    parameters = {
        "i": number,
        "prefect.task": "solve",
        "prefect.task_run_id": f"{number:032x}",
        "prefect.attempt": 1,
        "prefect.flow_attempt": 1,
        "prefect.state": "Completed",
        "prefect.started_at": "2026-11-29T02:00:00.000000+00:00",
        "prefect.duration_seconds": number / 7,
        "prefect.host": "here",
    }
    return RunRecord("finished", attachments=Attachments({"output": output}), parameters=parameters)


def _per_run(what: str, seconds: float, runs: int) -> list[str]:
    return [what, f"{seconds:.1f} s, {seconds / runs * 1e3:.2f} ms a Run"]


def _sizes(documents: Sequence[Documents], runs: int) -> Iterator[list[str]]:
    yield ["parts", str(len(documents))]
    for name in ("manifest", "config", "parameters"):
        sizes = [len(getattr(each, name)) for each in documents]
        told = f"at most {max(sizes):,} bytes, {sum(sizes) / runs:.0f} a Run"
        yield [f"{name}, of the parts", told]


if __name__ == "__main__":
    main()
