"""Generated instances, whose optimum another method found, load confirmed and solve to it.

`free/expected.csv` names the method. They stand in the repository, where the real ones cannot.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from ommx_pyscipopt_adapter import OMMXPySCIPOptAdapter

from ommx_prefect.instances import expand_sources, load_instance

FREE = Path(__file__).parent / "free"
with (FREE / "expected.csv").open(encoding="utf-8") as file:
    ROWS = list(csv.DictReader(file))


def test_the_table_has_every_file():
    assert expand_sources([FREE]) == sorted(str(FREE / row["file"]) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_a_generated_instance_has_its_known_optimum(row):
    loaded = load_instance(FREE / row["file"])
    assert loaded.warnings == ()
    assert loaded.readers == ("highs+ommx" if ".mps" in row["file"] else "highs+scip")
    size = len(loaded.instance.decision_variables), len(loaded.instance.constraints)
    assert size == (int(row["columns"]), int(row["rows"]))
    objective = OMMXPySCIPOptAdapter.solve(loaded.instance).objective
    assert objective == pytest.approx(float(row["optimum"]), rel=1e-6)
