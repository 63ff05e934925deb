"""QPLIB files have one reader: it is counted against the file's own figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from ommx import Kind

from ommx_prefect.instances import InstanceFileError, load_instance


def reason_of(source) -> str:
    with pytest.raises(InstanceFileError) as caught:
        load_instance(source)
    return caught.value.reason


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


QPLIB = (
    """! a small model of our own
SMALL
QMQ # type
minimize
3 # variables
2 # constraints
3 # quadratic terms of the objective
1 1 2.0 behind the numbers is a comment
2 1 -1.0
3 3 2.0
0.5 # default of its linear terms
1
2 -0.4
1.5 # its constant
1 # quadratic terms of the constraints
2 2 2 4.0
3 # linear terms of the constraints
1 1 1.0
1 2 1.0
2 3 1.0
1.0E+20 # infinity
1.0 # lower sides
0
9.0 # upper sides
0
0.0 # lower bounds
0
5.0 # upper bounds
0
0 # kinds
1
3 1
"""
    + "0.0\n0\n" * 3
    + "0\n0\n"
)


def test_a_qplib_file_is_counted_against_its_own_figures(tmp_path):
    loaded = load_instance(written(tmp_path, "small.qplib", QPLIB.encode()))
    assert (loaded.readers, len(loaded.instance.decision_variables)) == ("ommx", 3)
    repeated = QPLIB.replace("3 3 2.0", "2 1 -1.0")
    assert "the file says 3 quadratic terms of the objective, OMMX's loader read 2" in reason_of(
        written(tmp_path, "repeated.qplib", repeated.encode())
    )
    repeated = QPLIB.replace("1 2 1.0", "1 1 1.0")
    assert "the file says 3 linear terms of the constraints" in reason_of(
        written(tmp_path, "linear.qplib", repeated.encode())
    )


def test_a_qplib_file_with_a_row_without_sides_is_refused_in_words(tmp_path):
    free = QPLIB.replace(
        "1.0 # lower sides\n0\n9.0 # upper sides\n0\n", "-1e20\n1\n1 1.0\n1e20\n0\n"
    )
    assert free != QPLIB
    reason = reason_of(written(tmp_path, "free.qplib", free.encode()))
    assert "the file says 2 constraints, OMMX's loader read 1; it drops rows whose sides" in reason


@pytest.mark.parametrize(
    "line",
    [
        "3 # variables",
        "2 # constraints",
        "3 # quadratic terms of the objective",
        "1 # quadratic terms of the constraints",
        "3 # linear terms of the constraints",
    ],
)
def test_a_qplib_file_that_states_more_than_it_can_hold_is_refused(tmp_path, line):
    """OMMX's loader made room for them, and ended the process."""
    text = QPLIB.replace(line, line.replace(line[0], "1000000000000000", 1))
    reason = reason_of(written(tmp_path, "many.qplib", text.encode()))
    assert "it says that it has 1000000000000000 variables, rows or terms" in reason


def test_a_fixed_binary_variable_of_a_qplib_file_is_fixed_for_every_adapter(tmp_path):
    # Its third variable is the one that is no continuous one.
    fixed = QPLIB.replace("kinds\n1\n3 1", "kinds\n1\n3 2")
    fixed = fixed.replace("lower bounds\n0", "lower bounds\n1\n3 1.0")
    plain, ours = (
        written(tmp_path, f"{name}.qplib", text.encode())
        for name, text in (("plain", QPLIB), ("ours", fixed))
    )
    loaded = load_instance(ours).instance
    third = loaded.decision_variables[2]
    assert (third.kind, third.bound.lower, third.bound.upper) == (Kind.Integer, 1, 1)
    known = load_instance(plain).instance
    assert (loaded.title, str(loaded.description)) == ("SMALL", str(known.description))
    assert str(loaded.objective) == str(known.objective)
    assert str(loaded.constraints) == str(known.constraints)


@pytest.mark.parametrize(
    ("what", "once", "twice"),
    [
        ("linear terms of the objective", "\n1\n2 -0.4", "\n2\n2 -0.4\n2 0.6"),
        ("upper sides", "upper sides\n0", "upper sides\n2\n1 4.0\n1 5.0"),
        ("lower bounds", "lower bounds\n0", "lower bounds\n2\n2 3.0\n2 4.0"),
        ("kinds of variables", "kinds\n1\n3 1", "kinds\n2\n3 1\n3 0"),
    ],
)
def test_an_index_that_stands_twice_in_a_list_of_a_qplib_file_is_an_error(
    tmp_path, what, once, twice
):
    assert QPLIB.count(once) == 1
    path = written(tmp_path, "twice.qplib", QPLIB.replace(once, twice).encode())
    assert reason_of(path) == f"the file says 2 {what}, OMMX's loader read 1"
