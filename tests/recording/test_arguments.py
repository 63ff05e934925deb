"""Which arguments and logged values become run parameters: all that are numbers, and keywords."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from ommx.experiment import Experiment, Run

from ommx_prefect import current_run, flow, task
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")

# What is given -> what is recorded.
NUMBERS = [
    (np.int64(5), 5),
    (np.uint8(7), 7),
    (np.bool_(True), True),
    (np.float32(0.5), 0.5),
    (np.float64(0.25), 0.25),
    (np.array(3), 3),
    (np.array(1.5), 1.5),
    (Decimal("0.1"), 0.1),
    (Fraction(1, 4), 0.25),
    (np.longdouble(2.5), 2.5),
]
# An element of an array of text is a subclass of str, and no number.
SCALARS = [*NUMBERS, (np.array(["air05"])[0], "air05"), (np.array("air05"), "air05")]


def test_scalars_of_every_kind_are_recorded_as_arguments():
    @task
    def work(**values):
        return None

    @flow
    def one():
        work(**{f"v{index}": value for index, (value, _) in enumerate(SCALARS)})

    sealed = run_flow(one)
    found = [sealed.column(f"v{index}")[0] for index in range(len(SCALARS))]
    assert found == [number for _, number in SCALARS]
    assert [type(x) for x in found] == [type(number) for _, number in SCALARS]
    assert sealed.ledger["warnings"] == []


def test_numbers_beyond_the_floats_are_noted():
    @task
    def work(huge, precise, plane):
        return None

    @flow
    def one():
        work(Decimal("1e400"), Fraction(10**400), np.complex128(1j))

    sealed = run_flow(one)
    notes = sealed.ledger["runs"][0]["notes"]
    assert [f"argument {name!r} is not recorded" in note for name, note in zip(
        ("huge", "precise", "plane"), notes, strict=True
    )] == [True] * 3  # fmt: skip


def test_what_is_no_scalar_is_noted_where_it_is_asked_for_by_name():
    @task(log_inputs=["weights", "size", "absent"])
    def named(weights, size, absent=None, api_key=()):
        return None

    @task
    def all_scalars(weights):
        return None

    @flow
    def one():
        named([1, 2], 2)
        all_scalars([1, 2])

    sealed = run_flow(one)
    (note,) = sealed.ledger["runs"][0]["notes"]
    assert "argument 'weights' is not recorded: it is of type list" in note
    assert not sealed.ledger["runs"][1].get("notes")
    assert sealed.column("size") == [2, None]


def test_keywords_beside_are_arguments_like_others():
    @task
    def work(x, /, **limits):
        return None

    @task(log_inputs=["gap"])
    def by_keyword(**limits):
        return None

    @task(log_inputs=["limits"])
    def by_name(y, **limits):
        return None

    @flow
    def one():
        work(1, gap=0.5, threads=np.int64(2), api_key="hidden-k3y", x="of the keywords")
        by_keyword(gap=0.25, seed=1)
        by_name(2, gap=0.125, seed=3)

    sealed = run_flow(one)
    assert sealed.column("gap") == [0.5, 0.25, 0.125]
    assert sealed.column("threads") == [2, None, None]
    assert sealed.column("seed") == [None, None, 3]
    assert (sealed.column("x"), sealed.column("y")) == ([1, None, None], [None] * 3)
    assert sealed.column("limits.x") == ["of the keywords", None, None]
    assert sealed.column("api_key") == [None] * 3


def test_keywords_of_a_flow_are_parameters_like_others():
    @flow(experiment="ghcr.io/acme/keywords:{capacity}-{seed}-{flow_run.name}")
    def one(capacity, **more):
        return None

    sealed = run_flow(one, 5, seed=3, api_key="hidden-k3y")
    assert sealed.ledger["flow_run"]["parameters"] == {"capacity": 5, "seed": 3}
    assert ":5-3-" in sealed.experiment.image_name


@pytest.mark.parametrize(("value", "number"), NUMBERS, ids=[type(x).__name__ for x, _ in NUMBERS])
def test_a_run_takes_what_is_a_number(value, number):
    experiment = Experiment.with_temp_local_registry()
    run = experiment.run()
    run.log_parameter("value", value)
    run.finish()
    assert experiment.run_parameters_df()["value"].tolist() == [number]


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, np.array([1, 2]), 1j, object()])
def test_a_run_refuses_what_is_none_as_before(value):
    with pytest.raises(TypeError, match="must be bool, int, float, or str"):
        Experiment.with_temp_local_registry().run().log_parameter("value", value)


def test_the_current_run_is_ommxs_own_and_takes_a_count_of_numpy():
    @task
    def solved():
        run = current_run()
        run.log_parameter("nnz", np.int64(5))
        run.log_parameter(name="rows", value=np.array(4))
        return type(run) is Run, isinstance(run, Run)

    @flow
    def one():
        return solved()

    sealed = run_flow(one)
    assert sealed.state.result() == (True, True)
    assert (sealed.column("nnz"), sealed.column("rows")) == ([5], [4])
