"""Every option of every backend is set, read back, and refused when it cannot be."""

from __future__ import annotations

import pickle
import threading

import pytest
from ommx import Instance
from ommx.adapter import SolverAdapter
from ommx_highs_adapter import OMMXHighsAdapter
from ommx_openjij_adapter import OMMXOpenJijSAAdapter
from ommx_pyscipopt_adapter import OMMXPySCIPOptAdapter
from ommx_python_mip_adapter import OMMXPythonMIPAdapter

from ommx_prefect._solver import backends
from ommx_prefect._solver.backends import BACKENDS, backend_of, resolve_adapter, resolve_sampler
from ommx_prefect._solver.options import (
    backend_settings,
    check_keywords,
    given_limits,
    set_options,
)
from ommx_prefect.exceptions import SolverOptionError, UnknownAdapterError
from ommx_prefect.instances import load_instance

CLASSES = {
    "highs": OMMXHighsAdapter,
    "scip": OMMXPySCIPOptAdapter,
    "python-mip": OMMXPythonMIPAdapter,
    "openjij": OMMXOpenJijSAAdapter,
}
LIMITS = {"time_limit_seconds": 3, "mip_gap": 0.25, "seed": 7, "threads": 2}
DRIVEN = [backend for backend in BACKENDS if backend.driver is not None]
by_name = pytest.mark.parametrize("backend", DRIVEN, ids=lambda backend: backend.name)

# Backend, option, a value it takes, one of a wrong type, one out of range (None: any is taken).
RAW = [
    ("highs", "presolve", "off", True, "sometimes"),
    ("highs", "mip_max_nodes", 5, 0.5, -5),
    ("highs", "mip_feasibility_tolerance", 1e-7, "small", -1.0),
    ("highs", "output_flag", False, 1, None),
    ("scip", "presolving/maxrounds", 0, 0.5, -9),
    ("scip", "limits/nodes", 10, "many", -9),
    ("scip", "numerics/feastol", 1e-7, "small", 5.0),
    ("scip", "misc/catchctrlc", False, 1, None),
    ("scip", "lp/pricing", "q", 2, "qq"),
    ("python-mip", "preprocess", 0, 0.5, None),
    ("python-mip", "round_int_vars", False, 1, None),
    ("python-mip", "opt_tol", 1e-7, "small", None),
]


@pytest.fixture
def flugpl(open_instances) -> Instance:
    return load_instance(open_instances / "flugpl.mps").instance


def refused(call, *args) -> str:
    with pytest.raises(SolverOptionError) as caught:
        call(*args)
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value)
    assert error.adapter in str(error)
    assert repr(error.option) in str(error)
    return str(error)


@by_name
def test_limits_take_effect_on_the_backends_model(backend, flugpl):
    adapter = CLASSES[backend.name]
    model = adapter(flugpl).solver_input
    settings = backend_settings(adapter, given_limits(adapter, LIMITS), None)
    set_options(adapter, backend.driver, model, settings)
    found = backend.driver.options(model)
    assert {name: found[raw] for name, raw in backend.limits.items()} == LIMITS


@pytest.mark.parametrize(("name", "option", "good", "wrong", "out"), RAW)
def test_raw_options_are_set_or_refused(name, option, good, wrong, out, flugpl, capfd):
    adapter, driver = CLASSES[name], backend_of(CLASSES[name]).driver
    model = adapter(flugpl).solver_input
    before = driver.options(model)[option]
    assert "is no " in refused(set_options, adapter, driver, model, {option: wrong})
    if out is not None:
        refused(set_options, adapter, driver, model, {option: out})
    assert driver.options(model)[option] == before
    set_options(adapter, driver, model, {option: good})
    assert driver.options(model)[option] == good


@by_name
def test_unknown_options_are_told_their_neighbours(backend, flugpl):
    adapter = CLASSES[backend.name]
    model = adapter(flugpl).solver_input
    known = backend.limits["time_limit_seconds"]
    said = refused(set_options, adapter, backend.driver, model, {known[:-1]: 3.0})
    assert f"Did you mean {known!r}" in said
    assert "It has " in refused(set_options, adapter, backend.driver, model, {"Ωμέγα": 1})


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("time_limit_seconds", 0),
        ("time_limit_seconds", float("nan")),
        ("time_limit_seconds", float("inf")),
        ("time_limit_seconds", "10"),
        ("time_limit_seconds", True),
        ("mip_gap", -0.1),
        ("seed", -1),
        ("seed", 1.0),
        ("threads", 0),
    ],
)
def test_limits_of_a_wrong_type_or_range_are_refused(limit, value):
    refused(given_limits, OMMXHighsAdapter, {limit: value})


def test_limits_come_as_float_and_int_whatever_number_they_were():
    import numpy as np

    given = given_limits(
        OMMXHighsAdapter, {"time_limit_seconds": 3, "seed": np.int64(4), "mip_gap": None}
    )
    assert given == {"time_limit_seconds": 3.0, "seed": 4}
    assert [type(value) for value in given.values()] == [float, int]


def test_a_limit_is_given_once():
    said = refused(backend_settings, OMMXHighsAdapter, {"seed": 1}, {"random_seed": 2})
    assert "give it once" in said


def test_limits_that_a_sampler_does_not_have_are_refused():
    assert "It takes seed" in refused(
        backend_settings, OMMXOpenJijSAAdapter, {"time_limit_seconds": 1.0}, None
    )


@pytest.mark.parametrize(
    "options",
    [{"num_read": 3}, {"num_reads": 0}, {"num_reads": 1.5}, {"sparse": 1}, {"updater": 3}],
)
def test_sampler_options_are_checked_before_sampling(options):
    refused(check_keywords, OMMXOpenJijSAAdapter, OMMXOpenJijSAAdapter.sample, options)


def test_the_table_of_sampler_options_is_the_adapters_own():
    import inspect

    names = set(inspect.signature(OMMXOpenJijSAAdapter.sample).parameters)
    assert set(backend_of(OMMXOpenJijSAAdapter).keywords) == names - {
        "ommx_instance",
        "diagnostics",
    }


@pytest.mark.parametrize("name", CLASSES)
def test_short_names_and_classes_find_the_same_adapter(name):
    assert resolve_adapter(name) is CLASSES[name] is resolve_adapter(CLASSES[name])
    assert backend_of(CLASSES[name]).name == name
    derived = type("Mine", (CLASSES[name],), {"__module__": "mine"})
    assert backend_of(derived).name == name


def unknown(call, adapter) -> str:
    with pytest.raises(UnknownAdapterError) as caught:
        call(adapter)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return str(caught.value)


def test_what_is_no_adapter_is_refused():
    assert "'highs'" in unknown(resolve_adapter, "hihgs")
    assert "'openjij'" in unknown(resolve_adapter, "gurobi")
    assert "SolverAdapter" in unknown(resolve_adapter, int)
    assert "use solve()" in unknown(resolve_sampler, "highs")
    assert "adapter=None" in unknown(resolve_adapter, None)


def test_an_instance_in_the_place_of_the_adapter_is_not_printed(flugpl):
    said = unknown(resolve_adapter, flugpl)
    assert "adapter=Instance(" in said
    assert "Pass an adapter class" in said
    assert len(said) < 200
    assert "\n" not in said


def test_an_adapter_that_is_not_installed_names_the_extra(monkeypatch):
    missing = backends.Backend(name="highs", module="no_such_adapter", adapter="A", limits={})
    monkeypatch.setattr(backends, "BACKENDS", (missing,))
    assert 'pip install "no-such-adapter>=3.0.0b7,<4"' in unknown(resolve_adapter, "highs")


def test_an_adapter_outside_the_table_has_the_keywords_of_its_solve():
    class Mine(SolverAdapter):
        @classmethod
        def solve(cls, ommx_instance, *, effort=1, diagnostics=None):
            raise NotImplementedError

    assert backend_of(Mine) is None
    check_keywords(Mine, Mine.solve, {"effort": 2})
    assert "Did you mean 'effort'" in refused(check_keywords, Mine, Mine.solve, {"efort": 2})
    refused(backend_settings, Mine, {"seed": 1}, None)


def test_highs_takes_another_number_of_threads_in_the_same_and_in_other_threads(flugpl):
    driver = backend_of(OMMXHighsAdapter).driver
    statuses = []

    def run(threads: int) -> None:
        model = OMMXHighsAdapter(flugpl).solver_input
        set_options(OMMXHighsAdapter, driver, model, {"threads": threads})
        driver.run(model)
        statuses.append(driver.status(model))

    for threads in (1, 2, 1):
        run(threads)
    workers = [threading.Thread(target=run, args=(threads,)) for threads in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert statuses == ["kOptimal"] * 5


@by_name
def test_solvers_are_silent(backend, flugpl, capfd):
    model = CLASSES[backend.name](flugpl).solver_input
    backend.driver.run(model)
    assert capfd.readouterr() == ("", "")
    assert backend.driver.verdicts[backend.driver.status(model)] == "optimal"
    assert backend.driver.has_solution(model)
    assert backend.driver.gap(model) < 1e-4


@by_name
def test_every_verdict_is_keyed_by_a_status_the_backend_has(backend):
    import highspy
    import mip

    statuses = {
        "highs": {name for name in dir(highspy.HighsModelStatus) if name.startswith("k")},
        "python-mip": {status.name for status in mip.OptimizationStatus},
    }
    assert set(backend.driver.verdicts) <= statuses.get(backend.name, set(backend.driver.verdicts))
