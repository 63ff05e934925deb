"""Small odd files give the optimum that the format's description gives, or are refused in words.

`odd/expected.csv` says of each file: its optimum (or infeasible, unbounded, refused), the readers
that agree, and a part of what is said: of the first warning, or of the refusal. A file with
semi-continuous columns is checked for them, as no adapter of ours takes it. What a refused file
means, where the format says it, is the file of the same name in `odd/meant`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from ommx import InfeasibleDetected, Instance, Kind
from ommx.adapter import UnboundedDetected
from ommx_pyscipopt_adapter import OMMXPySCIPOptAdapter

from ommx_prefect.instances import InstanceFileError, load_instance
from ommx_prefect.instances._compare import first_difference
from ommx_prefect.instances._faults import FAULTS, Fault
from ommx_prefect.instances._matrix import Matrix
from ommx_prefect.instances._ommx_reader import read_ommx
from ommx_prefect.instances._reader_process import read_apart
from ommx_prefect.instances._unreadable import Unreadable

ODD = Path(__file__).parent / "odd"
with (ODD / "expected.csv").open(encoding="utf-8") as file:
    ROWS = {row["file"]: row for row in csv.DictReader(file)}


SOUND = [row for row in ROWS.values() if row["optimum"] != "refused"]
REFUSED = [row for row in ROWS.values() if row["optimum"] == "refused"]


def optimum(instance: Instance) -> str:
    if any(variable.kind == Kind.SemiContinuous for variable in instance.decision_variables):
        return "semi-continuous"
    try:
        return f"{OMMXPySCIPOptAdapter.solve(instance).objective:.6g}"
    except InfeasibleDetected:
        return "infeasible"
    except UnboundedDetected:
        return "unbounded"


def test_the_table_has_every_file():
    assert {path.name for path in ODD.glob("*.[ml]p*")} == ROWS.keys()


@pytest.mark.parametrize("row", SOUND, ids=lambda row: row["file"])
def test_an_odd_file_has_the_optimum_of_its_description(row):
    loaded = load_instance(ODD / row["file"])
    assert optimum(loaded.instance) == row["optimum"]
    assert loaded.readers == row["readers"]
    first = loaded.warnings[0] if loaded.warnings else ""
    assert bool(first) == bool(row["says"])
    assert row["says"] in first


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row["file"])
def test_an_odd_file_that_no_two_readers_take_alike_is_refused(row):
    with pytest.raises(InstanceFileError) as caught:
        load_instance(ODD / row["file"])
    assert row["says"] in caught.value.reason


@pytest.mark.parametrize("name", ["latin-1-column.mps", "utf-8-column.mps"])
def test_names_outside_ascii_are_kept(name):
    assert load_instance(ODD / name).instance.decision_variables[0].name == "xé"


def alone(reader: str, path: Path) -> Matrix | None:
    """What a reader makes of a file, without any of our precautions."""
    if reader != "ommx":
        try:
            return read_apart(reader, path)
        except Unreadable:
            return None
    try:
        return read_ommx(Instance.load_mps(str(path)))
    except (Exception, type(_panic())):
        return None


def _panic() -> BaseException:
    """A panic of OMMX's Rust core, whose class no module exports."""
    try:
        Instance.load_mps(str(ODD / "empty-bound.mps"))
    except BaseException as error:
        return error
    raise AssertionError("OMMX's loader was mended: it takes an empty bound")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.reader}: {fault.fault}")
def test_a_known_fault_is_there_still(fault: Fault):
    """When this fails, upstream has mended it: take it out of the table."""
    path = ODD / fault.example
    model = alone(fault.reader, path)
    refused = ROWS[fault.example]["optimum"] == "refused"
    meant = ODD / "meant" / fault.example if refused else path
    truth = read_ommx(load_instance(meant).instance) if meant.is_file() else None
    assert model is not None or not refused
    assert model is None or truth is None or first_difference(truth, model) is not None


def test_what_a_refused_file_means_is_said_of_known_faults():
    assert {path.name for path in (ODD / "meant").iterdir()} <= {
        fault.example for fault in FAULTS if ROWS[fault.example]["optimum"] == "refused"
    }
