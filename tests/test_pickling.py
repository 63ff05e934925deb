"""OMMX values pass through pickle, into other processes and into Prefect's cache keys."""

import copyreg
import multiprocessing
import operator
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import cloudpickle
import ommx
import ommx.adapter
import ommx.artifact
import ommx.experiment
import pytest
from ommx_highs_adapter import OMMXHighsAdapter
from prefect.utilities.hashing import hash_objects

from ommx_prefect._pickling import install

install()


def instance(weight=1, degree=1):
    x = [ommx.DecisionVariable.continuous(i, lower=0, upper=1) for i in range(3)]
    made = ommx.Instance.from_components(
        decision_variables=x,
        objective=weight * (x[0] if degree == 1 else x[0] * x[1] * x[2]),
        constraints={0: sum(x) == 1},
        sense=ommx.Sense.Maximize,
    )
    made.title = "knapsack"
    made.authors = ["a", "b"]
    return made


def parametric():
    return ommx.ParametricInstance.from_components(
        decision_variables=[ommx.DecisionVariable.binary(0)],
        parameters=[],
        objective=ommx.Function(0),
        constraints={},
        sense=ommx.Sense.Minimize,
    )


def solution():
    made = instance().evaluate({0: 1, 1: 0, 2: 0})
    made.add_user_annotation("by", "hand")
    return made


def sample_set():
    made = instance().evaluate_samples({0: {0: 1, 1: 0, 2: 0}})
    made.add_user_annotation("by", "hand")
    return made


def annotated(given: ommx.Instance, run: ommx.experiment.Run | None = None) -> ommx.Solution:
    return given.title


PICKLERS = pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])


@PICKLERS
@pytest.mark.parametrize("make", [instance, parametric, solution, sample_set])
def test_a_value_keeps_its_content_and_annotations(make, dumps):
    value = make()
    again = pickle.loads(dumps(value))
    assert type(again) is type(value)
    assert again.to_v2_bytes() == value.to_v2_bytes()
    assert dict(again.annotations) == dict(value.annotations)


ENUMS = (
    "DecisionVariableRole",
    "Equality",
    "Kind",
    "Optimality",
    "ProvenanceKind",
    "Relaxation",
    "Sense",
    "SpecialConstraintKind",
)


@pytest.mark.parametrize("name", ENUMS)
def test_every_member_of_an_enum_comes_back(name):
    kind = getattr(ommx, name)
    members = [member for member in vars(kind).values() if isinstance(member, kind)]
    assert members
    assert pickle.loads(pickle.dumps(members)) == members


def test_a_state_keeps_ids_and_exact_values():
    entries = {7: 0.1, 0: 0.0, 2**40: -1e300}
    assert pickle.loads(pickle.dumps(ommx.State(entries))).entries == entries


@PICKLERS
def test_a_solver_that_does_not_apply_keeps_its_error(dumps):
    with pytest.raises(ommx.adapter.AdapterNotApplicableError) as caught:
        OMMXHighsAdapter.solve_without_preparation(instance(degree=3))
    again = pickle.loads(dumps(caught.value))
    assert type(again) is ommx.adapter.AdapterNotApplicableError
    assert str(again) == str(caught.value)
    assert "objective degree 3" in str(again)
    assert again.adapter == caught.value.adapter


def test_a_function_annotated_with_ommx_classes_travels_by_value():
    local = {"ommx": ommx}
    exec("def f(i: ommx.Instance) -> ommx.Solution: return i.title", local)
    assert cloudpickle.loads(cloudpickle.dumps(local["f"]))(instance()) == "knapsack"


@pytest.mark.parametrize("module", [ommx, ommx.experiment, ommx.artifact], ids=lambda m: m.__name__)
def test_every_exported_class_is_found_where_it_says(module):
    for name in module.__all__:
        kind = getattr(module, name)
        if isinstance(kind, type):
            assert kind.__module__ != "builtins"
            assert pickle.loads(cloudpickle.dumps(kind)) is kind


def test_installing_again_changes_nothing():
    before = dict(copyreg.dispatch_table)
    install()
    assert copyreg.dispatch_table == before


@pytest.mark.server
def test_a_fresh_process_needs_no_import_of_ours_to_unpickle():
    code = (
        "import sys, pickle; value = pickle.load(sys.stdin.buffer);"
        "print(value.title, 'ommx_prefect' in sys.modules); pickle.dumps(value)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(instance()),
        capture_output=True,
        check=True,
        env=dict(os.environ),
    )
    assert found.stdout.split() == [b"knapsack", b"True"]


@pytest.mark.server
def test_a_spawned_pool_takes_and_returns_values():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        # Neither function imports the package: unpickling the argument does.
        assert pool.submit(operator.attrgetter("title"), instance()).result() == "knapsack"
        state = pool.submit(operator.attrgetter("state"), solution()).result()
        assert state.entries == {0: 1.0, 1: 0.0, 2: 0.0}
        assert pool.submit(annotated, instance()).result() == "knapsack"


def test_inputs_cache_keys_tell_instances_apart():
    one = instance()
    assert hash_objects(one) is not None
    assert hash_objects(one) == hash_objects(one)
    assert hash_objects(one) == hash_objects(pickle.loads(pickle.dumps(one)))
    assert hash_objects(one) != hash_objects(instance(weight=2))
    assert hash_objects({"i": one, "s": solution()}) != hash_objects({"i": one, "s": None})


def test_equal_states_have_one_cache_key():
    entries = {i: float(i) for i in range(50)}
    backwards = dict(reversed(entries.items()))
    assert hash_objects(ommx.State(entries)) == hash_objects(ommx.State(backwards))


X = [
    ommx.DecisionVariable.integer(
        i, lower=0, upper=4, name="x", subscripts=[i], parameters={"a": "b"}, description="d"
    )
    for i in range(3)
]


@pytest.mark.parametrize(
    "function",
    [
        2 * X[0] + 1,
        X[0] * X[1] + 2 * X[0] + 3,
        X[0] * X[1] * X[2] + X[0] * X[0] + 1,
        ommx.Function(2 * X[0] + 1),
        ommx.Function(X[0] * X[1] * X[2]),
        ommx.Function(3.0),
    ],
)
def test_a_polynomial_keeps_its_kind_and_terms(function):
    again = pickle.loads(pickle.dumps(function))
    assert type(again) is type(function)
    assert again.almost_equal(function)
    assert getattr(again, "type_name", 0) == getattr(function, "type_name", 0)


def test_a_decision_variable_keeps_its_labels():
    names = ("id", "kind", "name", "subscripts", "parameters", "description", "bound")
    for variable in (X[1], ommx.DecisionVariable.binary(9)):
        again = pickle.loads(pickle.dumps(variable))
        for name in names:
            assert getattr(again, name) == getattr(variable, name)


def test_samples_keep_ids_and_states():
    samples = ommx.Samples({0: {1: 2.0}, 5: {1: 2.0}, 7: {1: 3.0}})
    again = pickle.loads(pickle.dumps(samples))
    assert again.sample_ids() == {0, 5, 7}
    assert again.get_state(5).entries == {1: 2.0}
    assert again.get_state(7).entries == {1: 3.0}


def test_a_preparation_that_fails_keeps_message_and_the_text_of_its_report():
    with pytest.raises(ommx.PreparationTargetNotReachedError) as caught:
        OMMXHighsAdapter.solve(instance(degree=3))
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is ommx.PreparationTargetNotReachedError
    assert str(again) == str(caught.value)
    assert str(again.report) == str(caught.value.report)
    assert not again.report.is_member


class Subclassed(ommx.adapter.AdapterNotApplicableError):
    """An adapter's own error."""


def test_a_subclass_of_the_error_keeps_its_report_and_attributes():
    with pytest.raises(ommx.adapter.AdapterNotApplicableError) as caught:
        OMMXHighsAdapter.solve_without_preparation(instance(degree=3))
    error = Subclassed("adapter", caught.value.report)
    error.hint = "linearise"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.hint) == (Subclassed, str(error), "linearise")
    assert str(again.report) == str(error.report)
