"""On what a night ran, read from its artifact."""

from __future__ import annotations

from ommx.experiment import Experiment

from ommx_prefect.analysis import differences, environment_of


def sealed(name, environment):
    experiment = Experiment(f"localhost/tests/environment:{name}")
    if environment is not None:
        experiment.log_json("environment", environment)
    experiment.commit()
    return Experiment.load(f"localhost/tests/environment:{name}")


def test_the_environment_is_an_attachment():
    said = {"cpu": "x", "cores": 2, "os": "linux", "solvers": {"highspy": "1.16.0"}}
    assert environment_of(sealed("one", said)) == said
    assert environment_of(sealed("none", None)) is None
    assert environment_of(sealed("list", ["x"])) is None


def test_what_neither_says_is_no_difference():
    assert differences([{"cpu": "x"}, {"cpu_model": "x"}]) == ()
    assert differences([{"cpu": "x"}, {"cpu": "x", "cores": 4}]) == ("cores differs: 4, None",)
