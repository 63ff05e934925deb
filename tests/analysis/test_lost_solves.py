"""Solves that left no record of their own: killed ones, cached ones, and those that failed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ommx import DecisionVariable, Instance
from ommx.experiment import Experiment
from ommx_highs_adapter import OMMXHighsAdapter
from ommx_openjij_adapter import OMMXOpenJijSAAdapter

from ommx_prefect import instance_digest
from ommx_prefect.analysis import compare, contradictions, solves, virtual_best
from ommx_prefect.solvers._solve import solve_in
from tests.analysis.tables import solve_table
from tests.support.nights import infeasible, knapsack
from tests.support.solving import X, instance_of

_numbers = itertools.count()
OPTIONS = {"presolve": "off"}


def night() -> Experiment:
    return Experiment(f"nights.local/lost:n{next(_numbers)}")


def solved_night(*options: dict[str, Any], **limits: Any) -> Experiment:
    made = night()
    for each in options:
        with made.run() as run:
            solve_in(run, "highs", knapsack(5, "small"), limits=limits, options=each)
    made.commit()
    return Experiment.load(made.image_name)


def night_of_killed(keep: bool, **parameters: Any) -> Experiment:
    """What a release that recorded no digest left of a solve whose process was killed."""
    made = night()
    with made.run() as run:
        solve_in(run, "highs", knapsack(5, "small"), limits={})
    known = {"instance": "small", "adapter": "OMMXHighsAdapter", "sense": "maximize"}
    with made.run() as run:
        for name, value in {**known, **parameters}.items():
            run.log_parameter(name, value)
        if keep:
            run.log_instance("instance", knapsack(5, "small"))
    made.commit()
    return Experiment.load(made.image_name)


@pytest.mark.parametrize("keep", [True, False], ids=["input kept", "name alone"])
def test_a_solve_that_is_killed_is_worse_and_neither_gone_nor_new(keep):
    before = solved_night({}, OPTIONS)
    after = night_of_killed(keep, **{"option.presolve": "off"})
    table = solves(after)
    assert table["digest"].tolist() == [instance_digest(knapsack(5, ""))] * 2
    found = compare(solves(before), table)
    assert found.counts == {"same": 1, "worse": 1}
    assert found.regressions == ["small highs (presolve=off): optimal, now interrupted"]


def test_limits_are_part_of_the_variant_of_a_killed_solve():
    before = solved_night({}, mip_gap=0.5, threads=1, seed=3, time_limit_seconds=9)
    limits = {"mip_gap": 0.5, "threads": 1, "seed": 3, "time_limit_seconds": 9}
    after = solves(night_of_killed(True, **limits))
    assert after["variant"].tolist()[1:] == solves(before)["variant"].tolist()
    assert after["variant"][1] == "mip_rel_gap=0.5, threads=1"


def test_a_missing_digest_is_no_second_content_of_a_name():
    known = solve_table(("p", "highs", "optimal", 1.0, 1, 9), ("p", "scip", "optimal", 1.0, 2, 9))
    lost = known.assign(digest=["d", None], outcome=["optimal", None])
    found = compare(known.assign(digest="d"), lost.assign(experiment=["a", "b"]))
    assert found.counts == {"same": 1, "worse": 1}
    assert len(virtual_best(known.assign(digest=["d", None]))) == 1


def test_a_digest_is_recorded_with_every_solve():
    logged = solved_night({}).run_parameters_df()["instance_digest"].tolist()
    assert logged == [instance_digest(knapsack(5, ""))]
    # The record of a solve has the instance as its adapter wanted it; the digest is of the user's.
    x = [DecisionVariable.binary(i) for i in range(3)]
    one_of = Instance.from_components(
        decision_variables=x,
        objective=x[0] + 2 * x[1],
        constraints={},
        sense=Instance.MAXIMIZE,
        one_hot_constraints={0: _one_hot([0, 1, 2])},
    )
    made = night()
    for adapter in ("highs", "scip"):
        with made.run() as run:
            solve_in(run, adapter, one_of, limits={})
    made.commit()
    table = solves(Experiment.load(made.image_name))
    assert set(table["digest"]) == {instance_digest(one_of)}


def _one_hot(variables: list[int]) -> Any:
    from ommx import OneHotConstraint

    return OneHotConstraint(variables=variables)


def test_what_the_adapters_of_plain_ommx_raise_is_an_outcome():
    made = night()
    with pytest.raises(Exception, match="infeasible"), made.run() as run:
        run.log_solve(OMMXHighsAdapter, infeasible("none"))
    with pytest.raises(TypeError), made.run() as run:
        run.log_solve(OMMXHighsAdapter, knapsack(5, "small"), no_such_keyword=1)
    with pytest.raises(Exception, match="is positive"), made.run() as run:
        run.log_solve(OMMXOpenJijSAAdapter, instance_of([X], X, {0: X >= 3}))  # 3 at best
    made.commit()
    table = solves(Experiment.load(made.image_name))
    assert table["outcome"].fillna("?").tolist() == ["infeasible", "?", "not_applicable"]


def test_untitled_instances_are_named_by_their_digest_and_contradict():
    made = night()
    for objective in (7.0, 9.0):
        with made.run() as run:
            run.log_solve(OMMXHighsAdapter, knapsack(5, ""), verbose=False)
            run.log_parameter("outcome", "optimal")
            run.log_parameter("objective", objective)
    made.commit()
    table = solves(Experiment.load(made.image_name))
    digits = instance_digest(knapsack(5, "")).removeprefix("sha256:")[:12]
    assert table["instance"].tolist() == [digits] * 2
    assert contradictions(table)["instance"].tolist() == [digits]
    assert contradictions(table.assign(instance=None))["kind"].tolist() == ["optimum"]
