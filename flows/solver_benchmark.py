"""Compare solvers on instances: every solve is a Run of one experiment, sealed at the end.

Run it by hand or from cron (`python flows/solver_benchmark.py --help`), or serve it every night:
`solver_benchmark.serve("nightly", cron="0 2 * * *", parameters={"sources": ["/data/mps"]})`.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from textwrap import shorten
from typing import Any

if __name__ == "__main__":  # a first run shows its table, not the log of a server it started
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from hard_instances import default_suite
from ommx import Optimality, Sense
from prefect import unmapped
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ommx_prefect import SealedExperiment, current_experiment, current_run, flow, seal, task
from ommx_prefect.exceptions import OmmxPrefectError
from ommx_prefect.instances import InstanceFileError, NamedInstance, expand_sources, load_instance
from ommx_prefect.solvers import SolveOutcomeError, resolve_adapter, solve

Row = dict[str, Any]
Columns = tuple[tuple[str, str, str], ...]

ADAPTERS = ("highs", "scip", "python-mip", "openjij")
# A sampler stops after its sweeps, not after so many seconds.
WITHOUT_TIME_LIMIT = frozenset({"openjij"})
WORKERS = 2
EXPERIMENT = "ommx.local/solver-benchmark"
PIPE_WIDTH = 160
LONGEST_REASON = 200

SUMMARY_COLUMNS: Columns = (
    # key, title, format; a column without values is not shown
    ("instance", "instance", "s"),
    ("variables", "vars", "d"),
    ("constraints", "cons", "d"),
    ("adapter", "adapter", "s"),
    ("seed", "seed", "d"),
    ("outcome", "outcome", "s"),
    ("objective", "objective", ".10g"),
    ("gap_to_best", "gap to best", ".2%"),
    ("seconds", "seconds", ".2f"),
    ("reason", "reason", "s"),
)
TOTALS_COLUMNS: Columns = (
    ("adapter", "adapter", "s"),
    ("runs", "runs", "d"),
    ("optimal", "optimal", "d"),
    ("feasible", "feasible", "d"),
    ("other", "other", "d"),
    ("mean_seconds", "mean seconds", ".2f"),
)
# Keys by which rows are sorted.
ORDER = ("instance", "source", "adapter", "seed")
STYLES = {
    "optimal": "green",
    "feasible": "yellow",
    "no_solution": "yellow",
    "error": "red",
    "unreadable": "red",
}
# Outcomes of a solver that ran: their times count in the mean.
RAN = frozenset({"optimal", "feasible", "no_solution", "infeasible", "unbounded"})

EXAMPLES = """\
examples:
  python flows/solver_benchmark.py
      seeded instances of known hard families, with HiGHS and SCIP
  python flows/solver_benchmark.py models/ extra/p0033.mps.gz miplib2017:air05
      a folder, a file and an instance of a data set
  python flows/solver_benchmark.py models/ --adapter scip --seeds 1,2,3 --time-limit 60
  python flows/solver_benchmark.py models/ --experiment ghcr.io/acme/nightly
      sealed as ghcr.io/acme/nightly:<time>-<name of the flow run>
"""
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
) -> list[Row]:
    """Solve every instance with every adapter and seed; return one row for each.

    What cannot be solved, or not even read, is a row with its reason, and the rest goes on. The
    rows are the experiment's attachment `summary`, and its attachment `totals` sums them up.

    Args:
        sources: MPS, QPLIB and OMMX files, folders of them, names in OMMX's data sets; without
            any, seeded instances of known hard families.
        adapters: Short names of solvers; without any, HiGHS and SCIP.
        time_limit_seconds: Limit of each solve.
        seeds: Random seeds of the solvers; without any, each solver's own.
        experiment: Image name to seal under; without a tag it gets one of its own.
    """
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    choices = list(product(adapters or ADAPTERS[:2], seeds or [None]))
    for adapter, _ in choices:
        resolve_adapter(adapter)  # its import counts in no solve; one that is missing ends here
    try:
        rows = solve_sources(console, sources, choices, time_limit_seconds)
    except KeyboardInterrupt:
        print(STOPPING.format(name=current_experiment().image_name), file=sys.stderr)
        raise
    fill_gaps(rows)
    totals = totals_of(rows)
    current_experiment().log_json("summary", rows)
    current_experiment().log_json("totals", totals)
    console.print(table("Runs", SUMMARY_COLUMNS, rows), table("Totals", TOTALS_COLUMNS, totals))
    return rows


# ---------------------------------------------------------------- instances and solves


def solve_sources(
    console: Console,
    sources: list[str] | None,
    choices: list[tuple[str, int | None]],
    time_limit_seconds: float,
) -> list[Row]:
    """Read and solve everything, showing how far it is; return the rows in the order of names."""
    with console.status("reading"):
        instances, rows = read_all(sources) if sources else (generated(), [])
    with progress(console, len(rows) + len(instances) * len(choices)) as show:
        for row in rows:
            show(row, [])
        rows += solve_all(instances, choices, time_limit_seconds, show)
    return sorted(rows, key=lambda row: [str(row[key] or "") for key in ORDER])


def generated() -> list[NamedInstance]:
    """Return the generated instances under their titles."""
    return [NamedInstance(each.title, each, "hard_instances.py") for each in default_suite()]


def read_all(sources: list[str]) -> tuple[list[NamedInstance], list[Row]]:
    """Read every source; one that cannot be read becomes a Run and a row."""
    instances, rows = [], []
    for source in sources:
        try:
            files = expand_sources([source])
        except InstanceFileError as error:
            rows.append(record_unreadable(source, error.reason))
            continue
        for file in files:
            try:
                instances.append(load_instance(file))
            except InstanceFileError as error:
                rows.append(record_unreadable(file, error.reason))
    return instances, rows


@task(name="unreadable", log_inputs=["source", "reason"], log_output=False)
def record_unreadable(source: str, reason: str) -> Row:
    """Record a source that holds no instance, so that nobody misses it silently."""
    row = row_of(Path(source).name, source, outcome="unreadable", reason=reason)
    for key in ("instance", "outcome"):
        current_run().log_parameter(key, row[key])
    return row


# A benchmark that found yesterday's solve in a cache would measure nothing.
@task(name="benchmark", log_inputs=False, log_output=False, cache_policy=NO_CACHE)
def benchmark(
    named: NamedInstance, adapter: str, seed: int | None, time_limit_seconds: float
) -> Row:
    """Solve an instance in this task's own Run; the Run gets what `solve` records, and more.

    `seconds` are those of the whole call: building the model, solving it, decoding the solution;
    `solve_seconds` beside it are the solver's.
    """
    instance = named.instance
    row = row_of(named.name, named.source, adapter, seed, reason="; ".join(named.warnings))
    row["variables"] = len(instance.decision_variables)
    row["constraints"] = len(instance.constraints)
    row["sense"] = "minimize" if instance.sense == Sense.Minimize else "maximize"
    limit = None if adapter in WITHOUT_TIME_LIMIT else time_limit_seconds
    start = time.perf_counter()
    try:
        solution = solve.fn(adapter, instance, time_limit_seconds=limit, seed=seed)
        row["outcome"] = "optimal" if solution.optimality == Optimality.Optimal else "feasible"
        row["objective"] = solution.objective
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
    choices: list[tuple[str, int | None]],
    time_limit_seconds: float,
    show: Callable[[Row, list[str]], None],
) -> Iterator[Row]:
    """Map the solves over the task runner's workers, and yield their rows as they end."""
    waiting: dict[PrefectFuture[Row], Row] = {}
    for named in instances:
        adapters, seeds = (list(each) for each in zip(*choices, strict=True))
        limit = unmapped(time_limit_seconds)
        futures = benchmark.map(unmapped(named), adapters, seeds, limit)
        for future, (adapter, seed) in zip(futures, choices, strict=True):
            waiting[future] = row_of(named.name, named.source, adapter, seed)
    for future in as_completed(list(waiting)):
        row = waiting.pop(future)
        result = future.result(raise_on_failure=False)
        row = result if isinstance(result, dict) else row | {"reason": str(result)}
        # Workers take tasks in the order of submission: the first that are left are running.
        show(row, [label(each) for each in list(waiting.values())[:WORKERS]])
        yield row


# ---------------------------------------------------------------- rows and totals


def row_of(
    instance: str, source: str, adapter: str | None = None, seed: int | None = None, **known: str
) -> Row:
    """Return a row that has every key, and the outcome `error` until something better is known."""
    row: Row = dict.fromkeys(key for key, _, _ in SUMMARY_COLUMNS)
    return row | {
        "instance": instance,
        "source": source,
        "adapter": adapter,
        "seed": seed,
        "outcome": "error",
        **known,
    }


def fill_gaps(rows: Iterable[Row]) -> None:
    """Fill in each objective's distance to the best one that this benchmark found.

    gap_to_best = |objective - best| / max(|objective|, |best|), and 0 where both are 0.
    """
    solved = grouped((row for row in rows if row["objective"] is not None), "source", "instance")
    for group in solved.values():
        choose = min if group[0]["sense"] == "minimize" else max
        best = choose(row["objective"] for row in group)
        for row in group:
            scale = max(abs(row["objective"]), abs(best))
            row["gap_to_best"] = abs(row["objective"] - best) / scale if scale else 0.0


def totals_of(rows: Iterable[Row]) -> list[Row]:
    """Count the outcomes of each adapter, and take the mean of its seconds.

    The mean is the geometric one, shifted by 1 s: exp(sum(log(seconds + 1)) / n) - 1 over the n
    solves in which the solver ran. One that came to the limit counts with the time it took.
    """
    groups = grouped((row for row in rows if row["adapter"]), "adapter")
    return [
        {
            "adapter": adapter,
            "runs": len(group),
            "optimal": sum(row["outcome"] == "optimal" for row in group),
            "feasible": sum(row["outcome"] == "feasible" for row in group),
            "other": sum(row["outcome"] not in ("optimal", "feasible") for row in group),
            "mean_seconds": shifted_mean([r["seconds"] for r in group if r["outcome"] in RAN]),
        }
        for (adapter,), group in sorted(groups.items())
    ]


def shifted_mean(seconds: list[float]) -> float | None:
    """Return the geometric mean, shifted by 1 s; None of nothing."""
    if not seconds:
        return None
    return math.expm1(sum(map(math.log1p, seconds)) / len(seconds))


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return the rows by the values of some keys."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups


# ---------------------------------------------------------------- what people see


def label(row: Row) -> str:
    """Return the short name of a solve."""
    seed = "" if row["seed"] is None else f" seed {row['seed']}"
    return f"{row['instance']} {row['adapter'] or ''}{seed}".strip()


@contextmanager
def progress(console: Console, total: int) -> Iterator[Callable[[Row, list[str]], None]]:
    """Print a line for each result, and on a terminal a bar and what is running now."""
    columns = (
        MofNCompleteColumn(),
        BarColumn(20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[running]}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        solves = bar.add_task("", total=total, running="")

        def show(row: Row, running: list[str]) -> None:
            cells = [cell(row, key, form) for key, _, form in SUMMARY_COLUMNS[5:]]
            line = f"{label(row):<40} {'  '.join(filter(None, cells))}"
            console.print(line, highlight=False, no_wrap=True, overflow="ellipsis")
            bar.update(solves, advance=1, running=", ".join(running))

        yield show


def table(title: str, columns: Columns, rows: list[Row]) -> Table:
    """Return a table for the screen, without the columns that hold nothing."""
    shown = [each for each in columns if any(row[each[0]] not in (None, "") for row in rows)]
    result = Table(title=title, title_justify="left")
    for _, heading, form in shown:
        result.add_column(heading, justify="left" if form == "s" else "right", overflow="fold")
    for row in rows:
        result.add_row(*(cell(row, key, form) for key, _, form in shown))
    return result


def cell(row: Row, key: str, form: str) -> str:
    """Return the text of a cell; nothing for None. The whole of a long reason is in its Run."""
    text = "" if row[key] is None else format(row[key], form)
    if key == "reason":
        text = shorten(text, LONGEST_REASON, placeholder="…")
    style = STYLES.get(text) if key == "outcome" else None
    return f"[{style}]{text}[/{style}]" if style else escape(text)


def announce(sealed: SealedExperiment) -> None:
    """Say what was sealed and how it is opened, in lines that no terminal cuts."""
    counts = ", ".join(f"{count} {status}" for status, count in sealed.counts.items())
    print(f"\nSealed {sealed.image_name}\n       {sealed.manifest_digest} ({counts})")
    for warning in sealed.warnings:
        print(f"Warning: {warning}")
    code = f"from ommx.experiment import Experiment; e = Experiment.load('{sealed.image_name}')"
    print(f'Open it:\n  python -c "{code}; print(e.run_parameters_df())"')


# ---------------------------------------------------------------- command line


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark as the command line says; 0 unless the benchmark itself cannot run."""
    given = parser().parse_args(arguments)
    logging.getLogger("prefect.flow_runs").addFilter(is_news)
    try:
        start_server()
        state = solver_benchmark(
            sources=given.sources,
            adapters=given.adapter,
            time_limit_seconds=given.time_limit,
            seeds=given.seeds,
            experiment=given.experiment,
            return_state=True,
        )
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    if not state.is_completed():
        print(f"The benchmark did not run: {state.message}", file=sys.stderr)
        return 1
    announce(seal(state.state_details.flow_run_id))
    return 0


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


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(
        description="Solve instances with several solvers and seal every run in one experiment.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help=".mps, .mps.gz, .qplib or .ommx file, folder, "
        "miplib2017:NAME or qplib:NAME (default: generated instances)",
    )
    add(
        "--adapter",
        action="append",
        choices=ADAPTERS,
        help="solver; may be repeated (default: highs and scip)",
    )
    add(
        "--time-limit",
        type=positive,
        default=5.0,
        metavar="SECONDS",
        help="of each solve (default: %(default)g)",
    )
    add("--seeds", type=integers, metavar="1,2,...", help="solve once with each random seed")
    add(
        "--experiment",
        default=EXPERIMENT,
        metavar="IMAGE",
        help="OCI image name to seal under (default: %(default)s)",
    )
    return result


def positive(text: str) -> float:
    """Parse a number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def integers(text: str) -> list[int]:
    """Parse integers with commas between them."""
    return [int(each) for each in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
