"""OMMX's HiGHS adapter, mended: the same models and Solutions, faster, and no warning is an error.

The first two tests tell when upstream is mended: they fail then, and the workaround can go.
"""

from __future__ import annotations

import random
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ommx import DecisionVariable, Instance, Linear, Sense
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect import current_run, flow, task
from ommx_prefect._workarounds import highs_decode, highs_rows
from ommx_prefect.solvers import solve
from tests.support.reading import run_flow
from tests.support.solving import instance_of

PLAIN_DECODE = OMMXHighsAdapter.decode_to_state.__wrapped__
HEALED = ("decode_to_state", "_set_constraints", "_linear_expr_conversion")
Plain: Any = type(
    "Plain",
    (OMMXHighsAdapter,),
    {name: getattr(OMMXHighsAdapter, name).__wrapped__ for name in HEALED},
)


def test_the_adapter_of_today_reads_the_solution_for_each_variable():
    assert highs_decode.is_read_repeatedly(PLAIN_DECODE)


def test_the_adapter_of_today_ends_at_a_warning():
    assert highs_rows.ends_at_a_warning(Plain)


def test_an_adapter_that_is_mended_upstream_is_left_alone():
    def read_once(self, data):
        values = list(data.getSolution().col_value)
        return dict(enumerate(values))

    class Mended:
        decode_to_state = read_once

    highs_decode.heal_decode(Mended)
    assert not highs_decode.is_read_repeatedly(read_once)
    solution = SimpleNamespace(col_value=[3.0])
    model = SimpleNamespace(getSolution=lambda: solution)
    assert Mended().decode_to_state(model) == {0: 3.0}
    assert not highs_rows.ends_at_a_warning(type("Builds", (), {"__init__": lambda *_: None}))


def drawn(seed: int) -> Instance:
    dice = random.Random(seed)
    kinds = (DecisionVariable.binary, DecisionVariable.integer, DecisionVariable.continuous)
    bounds = ({}, {"lower": -3, "upper": 9}, {"lower": -2.5, "upper": float("inf")})
    x = []
    for i in dice.sample(range(200), 30):
        kind = dice.randrange(3)
        x.append(kinds[kind](i, **bounds[kind]))
    rows = {}
    for j in dice.sample(range(100), 15):
        chosen = dice.sample(x, dice.randint(1, 6))
        row = Linear({v.id: dice.uniform(-5, 5) for v in chosen}, dice.uniform(-9, 0))
        rows[j] = row == 0 if dice.random() < 0.2 else row <= 0
    rows[100] = Linear({}, -1.0) <= 0
    return instance_of(
        x,
        Linear({v.id: dice.uniform(0, 5) for v in x}, dice.uniform(-5, 5)),
        rows,
        dice.choice([Sense.Minimize, Sense.Maximize]),
    )


def lp_of(adapter: Any) -> dict[str, Any]:
    lp = adapter.solver_input.getLp()
    matrix = lp.a_matrix_
    names = (
        "col_cost_ col_lower_ col_upper_ row_lower_ row_upper_ row_names_ integrality_ "
        "num_row_ num_col_ offset_ sense_"
    )
    found = {name: getattr(lp, name) for name in names.split()}
    found |= {name: list(getattr(matrix, name)) for name in ("start_", "index_", "value_")}
    return {k: x if isinstance(x, (int, float)) else str(x) for k, x in found.items()}


@pytest.mark.parametrize("seed", range(20))
def test_the_model_is_the_one_the_adapter_builds_by_itself(seed):
    instance = drawn(seed)
    assert lp_of(OMMXHighsAdapter(instance)) == lp_of(Plain(instance))


@pytest.mark.parametrize("seed", range(10))
def test_the_solution_is_the_one_the_adapter_decodes_by_itself(seed):
    adapter = OMMXHighsAdapter(drawn(seed))
    model = adapter.solver_input
    model.run()
    mended, error = outcome(adapter.decode_to_state, model)
    plain, plain_error = outcome(lambda data: PLAIN_DECODE(adapter, data), model)
    assert (type(error), str(error)) == (type(plain_error), str(plain_error))
    assert (mended and mended.entries) == (plain and plain.entries)


def outcome(decode: Any, model: Any) -> tuple[Any, Exception | None]:
    try:
        return decode(model), None
    except Exception as error:
        return None, error


def test_the_solution_vector_is_read_once():
    adapter = OMMXHighsAdapter(
        instance_of(x := [DecisionVariable.binary(i) for i in range(50)], x[0])
    )
    adapter.solver_input.run()
    reads = 0

    class Counting:
        def __getattr__(self, name):
            return getattr(adapter.solver_input, name)

        def getSolution(self):
            nonlocal reads
            reads += 1
            return adapter.solver_input.getSolution()

    adapter.decode_to_state(Counting())
    assert reads == 1


@pytest.mark.server
def test_the_adapter_is_mended_where_it_was_imported_before_us():
    code = (
        "from ommx_highs_adapter import OMMXHighsAdapter as A; import ommx_prefect; "
        "print(hasattr(A.decode_to_state, '__wrapped__'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("True")


def with_a_tiny_coefficient() -> Instance:
    x = [DecisionVariable.binary(i) for i in range(2)]
    return instance_of(x, x[0] + x[1], {5: Linear({0: 1.0, 1: 1e-10}) >= 1.0, 7: x[0] + x[1] <= 2})


@task
def logged(instance):
    return current_run().log_solve(OMMXHighsAdapter, instance).objective


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("call", [lambda x: solve("highs", x), logged], ids=["solve", "log_solve"])
def test_a_warning_of_highs_ends_no_solve_and_stands_in_the_ledger(call):
    @flow
    def night():
        call(with_a_tiny_coefficient())

    sealed = run_flow(night)
    assert sealed.statuses == ["finished"]
    [entry] = sealed.ledger["runs"]
    assert "HiGHS leaves out 1 of 4 coefficients" in str(entry["notes"])
    if call is not logged:
        assert sealed.column("outcome") == ["optimal"]
        assert sealed.column("objective") == [1.0]
        assert "small_matrix_value" in sealed.column("solver_warning")[0]
