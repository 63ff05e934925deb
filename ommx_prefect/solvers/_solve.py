"""Record one solve or sampling in an open Run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ommx import Instance, SampleSet, Solution
from ommx.adapter import SamplerAdapter, SolverAdapter
from ommx.experiment import Run

from ommx_prefect._solver.backends import resolve_adapter, resolve_sampler
from ommx_prefect._solver.errors import translated
from ommx_prefect._solver.options import (
    backend_settings,
    check_keywords,
    given_limits,
    plain_values,
)
from ommx_prefect._solver.outcome import effort_of, log_parameters
from ommx_prefect._solver.run_solve import believe_samples, solution_of
from ommx_prefect._solver.telemetry import Telemetry, Watching
from ommx_prefect._solver.warm_start import WarmStart
from ommx_prefect.exceptions import SolveOutcomeError
from ommx_prefect.instances._name import require_instance
from ommx_prefect.solvers._call import RecordedCall, logged
from ommx_prefect.solvers._isolated import Isolation, isolated_solution
from ommx_prefect.solvers._warm_start import with_earlier


def solve_in(
    run: Run,
    adapter: type[SolverAdapter] | str,
    instance: Instance,
    *,
    limits: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    raise_on_failure: bool = True,
    telemetry: Telemetry = "full",
    checkpoint_seconds: float | None = None,
    start: object = None,
    start_required: bool = False,
    resume: bool = False,
    isolate: bool = False,
    memory_limit_mb: float | None = None,
) -> Solution | None:
    """Solve in an open Run; `ommx_prefect.solvers.solve` without Prefect."""
    solver = resolve_adapter(adapter)
    require_instance(instance)
    how = Watching(telemetry, checkpoint_seconds)
    warm_start = WarmStart(start, start_required, resume)
    isolation = Isolation(isolate, memory_limit_mb)
    call = RecordedCall(run, solver, instance)
    try:
        with logged(call):
            given = given_limits(solver, limits)
            log_parameters(run, given)
            settings = backend_settings(solver, given, options)
            call.keep(given, plain_values(options or {}))
            warm_start = with_earlier(warm_start, call)
            if isolation.isolate:
                return isolated_solution(call, settings, how, warm_start, isolation)
            return solution_of(call, settings, how, warm_start)
    except SolveOutcomeError as error:
        if raise_on_failure:
            raise
        log_parameters(run, {"reason": error.reason})  # no error of the Run tells it
    return None


def sample_in(
    run: Run,
    adapter: type[SamplerAdapter] | str,
    instance: Instance,
    *,
    options: Mapping[str, Any],
    raise_on_failure: bool = True,
) -> SampleSet | None:
    """Sample in an open Run; `ommx_prefect.solvers.sample` without Prefect."""
    sampler = resolve_sampler(adapter)
    require_instance(instance)
    call = RecordedCall(run, sampler, instance)
    options = plain_values(options)
    check_keywords(sampler, sampler.sample, options)
    samples = None
    try:
        with logged(call):
            call.measured.parameters.update(effort_of(options))
            call.keep({}, options)
            with call.timed(), translated(call.error, sampler, instance):
                samples = run.log_sample(sampler, instance, **options)
            believe_samples(call, samples)
    except SolveOutcomeError as error:
        if raise_on_failure:
            raise
        if samples is None:  # else they tell it
            log_parameters(run, {"reason": error.reason})
    return samples
