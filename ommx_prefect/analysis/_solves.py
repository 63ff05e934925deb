"""The table that every analysis starts from: one row for each solve of some experiments.

It reads any OMMX Experiment. What `ommx_prefect.solvers` and the flow recorded as run parameters
makes it richer; what an experiment does not say is missing (NA), never guessed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from ommx import Optimality, Sense, Solution
from ommx.experiment import Experiment, SealedRun, Solve

from ommx_prefect._format.earlier import first_own_run
from ommx_prefect._registry.run_parameters import run_parameters
from ommx_prefect._registry.whole import whole
from ommx_prefect._shards import columns
from ommx_prefect._solver.backends import BACKENDS
from ommx_prefect._targets.annotations import FLOW_RUN_ID
from ommx_prefect._workarounds.unencoded import is_unencoded
from ommx_prefect.analysis._instances import filled_digests, filled_names
from ommx_prefect.analysis._logged import (
    OPTION_COLUMNS,
    is_cached,
    is_solve,
    options_said,
    said_in_options,
    said_of_solve,
)
from ommx_prefect.instances._digest import instance_digest

# Column -> its dtype in the table.
COLUMNS: dict[str, str] = {
    "experiment": "string",
    "run": "Int64",
    "solve": "Int64",
    "flow_run": "string",
    "instance": "string",
    "digest": "string",
    "adapter": "string",
    "variant": "string",
    "seed": "Int64",
    "outcome": "string",
    "objective": "Float64",
    "sense": "string",
    "dual_bound": "Float64",
    "gap": "Float64",
    "seconds": "Float64",
    "limit": "Float64",
    "iterations": "Int64",
    "nodes": "Int64",
    "first_solution_seconds": "Float64",
    "primal_dual_integral": "Float64",
    "cpu_seconds": "Float64",
    "solves_at_once": "Int64",
    "reason": "string",
    "host": "string",
    "started_at": "string",
    "cached": "boolean",
}
# Adapter options that make no other variant; two of them have a column of their own.
LIMIT_OPTIONS = frozenset({*OPTION_COLUMNS, "verbose"})
_SHORT = {backend.adapter: backend.name for backend in BACKENDS}
# What a Run whose process was killed in a solve leaves of its input.
INSTANCE = "instance"
# OMMX's name of what an adapter raised -> the outcome, where `ommx_prefect.solvers` has said none.
RAISED = {
    "InfeasibleDetected": "infeasible",
    "UnboundedDetected": "unbounded",
    "NoSolutionReturned": "no_solution",
    "AdapterNotApplicableError": "not_applicable",
    "PreparationTargetNotReachedError": "not_applicable",
}


def solves(*experiments: Experiment, digests: bool = True, earlier: bool = False) -> pd.DataFrame:
    """Return one row for each Solve, and for each solve whose result was cached.

    Args:
        experiments: Experiments of OMMX, such as `Experiment.load(...)` returns; the parts of one
            that was sealed in parts are read with it.
        digests: Read each input whose digest was not recorded, to make it; without it a large
            night is read much faster, and instances are told apart by name.
        earlier: Also those of the nights before that an experiment holds which accumulates; the
            column `flow_run` tells whose each is.

    Returns:
        A table with the columns of `COLUMNS` in their nullable dtypes. `seconds` and `limit` are
        seconds of the solver's clock, `gap` is relative, `digest` is `instance_digest` of the
        input, `variant` are the adapter options that differ from a plain solve, and `outcome` is
        one of `optimal`, `feasible`, `infeasible`, `unbounded`, `no_solution`, `not_applicable`,
        `error`, or missing where the solve was interrupted, and where it failed and nobody said
        why. A run parameter that does not fit its column is a user's own, and not read.
    """
    rows = [row for each in experiments for row in _rows_of(each, digests, earlier)]
    return table_of(rows)


def table_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a table of solves; a digest that only other rows tell is filled in."""
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    table["digest"] = filled_digests(table)
    table["instance"] = filled_names(table)
    return table.astype(COLUMNS)


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, None where a value is missing."""
    plain = table.astype(object).where(table.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in plain.to_dict("records")]


def _rows_of(experiment: Experiment, digests: bool, earlier: bool) -> Iterator[dict[str, Any]]:
    opened = whole(experiment)
    name, experiment = experiment.image_name, opened
    first = first_own_run(experiment.annotations)
    parameters = run_parameters(experiment)
    flow_run = experiment.annotations.get(FLOW_RUN_ID)
    for run in experiment.runs:
        is_own = run.run_id >= first
        if not (is_own or earlier):
            continue
        logged = parameters[run.run_id]
        whose = flow_run if is_own else logged.get(columns.FLOW_RUN_ID)
        known = {"experiment": name, "flow_run": whose, "run": run.run_id}
        for row in _rows_of_run(run, logged, digests):
            yield {**known, **row}


def _rows_of_run(
    run: SealedRun, logged: Mapping[str, Any], digests: bool
) -> Iterator[dict[str, Any]]:
    said = said_of_solve(logged, COLUMNS)
    reason = logged.get("reason")
    said["reason"] = reason if isinstance(reason, str) else run.lifecycle_reason
    found = run.solves
    if not found and is_solve(logged, said):
        kept = _kept_input(run, said) if digests else {}
        yield {**row_without_solve(logged, _options_of(run, logged)), **kept, **said}
    for solve in found:
        is_only = len(found) == 1
        row = row_of_solve(solve, said if is_only else {}, digests=digests)
        yield _raised(run) | row if is_only and solve.status == "failed" else row


def row_without_solve(logged: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for a Run without a Solve, from its parameters."""
    adapter = short_name(logged["adapter"])
    known = {"adapter": adapter, "variant": variant_of(options), "cached": is_cached(logged)}
    return {**known, **said_in_options(options)}


def _options_of(run: SealedRun, logged: Mapping[str, Any]) -> Mapping[str, Any]:
    (sampling,) = run.samplings if len(run.samplings) == 1 else (None,)
    return options_said(logged) if sampling is None else sampling.adapter_options


def _kept_input(run: SealedRun, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the digest of the input that a killed solve has left, where nobody logged it."""
    if "digest" in said or INSTANCE not in run.attachment_names:
        return {}
    try:
        return {"digest": instance_digest(run.get_instance(INSTANCE))}
    except ValueError:  # a user's own, of another kind
        return {}


def row_of_solve(solve: Solve, said: Mapping[str, Any], *, digests: bool) -> dict[str, Any]:
    """Return a row for a Solve, from its record and from what the parameters of its Run say."""
    row = {
        "solve": solve.solve_id,
        "adapter": short_name(solve.adapter),
        "variant": variant_of(solve.adapter_options),
        "cached": False,
        **said_in_options(solve.adapter_options),
        **said,
    }
    if (digests and "digest" not in row) or "sense" not in row:
        row = _of_input(solve) | row
    if "outcome" not in row:
        row |= _of_output(solve)
    return row


def _of_input(solve: Solve) -> dict[str, Any]:
    instance = solve.input
    sense = "minimize" if instance.sense == Sense.Minimize else "maximize"
    name = instance.title
    return {
        "digest": instance_digest(instance),
        "sense": sense,
        **({"instance": name} if name else {}),
    }


def _of_output(solve: Solve) -> dict[str, Any]:
    """Return the outcome of a solve from its Solution alone."""
    solution: Solution | None = solve.output
    if solution is None:
        return {}
    if not solution.feasible:
        return {"outcome": "no_solution"}
    proved = solution.optimality == Optimality.Optimal
    return {"outcome": "optimal" if proved else "feasible", "objective": solution.objective}


def _raised(run: SealedRun) -> dict[str, Any]:
    """Return the outcome that the name of OMMX's exception tells, where the Run failed by one."""
    said = run.lifecycle_reason or ""
    outcome = RAISED.get(said.partition(":")[0].rpartition(".")[2])
    if outcome is None or run.status != "failed":
        return {}
    return {"outcome": "not_applicable" if is_unencoded(said) else outcome}


def short_name(adapter: str) -> str:
    """Return how an adapter is called in a table: `highs` for HiGHS's class, else the class."""
    name = adapter.rpartition(".")[2]
    return _SHORT.get(name, name)


def variant_of(options: Mapping[str, Any]) -> str:
    """Return the options that make a solve another variant, as `name=value` in order of name."""
    shown = {name: value for name, value in options.items() if name not in LIMIT_OPTIONS}
    return ", ".join(f"{name}={_text(shown[name])}" for name in sorted(shown))


def _text(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
