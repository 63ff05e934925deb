"""What does an MPS file say that OMMX's loader does not? Its end, its constant, some of its bounds.

The loader takes a file that stops in the middle for a smaller model, forgets an objective constant
(the RHS entry of the objective row, with the sign turned: MPIPSX and CPLEX conventions), and reads
an upper bound u <= 0 without a lower bound as (-inf, u], where readers differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

# Bound types that give a lower bound, or say that there is none.
_LOWER_BOUNDS = frozenset({"LO", "MI", "FR", "FX", "BV", "LI", "SC"})


def missing_end(text: str) -> bool:
    """Tell whether the ENDATA line is missing."""
    return not any(line.startswith("ENDATA") for line in reversed(text.splitlines()))


def mps_warnings(text: str) -> tuple[str, ...]:
    """Say what the loaded instance means otherwise than the file."""
    sections = _sections(text)
    return (*_objective_constant(sections), *_upper_bounds_alone(sections["BOUNDS"]))


def _sections(text: str) -> dict[str, list[list[str]]]:
    sections: dict[str, list[list[str]]] = defaultdict(list)
    section = ""
    for line in text.splitlines():
        fields = line.split()
        if not fields or line.startswith("*"):
            continue
        if line[0].isspace():
            sections[section].append(fields)
        else:
            section = fields[0].upper()
    return sections


def _objective_constant(sections: dict[str, list[list[str]]]) -> Iterator[str]:
    objective = next((row[1] for row in sections["ROWS"] if row[:1] == ["N"] and row[1:]), None)
    for fields in sections["RHS"]:
        pairs = fields[len(fields) % 2 :]
        for row, value in zip(pairs[::2], pairs[1::2], strict=True):
            constant = _float(value)
            if row == objective and constant:
                yield (
                    f"the objective constant {-constant:g} (RHS {constant:g} of row {row}) is "
                    "dropped by OMMX's loader: objectives are lower by it than the file's"
                )


def _upper_bounds_alone(bounds: list[list[str]]) -> Iterator[str]:
    bounded = {_column(fields) for fields in bounds if fields[0].upper() in _LOWER_BOUNDS}
    low = [
        _column(fields)
        for fields in bounds
        if fields[0].upper() in {"UP", "UI"} and (_float(fields[-1]) or 0) <= 0
    ]
    free = [column for column in low if column not in bounded]
    if free:
        names = ", ".join(free[:3]) + (", ..." if len(free) > 3 else "")
        yield (
            f"{len(free)} upper bounds of 0 or less without a lower bound ({names}) are read by "
            "OMMX's loader as (-inf, u]; other readers keep the lower bound 0"
        )


def _column(fields: list[str]) -> str:
    # type, set, column, value; the set may be left out, and FR, MI, PL and BV have no value.
    valued = len(fields) > 2 and _float(fields[-1]) is not None
    return fields[-2] if valued else fields[-1]


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
