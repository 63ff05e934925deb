"""A sampling is as good as its best feasible sample, and says when there is none."""

from __future__ import annotations

from ommx import SampleSet
from ommx_openjij_adapter import OMMXOpenJijSAAdapter

from ommx_prefect.instances import load_instance
from ommx_prefect.solvers._solve import sample_in, solve_in
from tests.support.solving import check, penalised, recorded


def test_sampling_records_its_best_feasible_sample(open_instances):
    instance = load_instance(open_instances / "QPLIB_3506.qplib").instance
    options = {"num_reads": 5, "seed": 1, "num_sweeps": 200}
    found = recorded(sample_in, "openjij", instance, options=options)
    assert isinstance(found.value, SampleSet)
    assert found.parameters["outcome"] == "feasible"
    assert found.parameters["objective"] == found.value.best_feasible.objective > 400
    assert found.parameters["num_samples"] == 5
    (sampling,) = found.run.samplings
    assert (sampling.status, sampling.adapter_options) == ("finished", options)


def test_samples_of_which_none_is_feasible_are_no_solution():
    options = {"num_reads": 4, "seed": 1}
    found = recorded(sample_in, OMMXOpenJijSAAdapter, penalised(), options=options)
    assert found.error.outcome == found.parameters["outcome"] == "no_solution"
    assert found.run.samplings[0].status == "finished"
    kept = recorded(sample_in, "openjij", penalised(), options=options, raise_on_failure=False)
    assert kept.value.num_samples() == 4
    assert kept.parameters["feasible"] is False


def test_solving_by_a_sampler_without_a_feasible_sample_is_no_solution():
    check(recorded(solve_in, "openjij", penalised(), limits={"seed": 1}), "no_solution")


def test_a_sampler_refuses_what_it_cannot_encode(open_instances):
    instance = load_instance(open_instances / "klein1.mps").instance
    found = recorded(sample_in, "openjij", instance, options={})
    assert found.error.outcome == "not_applicable"
