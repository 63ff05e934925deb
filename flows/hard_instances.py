"""Generate seeded instances of three families that keep exact solvers busy.

Every number comes from the doubles of NumPy's PCG64, whose stream is fixed for a seed; integers
and sparsity are derived from those doubles, so one seed is one instance on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from ommx import Constraint, DecisionVariable, Equality, Instance, Linear, Sense

Floats = NDArray[np.float64]

DEFAULT_SUITE = (
    # family, sizes and parameters, seed; chosen so that HiGHS and SCIP take 0.2 to 5 s on each
    ("mkp", {"items": 100, "constraints": 5, "tightness": 0.5}, 1),
    ("mkp", {"items": 100, "constraints": 10, "tightness": 0.25}, 2),
    ("cflp", {"customers": 50, "facilities": 30, "ratio": 3.0}, 1),
    ("cflp", {"customers": 100, "facilities": 30, "ratio": 1.5}, 2),
    ("scp", {"rows": 200, "columns": 1000, "density": 0.05}, 1),
    ("scp", {"rows": 300, "columns": 3000, "density": 0.02}, 1),
)


def multidimensional_knapsack(
    items: int, constraints: int, tightness: float, seed: int
) -> Instance:
    """Draw a knapsack problem with several capacities and correlated profits.

    Weights are integers, uniform in [1, 1000]; a capacity is `tightness` times the sum of its
    weights; a profit is the item's mean weight plus 500 u, u uniform in [0, 1). Profits and
    capacities are rounded down to integers. Published sizes: 100, 250 or 500 items; 5, 10 or 30
    constraints; tightness 0.25, 0.5 or 0.75.

    Source:
        P. C. Chu, J. E. Beasley: A genetic algorithm for the multidimensional knapsack problem.
        Journal of Heuristics 4 (1998), 63-86.
    """
    rng = _generator(seed)
    weights = _integers(rng, 1, 1000, (constraints, items))
    profits = np.floor(weights.mean(axis=0) + 500 * rng.random(items))
    capacities = np.floor(tightness * weights.sum(axis=1))
    return _instance(
        f"mkp-{constraints}x{items}-t{tightness:g}-s{seed}",
        "Chu and Beasley (1998)",
        Sense.Maximize,
        _binaries(0, "take", (items,)),
        _linear(np.arange(items), profits),
        [
            _at_most(np.arange(items), row, capacity)
            for row, capacity in zip(weights, capacities, strict=True)
        ],
    )


def capacitated_facility_location(
    customers: int, facilities: int, ratio: float, seed: int
) -> Instance:
    """Draw a facility location problem whose customers may be served by several facilities.

    Customers and facilities are points uniform in the unit square. Demands are integers in
    [5, 35], capacities integers in [10, 160]. Opening a facility costs U[0, 90] plus U[100, 110]
    times the root of its capacity, both integers; serving all demand of a customer costs
    10 * distance * demand. Afterwards the capacities are scaled to `ratio` times the total demand.
    The model is the strong one: besides capacities it says that only open facilities serve.

    Source:
        G. Cornuejols, R. Sridharan, J. M. Thizy: A comparison of heuristics and relaxations for
        the capacitated plant location problem. European Journal of Operational Research 50
        (1991), 280-297.
    """
    rng = _generator(seed)
    customer_xy, facility_xy = rng.random((customers, 2)), rng.random((facilities, 2))
    demands = _integers(rng, 5, 35, (customers,))
    capacities = _integers(rng, 10, 160, (facilities,))
    opening = _integers(rng, 0, 90, (facilities,))
    opening += _integers(rng, 100, 110, (facilities,)) * np.sqrt(capacities)
    capacities *= ratio * demands.sum() / capacities.sum()
    steps = customer_xy[:, None, :] - facility_xy[None, :, :]
    serving = 10 * np.sqrt((steps**2).sum(axis=2)) * demands[:, None]
    shares = facilities + np.arange(customers * facilities).reshape(customers, facilities)
    sites = np.arange(facilities)
    return _instance(
        f"cflp-{customers}x{facilities}-r{ratio:g}-s{seed}",
        "Cornuejols, Sridharan and Thizy (1991)",
        Sense.Minimize,
        _binaries(0, "open", (facilities,)) + _shares(shares),
        _linear(np.append(sites, shares), np.append(opening, serving)),
        _location_constraints(sites, shares, demands, capacities),
    )


def set_covering(rows: int, columns: int, density: float, seed: int) -> Instance:
    """Draw a set covering problem of a given density.

    Column costs are integers, uniform in [1, 100]. Every row is covered by at least two columns
    and every column covers at least one row: the cells with the smallest draws of a row or column
    are taken whatever the density. Published sizes: 200 x 1000 and 200 x 2000 of density 0.02
    or 0.05, 300 x 3000 and 400 x 4000.

    Source:
        E. Balas, A. Ho: Set covering algorithms using cutting planes, heuristics, and subgradient
        optimization: a computational study. Mathematical Programming Study 12 (1980), 37-60.
        J. E. Beasley: An algorithm for set covering problem. European Journal of Operational
        Research 31 (1987), 85-93.
    """
    rng = _generator(seed)
    draws = rng.random((rows, columns))
    costs = _integers(rng, 1, 100, (columns,))
    second_of_row = np.partition(draws, 1, axis=1)[:, 1:2]
    covered = (draws < density) | (draws <= second_of_row) | (draws <= draws.min(axis=0))
    return _instance(
        f"scp-{rows}x{columns}-d{density:g}-s{seed}",
        "Balas and Ho (1980), Beasley (1987)",
        Sense.Minimize,
        _binaries(0, "choose", (columns,)),
        _linear(np.arange(columns), costs),
        [_at_most(ids, -np.ones(len(ids)), -1.0) for ids in map(np.flatnonzero, covered)],
    )


FAMILIES = {
    "mkp": multidimensional_knapsack,
    "cflp": capacitated_facility_location,
    "scp": set_covering,
}


def default_suite() -> list[Instance]:
    """Generate the handful of instances of `DEFAULT_SUITE`."""
    return [FAMILIES[family](**sizes, seed=seed) for family, sizes, seed in DEFAULT_SUITE]


def _location_constraints(
    sites: NDArray[np.int64], shares: NDArray[np.int64], demands: Floats, capacities: Floats
) -> list[Constraint]:
    served = [_exactly(ids, np.ones(len(ids)), 1.0) for ids in shares]
    within = [
        _at_most(np.append(ids, site), np.append(demands, -capacity), 0.0)
        for site, ids, capacity in zip(sites, shares.T, capacities, strict=True)
    ]
    only_open = [
        _at_most(np.array([share, site]), np.array([1.0, -1.0]), 0.0)
        for site, ids in zip(sites, shares.T, strict=True)
        for share in ids
    ]
    return [*served, *within, _at_most(sites, -capacities, -demands.sum()), *only_open]


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _integers(rng: np.random.Generator, low: int, high: int, shape: tuple[int, ...]) -> Floats:
    """Draw integers uniform in [low, high], both included, as floats."""
    return np.floor(rng.random(shape) * (high - low + 1)) + low


def _linear(ids: NDArray[np.int64], coefficients: Floats, constant: float = 0.0) -> Linear:
    terms = dict(zip(ids.tolist(), coefficients.tolist(), strict=True))
    return Linear(terms=terms, constant=float(constant))


def _at_most(ids: NDArray[np.int64], coefficients: Floats, limit: float) -> Constraint:
    return Constraint(
        function=_linear(ids, coefficients, -limit), equality=Equality.LessThanOrEqualToZero
    )


def _exactly(ids: NDArray[np.int64], coefficients: Floats, value: float) -> Constraint:
    return Constraint(function=_linear(ids, coefficients, -value), equality=Equality.EqualToZero)


def _binaries(first: int, name: str, shape: tuple[int, ...]) -> list[DecisionVariable]:
    return [
        DecisionVariable.binary(first + position, name=name, subscripts=list(index))
        for position, index in enumerate(np.ndindex(*shape))
    ]


def _shares(ids: NDArray[np.int64]) -> list[DecisionVariable]:
    return [
        DecisionVariable.continuous(int(ids[index]), 0.0, 1.0, name="share", subscripts=list(index))
        for index in np.ndindex(*ids.shape)
    ]


def _instance(
    title: str,
    source: str,
    sense: Sense,
    variables: list[DecisionVariable],
    objective: Linear,
    constraints: list[Constraint],
) -> Instance:
    instance = Instance.from_components(
        sense=sense,
        objective=objective,
        decision_variables=variables,
        constraints=dict(enumerate(constraints)),
    )
    instance.title, instance.dataset = title, source
    return instance
