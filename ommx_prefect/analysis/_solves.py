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

from ommx_prefect._format.earlier import FLOW_RUN_COLUMN, first_own_run
from ommx_prefect._registry.whole import whole
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
# Column -> the run parameter that says it, where the Run holds one solve.
PARAMETERS: dict[str, str] = {
    "instance": "instance",
    "digest": "instance_digest",
    "outcome": "outcome",
    "objective": "objective",
    "sense": "sense",
    "dual_bound": "dual_bound",
    "gap": "gap",
    "seconds": "solve_seconds",
    "limit": "time_limit_seconds",
    "iterations": "iterations",
    "nodes": "nodes",
    "first_solution_seconds": "first_solution_seconds",
    "primal_dual_integral": "primal_dual_integral",
    "cpu_seconds": "cpu_seconds",
    "solves_at_once": "solves_at_once",
    "seed": "seed",
    "host": "prefect.host",
    "started_at": "prefect.started_at",
}
FLOW_RUN_ANNOTATION = "org.ommx-prefect.flow-run-id"
# Adapter options that `solve` was given as limits, and so are no variant: by their backend's names.
LIMIT_OPTIONS = frozenset(
    {"time_limit", "limits/time", "max_seconds", "random_seed", "randomization/randomseedshift"}
    | {"seed", "verbose"}
)
_SHORT = {
    "OMMXHighsAdapter": "highs",
    "OMMXPySCIPOptAdapter": "scip",
    "OMMXPythonMIPAdapter": "python-mip",
    "OMMXOpenJijSAAdapter": "openjij",
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
        `error`, or missing where the solve was interrupted.
    """
    rows = [row for each in experiments for row in _rows_of(each, digests, earlier)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(COLUMNS)


def _rows_of(experiment: Experiment, digests: bool, earlier: bool) -> Iterator[dict[str, Any]]:
    name, experiment = experiment.image_name, whole(experiment)
    first = first_own_run(experiment.annotations)
    parameters = experiment.run_parameters_df()
    flow_run = experiment.annotations.get(FLOW_RUN_ANNOTATION)
    for run in experiment.runs:
        is_own = run.run_id >= first
        if not (is_own or earlier):
            continue
        logged = _present(parameters.loc[run.run_id]) if run.run_id in parameters.index else {}
        whose = flow_run if is_own else logged.get(FLOW_RUN_COLUMN)
        known = {"experiment": name, "flow_run": whose, "run": run.run_id}
        for row in _rows_of_run(run, logged, digests):
            yield {**known, **row}


def _present(row: pd.Series) -> dict[str, Any]:
    return {str(name): value for name, value in row.items() if not pd.isna(value)}


def _rows_of_run(
    run: SealedRun, logged: Mapping[str, Any], digests: bool
) -> Iterator[dict[str, Any]]:
    said = {column: logged[name] for column, name in PARAMETERS.items() if name in logged}
    said["reason"] = logged.get("reason") or run.lifecycle_reason
    found = run.solves
    if not found and "adapter" in logged and "instance" in logged:
        cached = logged.get("prefect.state") == "Cached"
        yield {"adapter": short_name(logged["adapter"]), "cached": cached, **said}
    for solve in found:
        yield _row_of_solve(solve, said if len(found) == 1 else {}, digests)


def _row_of_solve(solve: Solve, said: Mapping[str, Any], digests: bool) -> dict[str, Any]:
    row = {
        "solve": solve.solve_id,
        "adapter": short_name(solve.adapter),
        "variant": variant_of(solve.adapter_options),
        "cached": False,
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
    """Say what came of a solve that nothing but its Solution tells of."""
    solution: Solution | None = solve.output
    if solution is None:
        return {} if solve.status == "interrupted" else {"outcome": "error"}
    if not solution.feasible:
        return {"outcome": "no_solution"}
    proved = solution.optimality == Optimality.Optimal
    return {"outcome": "optimal" if proved else "feasible", "objective": solution.objective}


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
