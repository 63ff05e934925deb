"""The digest sees all of an instance's content, and nothing of the order it is kept in."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ommx import (
    Bound,
    DecisionVariable,
    Function,
    IndicatorConstraint,
    Instance,
    Kind,
    NamedFunction,
    OneHotConstraint,
    Parameter,
    ParametricInstance,
    Sense,
    Sos1Constraint,
)

import ommx_prefect  # noqa: F401  (makes instances picklable)
from ommx_prefect.instances import expand_sources, load_instance
from ommx_prefect.instances._dependent_variables import dependent_functions
from ommx_prefect.instances._digest import instance_digest
from tests.support.instance_files import FOLDERS

X = [DecisionVariable.binary(i, name="x", subscripts=[i]) for i in range(4)]
Y = DecisionVariable.integer(10, lower=0, upper=3)


def model(**changes: Any) -> Instance:
    """An instance with every kind of content; `changes` replace its components."""
    components: dict[str, Any] = {
        "sense": Sense.Maximize,
        "objective": X[0] + 2 * X[1] * X[2] + 0.1 * Y + 5,
        "decision_variables": [*X, Y],
        "constraints": {3: X[0] + X[1] <= 1, 5: Y + X[3] == 2, 8: X[0] * X[1] + X[2] <= 2},
        "indicator_constraints": {1: (Y <= 1).with_indicator(X[0])},
        "one_hot_constraints": {2: OneHotConstraint(variables=[0, 1, 2])},
        "sos1_constraints": {4: Sos1Constraint(variables=[1, 2])},
        "named_functions": [NamedFunction(id=0, function=X[0] + 1, name="cost")],
    }
    return Instance.from_components(**{**components, **changes})


def relaxed(reason: str) -> Instance:
    instance = model()
    instance.relax_constraint(3, reason)
    return instance


def substituted(factor: float) -> Instance:
    instance = model(named_functions=[])
    instance.substitute({10: 1 + factor * X[3] + X[1] * X[2]})
    return instance


def encoded() -> Instance:
    instance = model(indicator_constraints={}, one_hot_constraints={}, sos1_constraints={})
    instance.log_encode({10})
    return instance


def labelled(name: str) -> Instance:
    instance = model()
    instance.constraints[3].set_name(name)
    return instance


def parametric(weight: float = 1.0, name: str = "p") -> ParametricInstance:
    parameter = Parameter(7, name=name)
    return ParametricInstance.from_components(
        sense=Sense.Minimize,
        objective=X[0] + weight * X[1] * parameter,
        decision_variables=X,
        parameters=[parameter],
        constraints={1: X[1] + X[2] <= 1},
    )


CHANGED = {
    "sense": lambda: model(sense=Sense.Minimize),
    "coefficient": lambda: model(objective=X[0] + 2 * X[1] * X[2] + (0.1 + 1e-17 + 2e-17) * Y + 5),
    "quadratic coefficient": lambda: model(objective=X[0] + 3 * X[1] * X[2] + 0.1 * Y + 5),
    "objective constant": lambda: model(objective=X[0] + 2 * X[1] * X[2] + 0.1 * Y + 6),
    "no polynomial": lambda: model(objective=abs(Function(X[0] - X[1]))),
    "another that is none": lambda: model(objective=abs(Function(X[0] - 2 * X[1]))),
    "bound": lambda: model(decision_variables=[*X, DecisionVariable.integer(10, lower=0, upper=4)]),
    "kind": lambda: model(
        decision_variables=[*X, DecisionVariable.continuous(10, lower=0, upper=3)]
    ),
    "unused variable": lambda: model(decision_variables=[*X, Y, DecisionVariable.binary(11)]),
    "variable label": lambda: model(decision_variables=[*X[:3], DecisionVariable.binary(3), Y]),
    "constraint id": lambda: model(
        constraints={4: X[0] + X[1] <= 1, 5: Y + X[3] == 2, 8: X[0] * X[1] + X[2] <= 2}
    ),
    "equality": lambda: model(
        constraints={3: X[0] + X[1] == 1, 5: Y + X[3] == 2, 8: X[0] * X[1] + X[2] <= 2}
    ),
    "right-hand side": lambda: model(
        constraints={3: X[0] + X[1] <= 2, 5: Y + X[3] == 2, 8: X[0] * X[1] + X[2] <= 2}
    ),
    "constraint label": lambda: labelled("capacity"),
    "removed": lambda: relaxed("slow"),
    "removed for another reason": lambda: relaxed("wrong"),
    "fixed value": lambda: model().partial_evaluate({3: 1.0}),
    "indicator": lambda: model(indicator_constraints={1: (Y <= 1).with_indicator(X[1])}),
    "one-hot": lambda: model(one_hot_constraints={2: OneHotConstraint(variables=[0, 1, 3])}),
    "sos1": lambda: model(sos1_constraints={4: Sos1Constraint(variables=[1, 3])}),
    "named function": lambda: model(
        named_functions=[NamedFunction(id=0, function=X[0] + 2, name="cost")]
    ),
    "substitution": lambda: substituted(1.0),
    "another substitution": lambda: substituted(2.0),
    "encoding": encoded,
    "parametric": parametric,
    "weight of a parameter": lambda: parametric(2.0),
    "label of a parameter": lambda: parametric(name="q"),
}


def test_every_change_of_the_content_gives_another_digest():
    digests = {name: instance_digest(changed()) for name, changed in CHANGED.items()}
    digests["unchanged"] = instance_digest(model())
    assert len(set(digests.values())) == len(digests)


@pytest.mark.parametrize("name", ["unchanged", *CHANGED])
def test_copies_pickles_and_bytes_keep_the_digest(name):
    instance = CHANGED.get(name, model)()
    kind = type(instance)
    digest = instance_digest(instance)
    assert digest.startswith("sha256:")
    assert instance_digest(copy.copy(instance)) == digest
    assert instance_digest(pickle.loads(pickle.dumps(instance))) == digest
    again = kind.from_v2_bytes(instance.to_v2_bytes())
    assert instance_digest(kind.from_v2_bytes(again.to_v2_bytes())) == digest


def test_bytes_of_the_first_format_keep_the_digest():
    plain = model(indicator_constraints={}, one_hot_constraints={}, sos1_constraints={})
    assert instance_digest(Instance.from_v1_bytes(plain.to_v1_bytes())) == instance_digest(plain)


def test_where_an_instance_comes_from_does_not_count():
    instance = model()
    instance.title, instance.authors = "knapsack", ["someone"]
    instance.add_user_annotation("note", "seen")
    assert instance_digest(instance) == instance_digest(model())


def test_negative_zero_is_zero():
    below = DecisionVariable(10, Kind.Integer, Bound(-0.0, 3))
    assert instance_digest(model(decision_variables=[*X, below])) == instance_digest(model())


def functions_of(instance: Instance | ParametricInstance) -> dict[int, Any]:
    return dependent_functions(instance, instance.to_v2_bytes())


def test_the_functions_of_dependent_variables_are_found():
    assert str(functions_of(substituted(2.0))[10]) == "Function(x1*x2 + 2*x3 + 1)"
    assert str(functions_of(encoded())[10]) == "Function(x11 + 2*x12)"
    of_parameters = parametric()
    of_parameters.substitute({0: 1 + 2 * X[3]})
    assert str(functions_of(of_parameters)[0]) == "Function(2*x3 + 1)"
    assert functions_of(model()) == {}


coefficients = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda value: abs(value) > 1e-9)
monomials = st.lists(st.integers(0, 5), max_size=3).map(lambda ids: tuple(sorted(ids)))
polynomials = st.dictionaries(monomials, coefficients, min_size=1, max_size=6)


def built(objective: list[Any], constraints: list[Any]) -> Instance:
    variables = [DecisionVariable.continuous(i, lower=-1, upper=1) for i in range(6)]

    def function(terms: list[Any]) -> Function:
        total = Function(0.0)
        for ids, coefficient in terms:
            term = Function(coefficient)
            for i in ids:
                term = term * variables[i]
            total = total + term
        return total

    return Instance.from_components(
        decision_variables=variables,
        objective=function(objective),
        constraints={key: function(terms) <= 0 for key, terms in constraints},
        sense=Sense.Minimize,
    )


@pytest.mark.server
@settings(max_examples=60, deadline=None)
@given(polynomials, st.dictionaries(st.integers(0, 99), polynomials, max_size=4), st.randoms())
def test_the_order_of_terms_and_constraints_does_not_count(objective, constraints, rng):
    def shuffled(pairs):
        pairs = list(pairs)
        rng.shuffle(pairs)
        return pairs

    def build():
        parts = [(key, shuffled(terms.items())) for key, terms in constraints.items()]
        return built(shuffled(objective.items()), shuffled(parts))

    first = build()
    assert instance_digest(first) == instance_digest(build())
    assert instance_digest(first) == instance_digest(Instance.from_v1_bytes(first.to_v1_bytes()))


@settings(max_examples=60, deadline=None)
@given(polynomials, polynomials)
def test_other_objectives_have_other_digests(one, other):
    same = one == other
    first, second = built(list(one.items()), []), built(list(other.items()), [])
    assert (instance_digest(first) == instance_digest(second)) is same


@pytest.mark.server
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_two_loads_of_a_file_agree(folder):
    for path in expand_sources([folder]):
        first, second = load_instance(path).instance, load_instance(path).instance
        assert instance_digest(first) == instance_digest(second), path


def test_three_thousand_variables_take_well_under_a_second(open_instances):
    instance = load_instance(open_instances / "scpa1.mps.gz").instance
    start = time.process_time()
    instance_digest(instance)
    assert time.process_time() - start < 0.6


KEY = """
import sys
from ommx_highs_adapter import OMMXHighsAdapter
from prefect.cache_policies import INPUTS
from tests.support.instance_files import FOLDERS
from ommx_prefect.instances import load_instance
import ommx_prefect.solvers
inputs = {
    "adapter": OMMXHighsAdapter, "instance": load_instance(sys.argv[1]).instance,
    "time_limit_seconds": 1.0, "mip_gap": None, "options": {"presolve": "off"},
}
print(INPUTS.compute_key(None, inputs, {}))
"""


@pytest.mark.server
def test_prefects_inputs_policy_gives_one_key_in_two_processes(open_instances):
    def key(name: str) -> str:
        command = [sys.executable, "-c", KEY, str(open_instances / name)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert key("flugpl.mps") == key("flugpl.mps") != key("afiro.mps")


def test_indicator_constraints_lose_no_label_when_removed():
    constraint = (Y <= 1).with_indicator(X[0])
    assert isinstance(constraint, IndicatorConstraint)

    def removed(name: str) -> Instance:
        instance = model(indicator_constraints={1: (Y <= 1).with_indicator(X[0]).set_name(name)})
        instance.relax_indicator_constraint(1, "slow")
        return instance

    assert instance_digest(removed("a")) == instance_digest(removed("a"))
    assert instance_digest(removed("a")) != instance_digest(removed("b"))


def test_what_is_no_instance_has_no_digest():
    with pytest.raises(TypeError, match=r"^str is no ommx.Instance: load_instance\(path\)"):
        instance_digest("afiro.mps")
