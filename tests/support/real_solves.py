"""Solve the real instances, hold what is recorded against what the solvers say, and replay it.

    python -m tests.support.real_solves                # all instances that are here: some minutes
    python -m tests.support.real_solves flugpl.mps     # one of them

Each solve ends at a number of nodes, not of seconds, with one thread and a seed: so the same solver
says the same twice, on a machine as busy as it may be. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

if __name__ == "__main__":
    os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = tempfile.mkdtemp(prefix="real-solves-")

import pytest
from ommx import Instance
from ommx.experiment import Experiment
from ommx_highs_adapter import OMMXHighsAdapter
from ommx_pyscipopt_adapter import OMMXPySCIPOptAdapter
from typer.testing import CliRunner

from ommx_prefect.cli import app
from ommx_prefect.exceptions import SolverError
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers._solve import solve_in
from tests.support.instance_files import instance_file, reference

SEED = 3
# Enough to end at in a few seconds: few of the instances are solved by so many.
NODES = 300
SOLVERS: dict[str, dict[str, Any]] = {
    "highs": {"random_seed": SEED, "threads": 1, "mip_max_nodes": NODES},
    "scip": {"randomization/randomseedshift": SEED, "lp/threads": 1, "limits/nodes": NODES},
    "python-mip": {"seed": SEED, "max_nodes": NODES},
}
# A node of the first takes SCIP minutes; the others are no instances.
SLOW_NODES = {"QPLIB_3506.qplib", *(name for name in reference() if "/" in name)}
# What a solver says of itself is compared as closely as that; the rest exactly.
CLOSE = {"dual_bound": 1e-9, "gap": 1e-9, "objective": 1e-9}
SHOWN = ("objective", "dual_bound", "gap", "nodes", "iterations", "incumbents")


def solve_once(run: Any, solver: str, instance: Instance) -> None:
    """Solve in an open Run."""
    limits: dict[str, Any] = {"seed": SEED}
    options = {name: x for name, x in SOLVERS[solver].items() if "nodes" in name}
    if solver != "python-mip":
        limits["threads"] = 1
    solve_in(run, solver, instance, limits=limits, options=options, raise_on_failure=False)


def record(name: str, files: list[str], solvers: list[str]) -> Experiment:
    """Seal an experiment with one Run for each file and solver."""
    experiment = Experiment(name)
    for file in files:
        for solver in solvers:
            since = time.monotonic()
            with experiment.run() as run:
                run.log_parameter("file", file)
                run.log_parameter("solver", solver)
                solve_once(run, solver, load_instance(instance_file(file)).instance)
            say(f"{file} {solver} {time.monotonic() - since:.1f} s")
    experiment.commit()
    return Experiment.load(name)


def highs_says(instance: Instance) -> dict[str, Any]:
    """Solve with highspy alone, and return what it says, under our names."""
    model = OMMXHighsAdapter(instance).solver_input
    for name, value in SOLVERS["highs"].items():
        model.setOptionValue(name, value)
    improved: list[int] = []
    model.cbMipImprovingSolution.subscribe(lambda event: improved.append(1))
    model.resetGlobalScheduler(True)
    model.run()
    info, status = model.getInfo(), model.getModelStatus().name
    iterations = ("simplex", "ipm", "crossover", "pdlp")
    counts = [max(0, getattr(info, f"{name}_iteration_count")) for name in iterations]
    said: dict[str, Any] = {"iterations": sum(counts)}
    held = info.primal_solution_status == 2 and status != "kUnbounded"
    if held:
        said["objective"] = info.objective_function_value
    if info.mip_node_count >= 0:
        said |= {"nodes": info.mip_node_count, "dual_bound": info.mip_dual_bound}
        said |= {"gap": info.mip_gap} if held else {}
        said |= {"incumbents": len(improved)} if improved else {}
    elif status == "kOptimal":
        said |= {"dual_bound": info.objective_function_value, "gap": 0.0}
    return finite(said)


def scip_says(instance: Instance) -> dict[str, Any]:
    """Solve with PySCIPOpt alone, and return what it says, under our names."""
    model = OMMXPySCIPOptAdapter(instance).solver_input
    for name, value in SOLVERS["scip"].items():
        model.setParam(name, value)
    model.hideOutput()
    model.optimize()
    is_linear = all(x.vtype() == "CONTINUOUS" for x in model.getVars())
    said: dict[str, Any] = {"iterations": model.getNLPIterations()}
    said["dual_bound"] = model.getDualbound()
    if not is_linear:
        said["nodes"] = model.getNTotalNodes()
    if model.getNSols() and model.getStatus() != "unbounded":
        said |= {"objective": model.getObjVal(), "gap": model.getGap()}
        said["incumbents"] = model.getNBestSolsFound()
    return finite(said)


NATIVE: dict[str, Callable[[Instance], dict[str, Any]]] = {
    "highs": highs_says,
    "scip": scip_says,
}


def finite(said: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what stands for infinity."""
    return {name: value for name, value in said.items() if abs(value) < 1e20}


def differences(recorded: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[str]:
    """Say where a record differs from what a solver says."""
    for name in SHOWN:
        ours, theirs = recorded.get(name), said.get(name)
        ours = None if ours is None or ours != ours else ours
        close = pytest.approx(theirs, rel=CLOSE[name]) if name in CLOSE and theirs else theirs
        if ours != close:
            yield f"{name} is recorded as {ours}, and the solver says {theirs}"


def replayed(name: str) -> str:
    """Replay every solve; return what the command says where one does not agree."""
    answer = CliRunner().invoke(app, ["replay", name])
    return "" if answer.exit_code == 0 else f"{answer.output}{answer.stderr}{answer.exception}"


def check(name: str, files: list[str], solvers: list[str]) -> Iterator[str]:
    """Yield all that is wrong: record, compare and replay."""
    experiment = record(name, files, solvers)
    rows = experiment.run_parameters_df().to_dict("records")
    for row in rows:
        if (says := NATIVE.get(row["solver"])) is None:
            continue
        try:
            said = says(load_instance(instance_file(row["file"])).instance)
        except (SolverError, RuntimeError) as error:  # the adapter does not take it
            say(f"{row['file']} {row['solver']}: {error}")
            continue
        for each in differences(row, said):
            yield f"{row['file']} {row['solver']}: {each}"
        shown = {x: row[x] for x in SHOWN if row.get(x) == row.get(x) and x in row}
        say(f"{row['file']} {row['solver']} {row['outcome']} {shown}")
    if why := replayed(name):
        yield why


def say(text: str) -> None:
    """Print at once, where this is the program."""
    if __name__ == "__main__":
        print(text, flush=True)


def main() -> int:
    """Read the arguments, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", default=sorted(reference().keys() - SLOW_NODES))
    parser.add_argument("--solver", action="append", choices=SOLVERS)
    parser.add_argument("--nodes", type=int, default=NODES, help="at which each solve ends")
    given = parser.parse_args()
    for options in SOLVERS.values():
        options |= {name: given.nodes for name in options if "nodes" in name}
    say(f"load {os.getloadavg()[0]:.1f}")
    wrong = list(check("localhost/tests/real:one", given.files, given.solver or list(SOLVERS)))
    print("\n".join(wrong) or "all agrees")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
