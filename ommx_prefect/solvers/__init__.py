"""Ready-made recorded tasks that solve or sample an instance, and report its outcome.

    from ommx_prefect import flow
    from ommx_prefect.instances import load_instance
    from ommx_prefect.solvers import solve

    @flow
    def nightly(paths: list[str]) -> None:
        for path in paths:
            solve("highs", load_instance(path).instance, time_limit_seconds=60)

Each call is one Run with the parameters `instance`, `instance_digest`, `adapter`, `sense`,
`outcome`, `objective`, `feasible`, `optimality`, `solve_seconds`, the limits that were set, and
what was measured (`telemetry`: the bound, the gap, nodes, times; docs/reference/telemetry.md), and
the attachments `solver.log` and `trajectory` (and `readers`, those who agreed on the file of a
loaded instance), and one Solve (or Sampling) record with its own status, options, input and output.
`solver_warning` is what HiGHS warned of when its model was built; `reason` is why there is no
solution, where nothing is raised (`raise_on_failure=False`). All that is known before the
solver starts is durable by then: a Run whose process is killed has the parameters `instance`,
`instance_digest`, `adapter`, `sense`, the limits and `option.<name>`, and the instance as its
attachment `instance`; with `checkpoint_seconds` also the best solution so far, as `incumbent`. A
call whose result Prefect has cached is a Run with the same parameters but times, with
`option.<name>` for each option, for it has no Solve record, and with the Solution (or SampleSet) as
its `output`; the Solution knows its outcome (`outcome_of`), and a cached None knows none.

| outcome | what it means | raised |
|---|---|---|
| `optimal` | feasible, and proved best within a relative gap of 1e-4 | |
| `feasible` | feasible, not proved best | |
| `no_solution` | stopped at a limit, or nothing feasible was found | `NoSolutionError` |
| `infeasible` | proved that there is none | `InfeasibleError` |
| `unbounded` | proved that there is no best | `UnboundedError` |
| `not_applicable` | the adapter does not take this class of instance | `NotApplicableError` |
| `error` | adapter or solver failed, or its answer is infeasible | `SolverError` |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ommx import Instance, SampleSet, Solution
from ommx.adapter import SamplerAdapter, SolverAdapter
from prefect.states import Cancelled

from ommx_prefect._decorators.cached import when_cached
from ommx_prefect._decorators.task import task
from ommx_prefect._recording.current import current_run
from ommx_prefect._solver.backends import resolve_adapter
from ommx_prefect._solver.outcome import outcome_of
from ommx_prefect._solver.start import StartLike
from ommx_prefect._solver.telemetry import Telemetry
from ommx_prefect.exceptions import (
    InfeasibleError,
    NoSolutionError,
    NotApplicableError,
    SolveOutcomeError,
    SolverError,
    SolverOptionError,
    UnboundedError,
    UnknownAdapterError,
)
from ommx_prefect.instances._cache_keys import register_cache_keys
from ommx_prefect.instances._digest import instance_digest
from ommx_prefect.solvers._parameters import log_cached_sample, log_cached_solve, log_unsolved
from ommx_prefect.solvers._race import (
    end_race,
    new_race,
    racer,
    racers_of,
    racing,
    require_flow,
    result_of_race,
    win,
    winner_of,
)
from ommx_prefect.solvers._solve import sample_in, solve_in
from ommx_prefect.solvers._stopping import LostRace
from ommx_prefect.solvers._task import helpful, refuse_unknown, run_name

register_cache_keys()


# Inputs and output are in the Solve record already.
@helpful
@task(name="solve", task_run_name=run_name, log_inputs=False, log_output=False)
@when_cached(log_cached_solve)
def solve(
    adapter: type[SolverAdapter] | str,
    instance: Instance,
    *,
    time_limit_seconds: float | None = None,
    mip_gap: float | None = None,
    seed: int | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    raise_on_failure: bool = True,
    telemetry: Telemetry = "full",
    checkpoint_seconds: float | None = None,
    start: StartLike | Literal["previous"] | None = None,
    start_required: bool = False,
    resume: bool = False,
    isolate: bool = False,
    memory_limit_mb: float | None = None,
) -> Solution | None:
    """Solve an instance and record the solve; the Solution is feasible.

    With `cache_policy=INPUTS` and `persist_result=True` a later run finds the Solution of an
    instance with the same content, loaded from whatever file (`instance_digest`).

    Args:
        adapter: An adapter class, or `"highs"`, `"scip"`, `"python-mip"`, `"openjij"`.
        instance: It is not changed. If the adapter must prepare it (one-hot constraints for HiGHS),
            the Solve record's input is the prepared copy.
        time_limit_seconds: Seconds of the solver's own clock.
        mip_gap: Relative gap at which the solver stops. The outcome is `optimal` only for a gap
            of at most 1e-4, even if the adapter marks the Solution as optimal (`optimality`), and
            for each such gap, even if the solver stopped at a limit.
        seed: Random seed of the solver.
        threads: At most so many threads; SCIP uses them in its LP solver only.
        options: Options under the backend's own names, `{"presolve": "off"}` for HiGHS. For an
            adapter this package does not know: keyword arguments of its `solve`.
        raise_on_failure: False returns None when there is no solution. A cached None is found
            again like any result.
        telemetry: `"full"` records the measures of the solve as parameters (`dual_bound`, `gap`,
            `nodes`, ...), its `solver.log` and `trajectory` as attachments, and the diagnostics
            of OMMX's adapters; `"summary"` the parameters alone; False nothing of it.
        checkpoint_seconds: Make the best solution so far durable at most that often, while HiGHS or
            SCIP runs: a Run whose process is killed has it as its attachment `incumbent`, with
            `objective`, `dual_bound` and `gap`.
        start: A feasible solution to start from: an `ommx.Solution` (by id, and where the ids are
            of other names by name and subscripts), an `ommx.State`, `{id: value}`, a Run of a
            sealed experiment, or `"previous"`: the solution of the instance of the same name in the
            last experiment of this deployment or image name. `start` and `start_objective` are
            recorded; a start that does not fit is left out, and `start_left_out` says why.
        start_required: Refuse a start that does not fit.
        resume: Start from the last `incumbent` of the attempt before: of a retry, or of this task
            in an earlier run of the flow. Where there is none, from `start`.
        isolate: Solve in a process of its own, which ends with the task's timeout, a cancellation
            or a crash of the solver, and leaves the worker alive; `peak_memory_mb` is recorded.
        memory_limit_mb: Kill that process when it takes more megabytes of memory.

    Raises:
        SolveOutcomeError: There is no solution; the subclass and `outcome` say why.
        SolverOptionError: The backend does not know or does not take an option, or its start.
        UnknownAdapterError: No such adapter, or it is not installed.
        TypeError: The instance is no `ommx.Instance`.
    """
    limits = {
        "time_limit_seconds": time_limit_seconds,
        "mip_gap": mip_gap,
        "seed": seed,
        "threads": threads,
    }
    return solve_in(
        current_run(),
        adapter,
        instance,
        limits=limits,
        options=options,
        raise_on_failure=raise_on_failure,
        telemetry=telemetry,
        checkpoint_seconds=checkpoint_seconds,
        start=start,
        start_required=start_required,
        resume=resume,
        isolate=isolate,
        memory_limit_mb=memory_limit_mb,
    )


@task(name="sample", task_run_name=run_name, log_inputs=False, log_output=False)
@when_cached(log_cached_sample)
def sample(
    adapter: type[SamplerAdapter] | str,
    instance: Instance,
    *,
    raise_on_failure: bool = True,
    **options: Any,
) -> SampleSet | None:
    """Sample an instance and record the sampling; at least one sample is feasible.

    `objective`, `feasible` and `optimality` are those of the best feasible sample;
    `num_samples` is logged too.

    Args:
        adapter: A sampler adapter class, or `"openjij"`.
        instance: It is not changed.
        raise_on_failure: False returns the samples although none is feasible, and None when the
            sampler returned none.
        options: Keyword arguments of the adapter's `sample`, `num_reads=100, seed=1`.

    Raises:
        SolveOutcomeError: No sample is feasible, or the sampler failed.
        SolverOptionError: The sampler does not know or does not take an option.
        UnknownAdapterError: No such sampler, or it is not installed.
        TypeError: The instance is no `ommx.Instance`.
    """
    return sample_in(
        current_run(), adapter, instance, options=options, raise_on_failure=raise_on_failure
    )


# Its name in Prefect and in the ledger is that of any solve.
@task(name="solve", task_run_name=run_name, log_inputs=False, log_output=False)
def _race_one(
    adapter: type[SolverAdapter] | str, race: str, instance: Instance, options: dict[str, Any]
) -> Any:
    """Solve in a race; a proof wins it."""
    try:
        with racing(race):
            solution = solve.fn(adapter, instance, **options)
    except (InfeasibleError, UnboundedError):
        win(race, racer(adapter))
        raise
    except LostRace as error:
        if not error.has_begun:
            log_unsolved(current_run(), {**options, "adapter": adapter, "instance": instance})
        return Cancelled(message=str(error))
    if solution is not None and outcome_of(solution) == "optimal":
        win(race, racer(adapter))
    return solution


def race(
    adapters: Sequence[type[SolverAdapter] | str],
    instance: Instance,
    *,
    isolate: bool = True,
    raise_on_failure: bool = True,
    **options: Any,
) -> Solution | None:
    """Let several solvers solve one instance at once; the first proof ends the race.

    To be called in a flow. Each solver has a Run of its own, in a process of its own; those that
    were not first are stopped, and are `interrupted` for the reason "highs was first"; who had not
    begun by then, for "it never began: highs was first". They race as far as the flow's task runner
    runs them at once, on one host.

    Args:
        adapters: Short names of solvers, or adapter classes, each once.
        instance: The instance.
        isolate: False lets the solvers run in the worker's own process.
        raise_on_failure: False returns None when there is no solution.
        options: Arguments of `solve` for every solver.

    Returns:
        The Solution of the winner; where nobody proved anything, the best one that was found.

    Raises:
        SolveOutcomeError: The winner proved that there is none, or nobody found one.
        ParameterBindError: `solve` has no such argument.
        RuntimeError: It is called outside flows.
        ValueError: No solver is named, or one twice.
    """
    racers = racers_of(adapters)
    refuse_unknown(solve.fn, options)
    require_flow()
    given = {**options, "isolate": isolate, "raise_on_failure": True}
    begun = new_race()
    try:
        futures = {name: _race_one.submit(x, begun, instance, given) for name, x in racers.items()}
        ends = {name: future.result(raise_on_failure=False) for name, future in futures.items()}
        winner = winner_of(begun)
    finally:
        end_race(begun)
    try:
        return result_of_race(ends, winner, instance)
    except SolveOutcomeError:
        if raise_on_failure:
            raise
    return None


__all__ = [
    "InfeasibleError",
    "NoSolutionError",
    "NotApplicableError",
    "SolveOutcomeError",
    "SolverError",
    "SolverOptionError",
    "UnboundedError",
    "UnknownAdapterError",
    "instance_digest",
    "outcome_of",
    "race",
    "resolve_adapter",
    "sample",
    "solve",
]
