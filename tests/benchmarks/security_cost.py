"""What it costs that no record is believed: reading and writing with the checks, and without.

    python -m tests.benchmarks.security_cost            # 300 records, 20 rounds
    python -m tests.benchmarks.security_cost --tiny     # for CI

Both ways are measured in turns in one process. Without the checks a record has no digest, and its
fields are taken as they are; all else is the same.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from tests.benchmarks.attempts import new_flow_run_id, record_small, seal  # first

# isort: split
from ommx_prefect._shards import schema, shard
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages import start_record
from tests.benchmarks.measures import alternating, ratio, shown, table

# What is stored under another key than its field has.
FIELDS = {schema.ROOT_FLOW_RUN_KEY: "root_flow_run_id"}


def believed(kind: type, fields: Any) -> Any:
    """Make a document of its fields, as they are."""
    if kind is shard.Shard:
        fields = {**fields, "attempt": believed(Attempt, fields["attempt"])}
    return kind(**{FIELDS.get(key, key): value for key, value in fields.items()})


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Write no digests, check none, and take fields as they are."""
    with contextlib.ExitStack() as stack:
        for place, name, other in (
            (schema, "with_digest", lambda document, name: document),
            (schema, "FIRST_DOCUMENT_FORMAT", 99),
            (shard, "packed_with_digest", lambda packed: packed),
            (shard, "FIRST_SHARD_FORMAT", 99),
            (shard, "parsed", believed),
            (start_record, "parsed", believed),
        ):
            stack.enter_context(mock.patch.object(place, name, other))
        yield


def record_and_seal(runs: int) -> None:
    """Record and seal, as a flow run does."""
    seal(record_small(new_flow_run_id(), runs))


def without_checks(work: Callable[[], object]) -> Callable[[], object]:
    """Do something without the checks."""

    def run() -> object:
        with unchecked():
            return work()

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    runs, rounds = (10, 1) if options.tiny else (options.runs, options.rounds)
    rows = []
    for what, work in (
        ("record", lambda: record_small(new_flow_run_id(), runs)),
        ("record and seal", lambda: record_and_seal(runs)),
    ):
        found = alternating({"without": without_checks(work), "with": work}, rounds)
        base, full = found["without"].cpu, found["with"].cpu
        rows.append([what, shown(base, runs), shown(full, runs), ratio(full, base)])
    titles = ("what", "ms of processor a Run, without", "with", "ratio")
    print(table(titles, rows))


if __name__ == "__main__":
    main()
