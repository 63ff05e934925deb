"""Solve recorded instances again: `replay IMAGE`."""

from __future__ import annotations

import secrets
import time
from itertools import compress
from typing import Annotated, Any

import typer
from ommx.adapter import SamplerAdapter, SolverAdapter
from ommx.experiment import Experiment

from ommx_prefect._catalogue.opened import Opened
from ommx_prefect._catalogue.subject import seal_about
from ommx_prefect._oci.image_name import with_suffix
from ommx_prefect._solver.options import option_value
from ommx_prefect._values.display import for_terminal
from ommx_prefect.analysis._tolerance import Tolerance
from ommx_prefect.cli._options import AsJson, Image, pair_of
from ommx_prefect.cli._output import finding, print_json, refused, say
from ommx_prefect.cli._recorded import RecordedSolve, adapter_class, recorded_solves
from ommx_prefect.cli._registry import open_here
from ommx_prefect.cli._replayed import Replayed, answers_of, judged, replay_in
from ommx_prefect.cli._solver_output import solvers_on_stderr
from ommx_prefect.cli._table import print_table
from ommx_prefect.cli._waiting import working
from ommx_prefect.exceptions import SolverOptionError

# Outcomes that are no failure.
ANSWERED = frozenset({"optimal", "feasible", "infeasible", "unbounded"})
TITLES = (
    *("run", "instance", "adapter", "variant", "seed", "limit", "outcome", "outcome now"),
    *("objective", "objective now", "seconds", "seconds now"),
)
# Shown where they tell one row from another.
TELLING = ("variant", "seed", "limit")


def replay_command(
    image: Image,
    run: Annotated[int | None, typer.Option("--run", help="Solve this Run again.")] = None,
    solve: Annotated[int | None, typer.Option("--solve", help="Only this Solve of it.")] = None,
    adapter: Annotated[
        str | None,
        typer.Option("--adapter", help="Another solver: highs, scip, or package.module:Class."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="One more option of the solver."),
    ] = None,
    all_failed: Annotated[
        bool, typer.Option("--all-failed", help="Solve again all that have no answer.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Seal the replay, with the night as its OCI subject."),
    ] = False,
    relative: Annotated[float, typer.Option(help="Objectives within this share agree.")] = 1e-4,
    absolute: Annotated[float, typer.Option(help="And those this far apart.")] = 1e-6,
    as_json: AsJson = False,
) -> None:
    """Solve recorded instances again, with the recorded solver, options and seed.

    It says whether outcome and objective agree, and what is other on this machine where they do
    not. Nothing that the artifact holds is imported or run: an unknown adapter has to be named by
    `--adapter`.

    Exit code: 1 where an answer differs.
    """
    opened = open_here(image)
    wanted = list(recorded_solves(opened, run, solve))
    if all_failed:
        wanted = [x for x in wanted if x.answer.get("outcome") not in ANSWERED]
    if not wanted and not all_failed:
        raise refused(f"{opened.name} holds no such solve")
    options = {name: option_value(value) for name, value in map(pair_of, option or ())}
    tolerance = Tolerance(absolute, relative)
    solvers = [adapter_class(adapter or each.adapter) for each in wanted]
    answers, sealed = _replay(opened, wanted, solvers, options, is_kept=record and bool(wanted))
    rows = [
        judged(opened, each, after, tolerance) for each, after in zip(wanted, answers, strict=True)
    ]
    if as_json:
        print_json({"image": opened.name, "replay": sealed, "solves": [x.as_json() for x in rows]})
    else:
        _show(rows, sealed)
    if differ := sum(not row.agrees for row in rows):
        raise finding(f"{differ} of {len(rows)} answers differ")


def _replay(
    opened: Opened,
    wanted: list[RecordedSolve],
    solvers: list[type[SolverAdapter]],
    options: dict[str, Any],
    *,
    is_kept: bool,
) -> tuple[list[dict[str, Any]], str | None]:
    """Solve again; return the answers, and the name of the replay where it is kept."""
    replay = Experiment() if is_kept else Experiment.with_temp_local_registry()
    with solvers_on_stderr(), working("solving", len(wanted)) as work:
        for each, solver in zip(wanted, solvers, strict=True):
            work.text = for_terminal(f"solving {each.name}")
            _solve_one(replay, each, solver, options)
            work.advance()
    name = _name(opened) if is_kept else None
    return answers_of(_sealed(replay, opened, name)), name


def _solve_one(
    replay: Experiment,
    each: RecordedSolve,
    solver: type[SolverAdapter],
    options: dict[str, Any],
) -> None:
    try:
        with replay.run() as run:
            replay_in(run, each, solver, options)
    except SolverOptionError as error:
        # What was refused then is an answer, and no reason not to solve the rest.
        if error.option in options or issubclass(solver, SamplerAdapter):
            raise


def _name(opened: Opened) -> str:
    """Return the name of a replay, in a repository of its own: it is no night.

    `ghcr.io/acme/nightly:one` is replayed as `ghcr.io/acme/nightly-replays:one-<time>-<random>`; of
    one that has a digest for a name, twelve digits of it are the tag.
    """
    pinned, at, digest = opened.name.partition("@")
    repository, _, tag = pinned.rpartition(":")
    if at:
        repository, tag = pinned, digest.rpartition(":")[2][:12]
    now = f"{time.strftime('%Y%m%d%H%M%S')}-{secrets.token_hex(3)}"
    return with_suffix(f"{repository}-replays:{tag}", now)


def _sealed(replay: Experiment, opened: Opened, name: str | None) -> Experiment:
    if name is None:
        replay.commit()
        return replay
    return seal_about(replay, name, opened.digest)


def _show(rows: list[Replayed], sealed: str | None) -> None:
    cells = [
        (
            *(x.run, x.instance, x.adapter, x.variant, x.seed, x.limit),
            *(x.outcome_before, x.outcome_after, x.objective_before, x.objective_after),
            *(x.seconds_before, x.seconds_after),
        )
        for x in rows
    ]
    if cells:
        is_shown = [
            title not in TELLING or len(set(column)) > 1
            for title, column in zip(TITLES, zip(*cells, strict=True), strict=True)
        ]
        print_table(list(compress(TITLES, is_shown)), [list(compress(x, is_shown)) for x in cells])
    for row in rows:
        if not row.agrees:
            why = "; ".join(row.why) or "nothing here explains it"
            say(f"Run {row.run} {row.instance} differs: {why}")
    if not rows:
        say("Every solve has an answer.")
    elif all(row.agrees for row in rows):
        say(f"All {len(rows)} agree.", "green")
    if sealed:
        say(f"Sealed {sealed}")
