"""The generated instances are the same everywhere and follow their papers' rules."""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from ommx import Instance, Kind, Linear, Sense

sys.path.append(str(Path(__file__).resolve().parents[2] / "flows"))
import hard_instances

DIGESTS = {
    ("mkp", 5, 3, 0.5): "09293cf48099456f",
    ("cflp", 4, 3, 2.0): "1eec43aceb11c981",
    ("scp", 10, 20, 0.05): "c626bf336a8fa3ad",
}


def coefficient_digest(instance: Instance) -> str:
    """Hash every number of a linear instance, terms in the order of variable ids."""
    digest = hashlib.sha256()
    functions = [c.function for _, c in sorted(instance.constraints.items())]
    for function in [instance.objective, *functions]:
        digest.update(struct.pack("<d", function.constant_term))
        for term in sorted(function.linear_terms.items()):
            digest.update(struct.pack("<qd", *term))
    for variable in instance.decision_variables:
        digest.update(struct.pack("<dd", variable.bound.lower, variable.bound.upper))
    return digest.hexdigest()[:16]


def rows_of(instance: Instance) -> list[Linear]:
    return [
        constraint.function.as_linear() for _, constraint in sorted(instance.constraints.items())
    ]


@pytest.mark.parametrize(("spec", "expected"), DIGESTS.items())
def test_a_seed_gives_the_same_coefficients_on_every_machine(spec, expected):
    family, *sizes = spec
    assert coefficient_digest(hard_instances.FAMILIES[family](*sizes, seed=7)) == expected


@pytest.mark.parametrize("spec", DIGESTS)
def test_another_seed_gives_another_instance(spec):
    family, *sizes = spec
    first, second = (hard_instances.FAMILIES[family](*sizes, seed=seed) for seed in (1, 2))
    assert coefficient_digest(first) != coefficient_digest(second)
    assert first.title != second.title


def test_default_suite_has_a_title_of_its_own_for_every_instance():
    suite = hard_instances.default_suite()
    assert len({instance.title for instance in suite}) == len(hard_instances.DEFAULT_SUITE)
    assert all(instance.dataset for instance in suite)


def test_knapsack_follows_chu_and_beasley():
    instance = hard_instances.multidimensional_knapsack(50, 5, 0.25, seed=3)
    weights = np.array([[row.linear_terms[j] for j in range(50)] for row in rows_of(instance)])
    profits = np.array([instance.objective.linear_terms[j] for j in range(50)])
    capacities = np.array([-row.constant_term for row in rows_of(instance)])
    assert instance.sense == Sense.Maximize
    assert ((weights >= 1) & (weights <= 1000) & (weights % 1 == 0)).all()
    assert (capacities == np.floor(0.25 * weights.sum(axis=1))).all()
    extra = profits - weights.mean(axis=0)
    assert ((extra > -1) & (extra < 500)).all()


def test_facility_location_follows_cornuejols_sridharan_and_thizy():
    customers, facilities, ratio = 12, 5, 3.0
    instance = hard_instances.capacitated_facility_location(customers, facilities, ratio, seed=3)
    rows = rows_of(instance)
    total = rows[customers + facilities]
    assert -sum(total.linear_terms.values()) == pytest.approx(ratio * total.constant_term)
    demands = list(rows[customers].linear_terms.items())
    assert all(5 <= demand <= 35 for site, demand in demands if site >= facilities)
    kinds = [variable.kind for variable in instance.decision_variables]
    assert kinds == [Kind.Binary] * facilities + [Kind.Continuous] * (customers * facilities)
    opening = [instance.objective.linear_terms[site] for site in range(facilities)]
    assert all(100 * 10**0.5 <= cost <= 90 + 110 * 160**0.5 for cost in opening)
    farthest = 10 * 2**0.5 * 35
    assert all(
        0 <= cost <= farthest
        for variable, cost in instance.objective.linear_terms.items()
        if variable >= facilities
    )


@pytest.mark.parametrize("density", [0.001, 0.05])
def test_covering_rows_have_two_columns_and_no_column_is_idle(density):
    instance = hard_instances.set_covering(40, 80, density, seed=3)
    rows = rows_of(instance)
    assert all(len(row.linear_terms) >= 2 for row in rows)
    assert set().union(*(row.linear_terms for row in rows)) == set(range(80))
    costs = instance.objective.linear_terms.values()
    assert all(1 <= cost <= 100 and cost % 1 == 0 for cost in costs)


def test_covering_density_is_the_asked_one():
    instance = hard_instances.set_covering(200, 1000, 0.05, seed=3)
    cells = sum(len(row.linear_terms) for row in rows_of(instance))
    assert cells / (200 * 1000) == pytest.approx(0.05, rel=0.05)
