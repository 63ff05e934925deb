"""Compare solvers on instances: every solve is a Run of one experiment, sealed at the end.

Run it by hand or from cron (`python flows/solver_benchmark.py --help`), or serve it every night:
`solver_benchmark.serve("nightly", cron="0 2 * * *", parameters={"sources": ["/data/mps"]})`.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

if __name__ == "__main__":  # a first run shows its table, not the log of a server it started
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    # The first start of a temporary server makes its database, which takes a while.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "240")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from benchmark_arguments import ADAPTERS, EXPERIMENT, choice_of, parser
from benchmark_findings import compared, contradictions_of, earlier_night, page_of, totals_of
from benchmark_inputs import Unreadable, generated, read_all
from benchmark_rows import Choice, Row, fill_gaps, in_order, row_of
from benchmark_screen import (
    Show,
    announce,
    announce_failure,
    console_here,
    label,
    print_comparison,
    print_tables,
    progress,
)
from ommx import Sense
from ommx.experiment import Experiment
from prefect import unmapped
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner
from rich.console import Console

from ommx_prefect import current_experiment, current_run, flow, load_experiment, seal, task
from ommx_prefect.exceptions import InstanceFileError, OmmxPrefectError
from ommx_prefect.instances import NamedInstance
from ommx_prefect.solvers import SolveOutcomeError, outcome_of, resolve_adapter, solve

# A sampler stops after its sweeps, not after so many seconds.
WITHOUT_TIME_LIMIT = frozenset({"openjij"})
# The others have no solution to give before they end.
WITH_CHECKPOINTS = frozenset({"highs", "scip"})
WORKERS = 2

STOPPING = """
Stopping: the solves that run now end at their time limit, then what is done is sealed. Open it:
  Experiment.restore_from_checkpoint("{name}")"""


def image_name(flow_run: FlowRun) -> str:
    """Return the image name that a flow run was given; without a tag it gets one of its own."""
    return flow_run.parameters.get("experiment") or EXPERIMENT


@flow(
    name="solver-benchmark",
    experiment=image_name,
    task_runner=ThreadPoolTaskRunner(max_workers=WORKERS),
)
def solver_benchmark(
    sources: list[str] | None = None,
    adapters: list[str] | None = None,
    time_limit_seconds: float = 5.0,
    seeds: list[int] | None = None,
    experiment: str = EXPERIMENT,
    variants: list[str] | None = None,
    checkpoint_seconds: float | None = None,
) -> list[Row]:
    """Solve every instance with every adapter and seed; return one row for each.

    What cannot be solved, or not even read, is a row with its reason, and the rest goes on; where
    nothing at all can be read, the flow fails. The rows are the experiment's attachment `summary`,
    its attachment `totals` sums them up, and `contradictions` has what cannot all be true.

    Args:
        sources: MPS, LP, QPLIB and OMMX files, folders of them, names in OMMX's data sets; without
            any, seeded instances of known hard families. A byte of a file name that is not UTF-8
            is an escape, as in the rows.
        adapters: Short names of solvers; without any, HiGHS and SCIP.
        time_limit_seconds: Limit of each solve.
        seeds: Random seeds of the solvers; without any, each solver's own.
        experiment: Image name to seal under; without a tag it gets one of its own.
        variants: Solvers with options of their own, too, such as `highs:presolve=off`.
        checkpoint_seconds: Make the best solution of a solve durable at most that often.
    """
    console = console_here()
    plain = [Choice(adapter) for adapter in adapters or ADAPTERS[:2]]
    wanted = [*plain, *map(choice_of, variants or [])]
    each_time = {"checkpoint_seconds": checkpoint_seconds}
    choices = [replace(x, seed=y, **each_time) for x, y in product(wanted, seeds or [None])]
    for choice in choices:
        resolve_adapter(choice.adapter)  # its import counts in no solve; without it the flow ends
    try:
        rows = solve_sources(console, sources, choices, time_limit_seconds)
    except KeyboardInterrupt:
        print(STOPPING.format(name=current_experiment().image_name), file=sys.stderr)
        raise
    fill_gaps(rows)
    found = {"summary": rows, "totals": totals_of(rows), "contradictions": contradictions_of(rows)}
    for name, value in found.items():
        current_experiment().log_json(name, value)
    print_tables(console, *found.values())
    if rows and all(row["outcome"] == "unreadable" for row in rows):
        # A night that could solve nothing is not a green one.
        first = f"no source holds an instance; the first of {len(rows)}: {rows[0]['reason']}"
        raise InstanceFileError(rows[0]["source"], first)
    return rows


# ---------------------------------------------------------------- instances and solves


def solve_sources(
    console: Console,
    sources: list[str] | None,
    choices: list[Choice],
    time_limit_seconds: float,
) -> list[Row]:
    """Read and solve everything, showing how far it is; return the rows in the order of names."""
    with console.status("reading"):
        instances, unreadable = read_all(sources) if sources else (generated(), [])
    with progress(console, len(unreadable) + len(instances) * len(choices)) as show:
        rows = [note_unreadable(each, show) for each in unreadable]
        rows += solve_all(instances, choices, time_limit_seconds, show)
    return in_order(rows)


def note_unreadable(found: Unreadable, show: Show) -> Row:
    """Record and show a source that holds no instance, so that nobody misses it silently."""
    row = row_of(found.name, found.source, outcome="unreadable", reason=found.reason)
    record_unreadable(row, return_state=True)  # a Run that fails is no end of the benchmark
    show(row, [])
    return row


@task(name="unreadable", log_inputs=False, log_output=False, cache_policy=NO_CACHE)
def record_unreadable(row: Row) -> None:
    """Record in a Run what its row says."""
    for key in ("instance", "source", "outcome", "reason"):
        current_run().log_parameter(key, row[key])


# A benchmark that found yesterday's solve in a cache would measure nothing.
@task(
    name="benchmark",
    task_run_name="{named.name} {choice.adapter}",
    log_inputs=False,
    log_output=False,
    cache_policy=NO_CACHE,
)
def benchmark(named: NamedInstance, choice: Choice, time_limit_seconds: float) -> Row:
    """Solve an instance in this task's own Run; the Run gets what `solve` records, and more.

    `seconds` are those of the whole call: building the model, solving it, decoding the solution;
    `solve_seconds` beside it are the solver's.
    """
    instance = named.instance
    row = choice.row(named.name, named.source, reason="; ".join(named.warnings))
    row["variables"] = len(instance.decision_variables)
    row["constraints"] = len(instance.constraints)
    row["sense"] = "minimize" if instance.sense == Sense.Minimize else "maximize"
    limit = None if choice.adapter in WITHOUT_TIME_LIMIT else time_limit_seconds
    row["limit"] = limit
    often = choice.checkpoint_seconds if choice.adapter in WITH_CHECKPOINTS else None
    given = {"seed": choice.seed, "options": dict(choice.options) or None}
    start = time.perf_counter()
    try:
        solution = solve.fn(
            choice.adapter, instance, time_limit_seconds=limit, checkpoint_seconds=often, **given
        )
        row["outcome"], row["objective"] = outcome_of(solution), solution.objective
    except SolveOutcomeError as error:
        row["outcome"], row["reason"] = error.outcome, error.reason
    except OmmxPrefectError as error:
        row["reason"] = str(error)
    row["seconds"] = time.perf_counter() - start
    for key in ("source", "variables", "constraints", "sense", "seconds", "reason"):
        if row[key] != "":
            current_run().log_parameter(key, row[key])
    return row


def solve_all(
    instances: list[NamedInstance],
    choices: list[Choice],
    time_limit_seconds: float,
    show: Show,
) -> Iterator[Row]:
    """Map the solves over the task runner's workers, and yield their rows as they end."""
    waiting: dict[PrefectFuture[Row], Row] = {}
    for named in instances:
        futures = benchmark.map(unmapped(named), choices, unmapped(time_limit_seconds))
        for future, choice in zip(futures, choices, strict=True):
            waiting[future] = choice.row(named.name, named.source)
    for future in as_completed(list(waiting)):
        row = waiting.pop(future)
        result = future.result(raise_on_failure=False)
        row = result if isinstance(result, dict) else row | {"reason": str(result)}
        # Workers take tasks in the order of submission: the first that are left are running.
        show(row, [label(each) for each in list(waiting.values())[:WORKERS]])
        yield row


# ---------------------------------------------------------------- command line


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark as the command line says; 0 unless the benchmark itself cannot run."""
    given = parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name must not end it, whatever the locale
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.getLogger("prefect.flow_runs").addFilter(is_news)
    try:
        start_server()
    except RuntimeError as error:
        cure = "Start one by `prefect server start`, and set PREFECT_API_URL."
        return failed(f"Prefect's temporary server did not start: {error}\n{cure}")
    except KeyboardInterrupt:
        return failed("Interrupted.", 130)
    try:
        before = earlier_night(given.compare_with, given.experiment) if given.compare_with else None
    except (OmmxPrefectError, RuntimeError, ValueError) as error:  # OMMX's own are the last two
        return failed(f"--compare-with {given.compare_with}: {error}")
    try:
        state = solver_benchmark(
            sources=given.sources,
            adapters=given.adapter,
            time_limit_seconds=given.time_limit,
            seeds=given.seeds,
            experiment=given.experiment,
            variants=given.variant,
            checkpoint_seconds=given.checkpoint_seconds,
            return_state=True,
        )
    except KeyboardInterrupt:
        return failed("Interrupted.", 130)
    if not state.is_completed():
        announce_failure(f"The benchmark failed: {state.message}", state.state_details.flow_run_id)
        return 1
    announce(seal(state.state_details.flow_run_id))
    return look_back(load_experiment(state.state_details.flow_run_id), before, given.report)


def look_back(night: Experiment, before: Experiment | None, page: str | None) -> int:
    """Write the page, compare with the earlier night, and return 1 if something became worse."""
    if page is not None:
        try:
            print(f"Page: {page_of(night, before, page)}")
        except OSError as error:  # what is sealed can be reported again
            return failed(f"--report {page} cannot be written: {error.strerror}")
    if before is None:
        return 0
    found = compared(before, night)
    print_comparison(found, before.image_name)
    return 1 if found.regressions else 0


def failed(why: str, code: int = 1) -> int:
    """Say why it did not run to its end; return the exit code."""
    print(why, file=sys.stderr)
    return code


def is_news(record: logging.LogRecord) -> bool:
    """Keep tracebacks of what the user got wrong off the screen: the message comes at the end."""
    return not (record.exc_info and isinstance(record.exc_info[1], OmmxPrefectError))


def start_server() -> None:
    """Start Prefect's own server, if there is no other, where Ctrl-C does not reach it.

    A terminal sends Ctrl-C to every process of the script. Without its server Prefect could not
    say that the flow run ended, and would try for more than a minute; a blocked signal is
    inherited by the server's process.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            get_client(sync_client=True)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


if __name__ == "__main__":
    sys.exit(main())
