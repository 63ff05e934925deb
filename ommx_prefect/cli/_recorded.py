"""Read a recorded solve back from a Run: instance, adapter, options and answer.

Nothing is imported because an artifact names it: an adapter that the table of backends does not
know is solved with only where the user names it.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from ommx import Instance, Solution
from ommx.adapter import SolverAdapter
from ommx.experiment import Sampling, SealedRun

from ommx_prefect._catalogue.contents import parameters_of
from ommx_prefect._catalogue.opened import Opened
from ommx_prefect._format.earlier import own
from ommx_prefect._solver.backends import BACKENDS, backend_of, resolve_adapter
from ommx_prefect._solver.options import LIMITS, OPTION
from ommx_prefect._solver.outcome import found_in_samples
from ommx_prefect._solver.telemetry import INSTANCE, START
from ommx_prefect.analysis import solves
from ommx_prefect.analysis._solves import rows_of
from ommx_prefect.exceptions import UnknownAdapterError

TIME_LIMIT = "time_limit_seconds"
# Options of OMMX's adapters that are none of their solvers'.
NOT_OPTIONS = frozenset({"verbose"})


@dataclass(frozen=True, kw_only=True)
class RecordedSolve:
    """One solve, or sampling, that can be done again.

    Attributes:
        run: Its Run.
        solve: Its number there; None of a sampling, and of a solve that never ended.
        instance: What was solved.
        name: What it is called.
        adapter: The adapter's class, by name.
        options: Under the names of its solver.
        limits: Those of our names that the Run says.
        answer: Outcome, objective and seconds that were recorded.
        start: What the solver started from.
    """

    run: int
    solve: int | None = None
    instance: Instance
    name: str
    adapter: str
    options: Mapping[str, Any]
    limits: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)
    start: Solution | None = None


def recorded_solves(
    opened: Opened, run_id: int | None = None, solve_id: int | None = None
) -> Iterator[RecordedSolve]:
    """Yield the solves and samplings of one Run, or of all, that can be done again."""
    logged = parameters_of(opened)
    experiment = opened.experiment
    answers = _answers(solves(experiment, digests=False, earlier=run_id is not None))
    wanted = own(experiment.runs, experiment.annotations) if run_id is None else experiment.runs
    for run in wanted:
        if run_id in (None, run.run_id):
            for each in _of_run(run, logged[run.run_id], answers):
                if solve_id in (None, each.solve):
                    yield each


def _of_run(
    run: SealedRun, logged: Mapping[str, Any], answers: Mapping[Any, Mapping[str, Any]]
) -> Iterator[RecordedSolve]:
    limits = {name: logged[name] for name in LIMITS if name in logged}
    for solve in run.solves:
        answer = answers.get((run.run_id, solve.solve_id), {})
        yield RecordedSolve(
            run=run.run_id,
            solve=solve.solve_id,
            instance=solve.input,
            name=str(answer.get("instance") or solve.input.title or f"run {run.run_id}"),
            adapter=solve.adapter.rpartition(".")[2],
            options=_plain(solve.adapter_options),
            limits=limits,
            answer=answer,
            start=_start_of(run) if len(run.solves) == 1 else None,
        )
    yield from (_of_sampling(run, x, answers) for x in run.samplings)
    has_ended = run.solves or run.samplings
    if not has_ended and "adapter" in logged and (instance := _instance_of(run)) is not None:
        options = {
            name.removeprefix(OPTION): value
            for name, value in logged.items()
            if name.startswith(OPTION)
        }
        yield RecordedSolve(
            run=run.run_id,
            instance=instance,
            name=str(logged.get("instance", f"run {run.run_id}")),
            adapter=str(logged["adapter"]),
            options=options,
            limits=limits,
            answer=answers.get((run.run_id, None), {}),
        )


def _of_sampling(
    run: SealedRun, sampling: Sampling, answers: Mapping[Any, Mapping[str, Any]]
) -> RecordedSolve:
    """A sampling has a row of its own where its Run holds no more; else its samples tell."""
    answer = answers.get((run.run_id, None)) if len(run.samplings) == 1 else None
    if answer is None:
        answer = {} if sampling.output is None else found_in_samples(sampling.output)
    return RecordedSolve(
        run=run.run_id,
        instance=sampling.input,
        name=str(answer.get("instance") or sampling.input.title or f"run {run.run_id}"),
        adapter=sampling.adapter.rpartition(".")[2],
        options=_plain(sampling.adapter_options),
        answer=answer,
    )


def _start_of(run: SealedRun) -> Solution | None:
    with contextlib.suppress(ValueError):  # a user's own, of another kind
        return run.get_solution(START) if START in run.attachment_names else None
    return None


def _instance_of(run: SealedRun) -> Instance | None:
    with contextlib.suppress(ValueError):  # a user's own, of another kind
        return run.get_instance(INSTANCE) if INSTANCE in run.attachment_names else None
    return None


def _answers(table: pd.DataFrame) -> dict[Any, dict[str, Any]]:
    return {(row["run"], row["solve"]): row for row in rows_of(table)}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in NOT_OPTIONS}


def adapter_class(name: str) -> type[SolverAdapter]:
    """Return the adapter that a user names: `highs`, or a class as `package.module:Class`.

    Raises:
        UnknownAdapterError: There is none.
    """
    module, sign, attribute = name.partition(":")
    if not sign:
        return resolve_adapter(_short(name))
    try:
        found: type[SolverAdapter] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownAdapterError(name, str(error)) from error
    return resolve_adapter(found)


def _short(name: str) -> str:
    return next((backend.name for backend in BACKENDS if backend.adapter == name), name)


def _time_it_had(recorded: RecordedSolve) -> dict[str, float]:
    """Return the seconds of a solve that a timeout or an interruption ended, as a limit."""
    seconds = recorded.answer.get("seconds")
    if recorded.answer.get("outcome") is not None or not seconds:
        return {}
    return {TIME_LIMIT: max(1.0, float(seconds))}


def settings_for(
    recorded: RecordedSolve, adapter: type[SolverAdapter]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the limits and options to solve with, as `solve` takes them.

    Another solver than the recorded one is given the limits alone: options are each solver's own.
    A solve that was stopped before its end is given as long as it had, unless it had a limit.
    """
    backend = backend_of(adapter)
    known = next((x for x in BACKENDS if x.adapter == recorded.adapter), None)
    names = {theirs: ours for ours, theirs in (known.limits if known else {}).items()}
    limits = {names[x]: value for x, value in recorded.options.items() if x in names}
    limits = {**_time_it_had(recorded), **limits, **recorded.limits}
    options = {x: value for x, value in recorded.options.items() if x not in names}
    takes = backend.limits if backend else {}
    return (
        {name: value for name, value in limits.items() if name in takes},
        options if adapter.__name__ == recorded.adapter else {},
    )
