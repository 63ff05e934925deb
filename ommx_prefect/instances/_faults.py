"""List the known faults of the readers: because of them no reader is trusted alone.

Each has an example in `tests/instances/odd`, and a test that fails when the reader has been mended.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A deviation of one reader from the format: it reads wrongly, or refuses a valid file.

    `upstream` names the issue there, if one is known.
    """

    reader: str
    version: str
    fault: str
    example: str
    upstream: str = ""


_OMMX, _HIGHS, _SCIP = ("ommx", "3.0.0b7"), ("highs", "1.16.0"), ("scip", "10.0.3")
_QUADRATIC = "Jij-Inc/ommx#596"

FAULTS = (
    Fault(*_OMMX, "squares of QUADOBJ come without the half", "quadobj.mps", _QUADRATIC),
    Fault(
        *_OMMX,
        "of two entries for one square of QCMATRIX the last wins",
        "qcmatrix-split-square.mps",
        _QUADRATIC,
    ),
    Fault(*_OMMX, "one side of a quadratic row with two is linear", "qcmatrix-ranges.mps"),
    Fault(*_OMMX, "QMATRIX is refused", "qmatrix.mps", _QUADRATIC),
    Fault(*_OMMX, "of two entries in COLUMNS the last wins", "repeated-entry.mps"),
    Fault(*_OMMX, "the objective's constant is dropped", "constant.mps"),
    Fault(*_OMMX, "a row named OBJ gives the objective its right side", "row-called-obj.mps"),
    Fault(*_OMMX, "of two RHS sets the last wins", "two-rhs-sets.mps"),
    Fault(*_OMMX, "of two BOUNDS sets the last wins", "two-bounds-sets.mps"),
    Fault(*_OMMX, "it reads on after ENDATA", "after-endata.mps"),
    Fault(*_OMMX, "UP of 0 or less takes the lower bound away", "up-zero.mps"),
    Fault(*_OMMX, "of OMMX_VAR_1 and OMMX_VAR_2b one is dropped", "ommx-var.mps"),
    Fault(*_OMMX, "a file without ENDATA is a smaller model", "no-endata.mps"),
    Fault(*_OMMX, "an empty bound panics", "empty-bound.mps"),
    Fault(*_OMMX, "an integer with a negative upper bound panics", "integer-up-negative.mps"),
    Fault(*_OMMX, "a tab is no blank", "tabs.mps"),
    Fault(*_OMMX, "1.0D0 is no number", "d-exponent.mps"),
    Fault(*_OMMX, "an RHS line needs the name of a set", "rhs-without-set.mps"),
    Fault(*_OMMX, "a BOUNDS line without the name of a set panics", "bounds-without-set.mps"),
    Fault(*_OMMX, "RANGES of the objective are refused", "range-of-objective.mps"),
    Fault(*_OMMX, "a second N row is refused", "two-n-rows.mps"),
    Fault(*_OMMX, "semi-continuous bounds are refused", "semi-continuous.mps"),
    Fault(*_OMMX, "OBJSENSE MAXIMIZE is refused", "objsense-maximize.mps"),
    Fault(*_HIGHS, "FR stays where LO follows for the same column", "fr-then-lo.mps"),
    Fault(*_HIGHS, "LO stays where FR follows for the same column", "lo-then-fr.mps"),
    Fault(
        *_HIGHS,
        "OBJSENSE MAXIMIZE on one line is minimised",
        "objsense-one-line.mps",
        "ERGO-Code/HiGHS#2220",
    ),
    Fault(
        *_HIGHS,
        "of two entries in COLUMNS the first wins",
        "repeated-entry.mps",
        "ERGO-Code/HiGHS#824",
    ),
    Fault(*_HIGHS, "the header LAZYCONS is taken for a row", "lazycons.mps"),
    Fault(*_HIGHS, "quadratic constraints are refused", "qcmatrix.mps", "ERGO-Code/HiGHS#779"),
    *(
        Fault(*reader, fault, example)
        for reader in (_HIGHS, _OMMX)
        for fault, example in (
            ("RHS sets of other rows are all taken", "rhs-sets-of-other-rows.mps"),
            ("BOUNDS sets of other columns are all taken", "bounds-sets-of-other-columns.mps"),
            ("RANGES before RHS count from 0", "ranges-before-rhs.mps"),
            ("lines of RHS without their header are a column", "rhs-without-header.mps"),
            ("of a section that stands twice the last wins", "section-twice.mps"),
        )
    ),
    *(
        Fault(*reader, fault, example)
        for reader in (_HIGHS, _SCIP)
        for fault, example in (
            ("1,5 is taken for 1", "decimal-comma.mps"),
            ("a name is taken for the number 0", "name-for-a-number.mps"),
            ("a word too many is passed over", "word-too-many.mps"),
        )
    ),
    *(
        Fault(*reader, fault, example)
        for reader in (_HIGHS, _OMMX, _SCIP)
        for fault, example in (
            ("a second bound in a line is passed over", "two-bounds-in-a-line.mps"),
            ("a second column after FR is passed over", "two-free-in-a-line.mps"),
        )
    ),
    *(
        Fault(*reader, "a third entry in a line is passed over", "three-entries-in-a-line.mps")
        for reader in (_HIGHS, _SCIP)
    ),
    *(
        Fault(*reader, "1.#INF is taken for 1", "infinity-of-windows.mps")
        for reader in (_HIGHS, _SCIP)
    ),
    *(
        Fault(*reader, "of two OBJSENSE sections the last wins", "objsense-twice.mps")
        for reader in (_HIGHS, _OMMX)
    ),
    *(
        Fault(*reader, "a column of QUADOBJ alone is a new one", "quadobj-unknown-column.mps")
        for reader in (_HIGHS, _OMMX)
    ),
    *(
        Fault(
            *reader, "a row with the objective's name stays empty", "row-named-as-the-objective.mps"
        )
        for reader in (_OMMX, _SCIP)
    ),
    *(Fault(*reader, "(x is a name in 2 (x + y)", "parentheses.lp") for reader in (_HIGHS, _SCIP)),
    Fault(*_SCIP, "a second entry in a line of QCMATRIX is lost", "qcmatrix-word-too-many.mps"),
    Fault(*_SCIP, "the exponent of 1.5D2 is passed over", "d-exponent-not-zero.mps"),
    Fault(*_HIGHS, "in an LP file a bound stays where BINARY follows", "bound-then-binary.lp"),
    Fault(
        *_HIGHS, "a second N row gives its right side to the objective", "rhs-of-second-n-row.mps"
    ),
    Fault(*_HIGHS, "beside names with blanks LI is no integer", "integer-bound-with-blanks.mps"),
    Fault(*_SCIP, "in an LP file a bound stays where FREE follows", "bound-then-free.lp"),
    Fault(*_SCIP, "MAXIMISE in an LP file is no objective", "maximise.lp"),
)
