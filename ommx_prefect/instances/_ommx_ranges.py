"""Join the two constraints into which OMMX's loader splits an MPS row with two bounds.

Its loader (3.0.0b7) names the second constraint of row `R` `R_`, and writes it with the other sign,
but without the quadratic terms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ommx_prefect.instances._terms import Floats, Ints, Terms


def ranges_joined(rows: dict[str, Any]) -> dict[str, Any]:
    """Return the rows with each pair as one; a `R_` that does not mirror `R` stays a row.

    A row of which only one of the two has quadratic terms is one without: so it differs from the
    file in these terms alone.
    """
    pairs = _pairs(rows)
    second = np.array([later for _, later in pairs], np.int64)
    first = np.array([row for row, _ in pairs], np.int64)
    lower = rows["row_lower"].copy()
    lower[first] = -rows["row_upper"][second]
    kept = np.ones(len(lower), bool)
    kept[second] = False
    products = rows["row_products"]
    halved = [row for row, later in pairs if not _are_mirrored(products, row, later)]
    return {
        "rows": [name for name, keep in zip(rows["rows"], kept, strict=True) if keep],
        "row_lower": lower[kept],
        "row_upper": rows["row_upper"][kept],
        "entries": _only(rows["entries"], kept),
        "row_products": _only(_without(products, halved), kept),
    }


def _pairs(rows: dict[str, Any]) -> list[tuple[int, int]]:
    place = {name: row for row, name in enumerate(rows["rows"])}
    named = [
        (place[name[:-1]], row)
        for row, name in enumerate(rows["rows"])
        if name.endswith("_") and place.get(name[:-1], row) < row
    ]
    return [pair for pair in named if _is_pair(rows, *pair)]


def _is_pair(rows: dict[str, Any], first: int, second: int) -> bool:
    one_sided = bool(np.isneginf(rows["row_lower"][[first, second]]).all())
    products = rows["row_products"]
    is_linear = not len(_of_row(products, second)[0])
    return (
        one_sided
        and _are_mirrored(rows["entries"], first, second)
        and (is_linear or _are_mirrored(products, first, second))
    )


def _are_mirrored(terms: Terms, first: int, second: int) -> bool:
    return _are_opposite(_of_row(terms, first), _of_row(terms, second))


def _of_row(terms: Terms, row: int) -> tuple[Ints, Floats]:
    start, end = np.searchsorted(terms.places[:, 0], [row, row + 1])
    return terms.places[start:end, 1:], terms.values[start:end]


def _are_opposite(one: tuple[Ints, Floats], other: tuple[Ints, Floats]) -> bool:
    return np.array_equal(one[0], other[0]) and np.array_equal(one[1], -other[1])


def _without(terms: Terms, rows: list[int]) -> Terms:
    chosen = ~np.isin(terms.places[:, 0], rows)
    return Terms(terms.places[chosen], terms.values[chosen])


def _only(terms: Terms, kept: npt.NDArray[np.bool_]) -> Terms:
    chosen = kept[terms.places[:, 0]]
    places = terms.places[chosen]
    places[:, 0] = (np.cumsum(kept) - 1)[places[:, 0]]
    return Terms(places, terms.values[chosen])
