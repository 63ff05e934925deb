"""On what a night ran, read from its artifact."""

from __future__ import annotations

from ommx.experiment import Experiment

from ommx_prefect.analysis import differences, environment_of, environments_of


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


def test_every_host_that_took_part_is_read():
    first = {"host": "a", "cpu": "x", "cores": 2, "solvers": {"highspy": "1.16.0", "mip": "1"}}
    second = {"host": "b", "cpu": "y", "cores": 2, "solvers": {"highspy": "1.15.0", "mip": "1"}}
    experiment = Experiment("localhost/tests/environment:hosts")
    for name, said in (("environment@sub", first), ("environment", second)):
        experiment.log_json(name, said)
    experiment.log_json("environments", {"of": "a user"})
    experiment.log_attachment("environment@mine", "text/plain", b"no JSON")
    experiment.log_attachment("environment@deep", "application/json", b"[" * 200_000)
    experiment.commit()
    night = Experiment.load("localhost/tests/environment:hosts")
    assert environments_of(night) == [first, second]
    assert environment_of(night) == {
        "host": ["a", "b"],
        "cpu": ["x", "y"],
        "cores": 2,
        "solvers": {"highspy": ["1.16.0", "1.15.0"], "mip": "1"},
    }
    # Nobody knows which solve was on which of them, though both nights had the same two.
    found = differences([environments_of(night)] * 2)
    assert found[0] == "cpu differs: 'x', 'y'"
    assert found[1].startswith("solvers differs:")
    assert differences([[first], first]) == ()
    assert differences([[], first]) == ("the environment of a night is not recorded",)
