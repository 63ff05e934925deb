"""What CBC tells of its progress in its log is recorded as that of other solvers, isolated."""

from __future__ import annotations

import re
import threading
import time

import pytest
from ommx import Instance, Sense
from ommx.experiment import Experiment

from ommx_prefect._solver.integral import Row
from ommx_prefect._solver.python_mip_log import read_log
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers._solve import solve_in
from tests.solvers.test_stopping import raise_in
from tests.support.instance_files import instance_file
from tests.support.solving import check, eight_capacities, recorded, slow_instance
from tests.support.started import until

LOG = """
Cbc0045I MIPStart provided solution with cost 40
Cbc0012I Integer solution of 40 found by Reduced search after 0 nodes (0.01 seconds)
Cbc0012I Integer solution of 39 found by rounding after 0 nodes (0.01 seconds)

  Round   Pass   Fractional       Suminf Status                BestSol  Time(s)
  ----- ------ ------------ ------------ -------------- -------------- --------
      1      1            0       0.0000 converging                       0.009
 *    2      2            7       1.1233 rounding solution          36    0.020

  Heuristic                Status              BestSol  Time(s)
  ------------------------ ------------ -------------- --------
  rounding                 no solution                    0.010
 *RINS                     solution                 31    0.020

  Pass     Rows    Tight   Frac     Suminf        Objective  Time(s)
  ---- -------- -------- ------ ---------- ---------------- --------
     1        8        0      5      1.808               11    0.060

     Nodes   OnTree  Depth         BestSol Method                 BestBound     Gap%   Time(s)
  -------- -------- ------ --------------- ---------------- --------------- -------- ---------
 *       0        1      0              29 DiveCoefficient             12.5   56.90%     0.055
 *     111       54     31              28 strong branching            12.5   55.36%     0.530
  -- Reduced cost fixing: restarting root node (27 rows, 30 cols) --
       220        9     31              28                              -0  100.00%      1.10

Enumerated nodes:               350     (from fathoming 293)
Total iterations:               338
Total time (Wallclock seconds): 1.25   (CPU seconds):             1.14
"""


@pytest.mark.parametrize("line", [LOG, LOG.replace(" *", " ★").replace("-----", "─────")])
def test_each_table_of_the_log_is_read(line):
    log = read_log(line)
    assert [row for row in log.rows if row.primal or row.dual is not None] == [
        Row(0.0, 40.0),
        Row(0.01, 39.0),
        Row(0.02, 36.0),
        Row(0.05, 31.0),
        Row(0.055, 29.0, 12.5, 0),
        Row(0.06, None, 11.0),
        Row(0.53, 28.0, 12.5, 111),
        Row(1.1, 28.0, 0.0, 220),
    ]
    assert log.counts == {"nodes": 350, "iterations": 338, "seconds": 1.25}
    assert log.is_understood


def test_a_time_that_is_rounded_up_is_not_beyond_the_end():
    log = read_log(LOG.replace("1.25   (CPU", "1.096  (CPU"))
    assert [row.seconds for row in log.rows][-2:] == [0.53, 1.096]
    assert log.counts["seconds"] == 1.096


def test_a_log_of_another_version_tells_no_times():
    assert not read_log("").is_understood
    other = LOG.replace("OnTree", "Left")
    assert not read_log(other).is_understood
    assert read_log(other).counts["nodes"] == 350


def flugpl() -> Instance:
    return load_instance(instance_file("flugpl.mps")).instance


@pytest.mark.server  # a process for each solve
@pytest.mark.parametrize("of", ["flugpl", "constant"])
def test_the_numbers_are_those_of_the_log_itself(of, tmp_path):
    instance = flugpl() if of == "flugpl" else eight_capacities(constant=1000.0)
    found = recorded(solve_in, "python-mip", instance, limits={}, isolate=True)
    check(found, "optimal")
    found.run.write_attachment("solver.log", str(tmp_path / "log"))
    log = (tmp_path / "log").read_text()
    told = dict(re.findall(r"^(Enumerated nodes|Total iterations): +(\d+)", log, re.MULTILINE))
    assert found.parameters["nodes"] == int(told["Enumerated nodes"]) > 0
    assert found.parameters["iterations"] == int(told["Total iterations"])
    [objective] = re.findall(r"^Objective value: +(\S+)", log, re.MULTILINE)
    constant = instance.objective.constant_term
    assert found.parameters["objective"] == pytest.approx(float(objective) + constant)
    [seconds] = re.findall(r"^Total time \(Wallclock seconds\): +(\S+)", log, re.MULTILINE)

    rows = found.run.get_json("trajectory")
    assert rows["seconds"] == sorted(rows["seconds"])
    assert rows["seconds"][-1] == float(seconds) <= found.parameters["solve_seconds"]
    assert rows["primal"][-1] == pytest.approx(found.parameters["objective"])
    assert rows["dual"][-1] == found.parameters["dual_bound"]
    # Each value is better than the one before, and the bounds never cross.
    sign = -1 if instance.sense == Sense.Maximize else 1
    better = [sign * x for x in rows["primal"] if x is not None]
    assert better == sorted(better, reverse=True)
    starred = len(re.findall(r"^ ★", log, re.MULTILINE))
    assert found.parameters["incumbents"] == starred == len({round(x, 2) for x in better})
    first = next(s for s, x in zip(rows["seconds"], rows["primal"], strict=True) if x is not None)
    assert found.parameters["first_solution_seconds"] == first
    for primal_bound, dual in zip(rows["primal"], rows["dual"], strict=True):
        if primal_bound is not None and dual is not None:
            assert sign * (primal_bound - dual) >= -1e-5 * abs(dual)
    assert 0 < found.parameters["primal_dual_integral"] <= float(seconds)


@pytest.mark.server
def test_a_start_is_its_first_solution():
    nothing = dict.fromkeys(range(60), 0.0)
    found = recorded(
        solve_in, "python-mip", eight_capacities(), limits={}, isolate=True, start=nothing
    )
    assert found.parameters["start_objective"] == 0.0
    assert found.run.get_json("trajectory")["primal"][0] == 0.0


@pytest.mark.server
def test_one_that_does_not_stop_leaves_what_it_had_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    experiment = Experiment.with_temp_local_registry()
    ended: list[float] = []

    def solving() -> None:
        try:
            with experiment.run() as run:
                solve_in(run, "python-mip", slow_instance(), limits={}, isolate=True)
        except KeyboardInterrupt:
            ended.append(time.monotonic())

    thread = threading.Thread(target=solving)
    thread.start()

    def found() -> bool | None:
        logs = [x.read_text() for x in tmp_path.glob("*/printed")]
        return any(" strong branching " in log for log in logs) or None

    until(found)
    since = time.monotonic()
    raise_in(thread, KeyboardInterrupt)
    thread.join(60)
    assert ended[0] - since < 4
    experiment.commit()
    [run] = experiment.runs
    assert run.status == "interrupted"
    assert run.get_json("trajectory")["primal"][-1] > -55  # the pump's is -55
    assert "solver.log" in run.attachment_names
    [row] = experiment.run_parameters_df().to_dict("records")
    assert not row.keys() & {"objective", "gap", "primal_dual_integral"}


@pytest.mark.server
def test_what_its_threads_do_not_tell_is_absent():
    """In a tree of threads, `threads=1` among them, no star marks a solution."""
    found = recorded(solve_in, "python-mip", flugpl(), limits={"threads": 1}, isolate=True)
    check(found, "optimal")
    assert found.parameters["nodes"] > 0
    assert "incumbents" not in found.parameters
    if "trajectory" in found.run.attachment_names:  # it took more than 0.7 seconds
        assert found.run.get_json("trajectory")["primal"][-2] is not None
    else:
        assert not found.parameters.keys() & {"first_solution_seconds", "primal_dual_integral"}
