"""A name that a parent and its subflows give, and a parameter of several types: kept, and said."""

from __future__ import annotations

import pytest
from prefect import runtime

from ommx_prefect import current_experiment, flow, task
from tests.support.logs import warnings_in
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def warnings():
    """What the log of flow runs warns of."""
    with warnings_in("prefect.flow_runs") as found:
        yield found


@flow(flow_run_name="part-{number}")
def part(number):
    current_experiment().log_json("plan", {"part": number})
    current_experiment().log_json("shared", "the same")
    current_experiment().log_json(f"own-{number}", number)


def test_an_attachment_tells_whose_it_is_where_several_flow_runs_give_its_name(warnings):
    @flow
    def whole():
        part(1)
        current_experiment().log_json("plan", "of the whole")
        current_experiment().log_json("shared", "the same")
        part(2)

    sealed = run_flow(whole)
    names = {"plan", "plan@part-1", "plan@part-2", "shared", "own-1", "own-2", "ledger"}
    assert set(sealed.experiment.attachment_names) == names
    found = {name: sealed.experiment.get_json(name) for name in names - {"ledger"}}
    assert found["plan"] == "of the whole"
    assert [found[f"plan@part-{n}"] for n in (1, 2)] == [{"part": 1}, {"part": 2}]
    for number in (1, 2):
        said = (
            "attachment 'plan' was logged by several flow runs; "
            f"that of 'part-{number}' is 'plan@part-{number}'"
        )
        assert said in sealed.ledger["warnings"]
        assert said in warnings


def test_of_subflows_alone_the_first_has_the_name():
    @flow
    def whole():
        part(1)
        part(2)

    sealed = run_flow(whole)
    assert sealed.experiment.get_json("plan") == {"part": 1}
    assert sealed.experiment.get_json("plan@part-2") == {"part": 2}


def test_subflows_of_one_name_are_told_apart_by_their_ids(warnings):
    ids = []

    @flow(flow_run_name="part")
    def part_of(number):
        ids.append(runtime.flow_run.id[-8:])
        current_experiment().log_json("plan", number)

    @flow
    def whole():
        current_experiment().log_json("plan", "of the whole")
        part_of(1)
        part_of(2)

    sealed = run_flow(whole)
    names = {"plan", "plan@part", f"plan@part-{ids[1]}", "ledger"}
    assert set(sealed.experiment.attachment_names) == names
    assert sealed.experiment.get_json("plan@part") == 1
    assert sealed.experiment.get_json(f"plan@part-{ids[1]}") == 2
    assert any(f"that of 'part' is 'plan@part-{ids[1]}'" in said for said in warnings)


def test_a_parameter_of_several_types_is_told_in_log_and_ledger(warnings):
    @task
    def note(value):
        return None

    @flow
    def whole():
        note(1)
        note("text")

    sealed = run_flow(whole)
    said = (
        "run parameter 'value' has values of several types; "
        "those that are string stand in column 'value:string'"
    )
    assert said in sealed.ledger["warnings"]
    assert said in warnings
