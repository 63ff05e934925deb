"""Errors of options name the option that is meant, and the values that one takes."""

from __future__ import annotations

import numpy as np
import pytest
from ommx import DecisionVariable, Sense
from prefect.exceptions import ParameterBindError

from ommx_prefect.exceptions import SolverOptionError
from ommx_prefect.solvers import sample, solve
from ommx_prefect.solvers._solve import sample_in, solve_in
from tests.support.solving import BITS, X, instance_of, recorded

ANY = instance_of([X], X)


def refused(adapter: str, options: dict) -> str:
    with pytest.raises(SolverOptionError) as raised:
        recorded(solve_in, adapter, ANY, limits={}, options=options)
    return str(raised.value)


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (lambda **wrong: solve("highs", ANY, **wrong), "time_limit"),
        (lambda **wrong: solve.submit("highs", ANY, **wrong), "timelimit_seconds"),
        (lambda **wrong: solve.map("highs", [ANY], **wrong), "time_limit_second"),
        (lambda **wrong: solve.with_options(name="x")("highs", ANY, **wrong), "time_limit"),
        (lambda **wrong: solve("highs", ANY, **wrong), "timeout"),
    ],
)
def test_a_wrong_keyword_names_the_right_one(call, wrong):
    with pytest.raises(ParameterBindError, match=f"no argument '{wrong}'.*'time_limit_seconds'"):
        call(**{wrong: 5})


def test_a_sampler_takes_keywords_of_its_own():
    assert sample.fn.__name__ == "sample"
    with pytest.raises(SolverOptionError, match="Did you mean 'num_reads'"):
        recorded(sample_in, "openjij", instance_of(BITS, sum(BITS)), options={"num_read": 3})


@pytest.mark.parametrize(
    ("adapter", "name", "value", "told"),
    [
        ("highs", "presolve", "sometimes", '"off", "choose" or "on"'),
        ("highs", "presolve", 3, '"off", "choose" or "on"'),
        ("highs", "simplex_strategy", 99, "range: {0, 4}"),
        ("scip", "branching/scorefunc", "z", "'s'um, 'p'roduct, 'q'uotient"),
        ("scip", "presolving/maxrounds", -7, "range: [-1,2147483647]"),
    ],
)
def test_a_value_that_is_not_taken_is_answered_with_those_that_are(adapter, name, value, told):
    assert told in refused(adapter, {name: value})


def test_options_without_names_are_one_clear_type_error():
    with pytest.raises(TypeError, match="the name 1 is no text; write it as"):
        recorded(solve_in, "highs", ANY, limits={}, options={1: 2})


def test_numbers_of_numpy_are_numbers():
    x = [DecisionVariable.binary(i) for i in range(3)]
    options = {"num_reads": np.int64(3), "seed": np.int32(1), "beta_max": np.float32(2)}
    found = recorded(sample_in, "openjij", instance_of(x, sum(x)), options=options)
    assert found.parameters["num_samples"] == 3
    options = {"time_limit": np.float64(5), "random_seed": np.int64(2)}
    assert recorded(solve_in, "highs", ANY, limits={}, options=options).value.feasible


@pytest.mark.parametrize(
    ("sense", "word"), [(Sense.Minimize, "minimize"), (Sense.Maximize, "maximize")]
)
def test_the_sense_is_a_parameter(sense, word):
    found = recorded(solve_in, "highs", instance_of(BITS, sum(BITS), sense=sense), limits={})
    assert found.parameters["sense"] == word
