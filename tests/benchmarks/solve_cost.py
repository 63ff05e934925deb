"""What a recorded solve costs beside the adapter's and the bare solver's, from 1,000 variables up.

    python -m tests.benchmarks.solve_cost                      # 1,000 to 100,000 variables
    python -m tests.benchmarks.solve_cost --tiny               # seconds; for CI
    python -m tests.benchmarks.solve_cost --sizes 20000 --rounds 7

The instance has n binary variables and n/2 rows of ten entries, and presolve alone solves it: the
solver takes as little as it can, so that what is built, recorded and read around it shows. Printed
is one table in markdown with medians over the rounds, which alternate, and the spread (greatest
less least). `adapter` is building the adapter's model, running it, and evaluating the values read
once: what OMMX's adapters would take if they read them so. `adapter.solve` is what they do take;
for HiGHS it grows with the square of n, so it is left out above 20,000 variables.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "240")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = tempfile.mkdtemp(prefix="solve-cost-")

import highspy
import numpy as np
import pyscipopt
from ommx import DecisionVariable, Instance, Linear, Sense
from ommx_highs_adapter import OMMXHighsAdapter
from ommx_pyscipopt_adapter import OMMXPySCIPOptAdapter

from ommx_prefect import flow, instance_digest
from ommx_prefect.solvers import solve

ENTRIES = 10
SIZES = [1_000, 3_000, 10_000, 30_000, 100_000]
TINY = [200, 800]
MOST_QUADRATIC = 20_000
PACKAGES = ("ommx", "highspy", "pyscipopt", "prefect", "ommx-prefect")
COLUMNS = ("bare solver", "adapter", "adapter.solve", "first solve", "later solve")
# The HiGHS adapter as it is without us.
_MENDED = ("decode_to_state", "_set_constraints", "_linear_expr_conversion")
PLAIN: dict[str, Any] = {
    "highs": type(
        "Plain",
        (OMMXHighsAdapter,),
        {name: getattr(OMMXHighsAdapter, name).__wrapped__ for name in _MENDED},
    ),
    "scip": OMMXPySCIPOptAdapter,
}


@dataclass(frozen=True)
class Problem:
    """One problem as an OMMX instance, and as arrays for the bare solvers."""

    instance: Instance
    costs: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    upper: np.ndarray


def drawn(size: int) -> Problem:
    """Draw a problem: minimise costs of both signs under rows that never bind."""
    dice, random_rows = np.random.default_rng(size), random.Random(size)
    rows = size // 2
    columns = np.array([sorted(random_rows.sample(range(size), ENTRIES)) for _ in range(rows)])
    values = dice.integers(1, 10, (rows, ENTRIES)).astype(float)
    costs = dice.integers(1, 21, size) * dice.choice([-1.0, 1.0], size)
    upper = values.sum(axis=1)
    instance = Instance.from_components(
        decision_variables=[DecisionVariable.binary(i) for i in range(size)],
        objective=Linear(dict(enumerate(costs.tolist()))),
        constraints={
            j: Linear(dict(zip(columns[j].tolist(), values[j].tolist(), strict=True)), -upper[j])
            <= 0
            for j in range(rows)
        },
        sense=Sense.Minimize,
    )
    return Problem(instance, costs, columns, values, upper)


def bare_highs(problem: Problem) -> None:
    """Solve the arrays with highspy."""
    size, rows = len(problem.costs), len(problem.upper)
    model = highspy.Highs()
    model.setOptionValue("log_to_console", False)
    none = np.empty(0, dtype=np.int32)
    ones = np.ones(size)
    model.addCols(size, problem.costs, 0 * ones, ones, 0, none, none, np.empty(0))
    numbers = np.arange(size, dtype=np.int32)
    model.changeColsIntegrality(size, numbers, np.ones(size, dtype=np.uint8))
    starts = np.arange(0, rows * ENTRIES, ENTRIES, dtype=np.int32)
    columns = problem.columns.ravel().astype(np.int32)
    lower, values = np.full(rows, -np.inf), problem.values.ravel()
    model.addRows(rows, lower, problem.upper, len(columns), starts, columns, values)
    model.run()
    list(model.getSolution().col_value)


def bare_scip(problem: Problem) -> None:
    """Solve the arrays with PySCIPOpt, which takes them row by row."""
    model = pyscipopt.Model()
    model.hideOutput()
    x = [model.addVar(vtype="B", obj=cost) for cost in problem.costs.tolist()]
    rows = zip(problem.columns.tolist(), problem.values.tolist(), problem.upper, strict=True)
    for columns, values, upper in rows:
        terms = zip(columns, values, strict=True)
        model.addCons(pyscipopt.quicksum(value * x[i] for i, value in terms) <= upper)
    model.optimize()
    best = model.getBestSol()
    [best[each] for each in x]


def adapter(solver: str, instance: Instance) -> None:
    """Build the adapter's model, run it, and evaluate the values read once."""
    made = PLAIN[solver](instance)
    model = made.solver_input
    if solver == "scip":
        model.optimize()
        made.decode(model)
    else:
        model.run()
        values = list(model.getSolution().col_value)
        used = instance.used_decision_variables
        instance.evaluate({each.id: x for each, x in zip(used, values, strict=True)})


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@flow(name="solve-cost", experiment=None)
def measured(solver: str, problem: Problem, rounds: int) -> dict[str, list[float]]:
    """Measure every column, in rounds that alternate."""
    instance, bare = problem.instance, {"highs": bare_highs, "scip": bare_scip}[solver]
    found: dict[str, list[float]] = {name: [] for name in (*COLUMNS, "digest", "digest again")}
    is_quadratic = solver == "highs" and len(problem.costs) > MOST_QUADRATIC
    found["digest"].append(seconds(lambda: instance_digest(instance)))
    found["first solve"].append(seconds(lambda: solve(solver, instance)))
    for _ in range(rounds):
        found["bare solver"].append(seconds(lambda: bare(problem)))
        found["adapter"].append(seconds(lambda: adapter(solver, instance)))
        found["later solve"].append(seconds(lambda: solve(solver, instance)))
        found["digest again"].append(seconds(lambda: instance_digest(instance)))
    if not is_quadratic:
        found["adapter.solve"].append(seconds(lambda: PLAIN[solver].solve(instance)))
    return found


def table(sizes: list[int], rounds: int) -> Iterator[str]:
    """Give the lines of the table."""
    columns = " | ".join((*COLUMNS, "later / adapter", "ms per 1,000 variables"))
    yield f"| variables | solver | {columns} |"
    yield "|---|---|" + "---|" * (len(COLUMNS) + 2)
    measured("highs", drawn(100), 1)  # what the first of all pays
    for size in sizes:
        problem = drawn(size)
        for solver in ("highs", "scip"):
            found = measured(solver, problem, rounds)
            median = {name: statistics.median(x) for name, x in found.items() if x}
            cells = [_cell(found[name]) for name in COLUMNS]
            ratio = median["later solve"] / median["adapter"]
            each = 1e6 * median["later solve"] / size
            yield f"| {size:,} | {solver} | {' | '.join(cells)} | {ratio:.2f} | {each:.1f} |"


def _cell(times: list[float]) -> str:
    if not times:
        return ""
    spread = f" ±{(max(times) - min(times)) / 2:.3f}" if len(times) > 1 else ""
    return f"{statistics.median(times):.3f}{spread}"


def machine() -> str:
    """Say on what it was measured."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg()) if hasattr(os, "getloadavg") else "?"
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load}, "
        f"Python {platform.python_version()}, {versions}. Seconds: median, ± half the spread."
    )


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="two small sizes, two rounds")
    options = parser.parse_args()
    sizes = options.sizes or (TINY if options.tiny else SIZES)
    print(machine(), "\n", flush=True)
    for line in table(sizes, 2 if options.tiny else options.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
