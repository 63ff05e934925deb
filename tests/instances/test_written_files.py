"""What the writers of HiGHS and SCIP make of a random model is that model again after loading."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ommx_prefect.instances import load_instance
from ommx_prefect.instances._build import build_instance
from ommx_prefect.instances._compare import first_difference
from ommx_prefect.instances._matrix_bytes import matrix_from_bytes, matrix_to_bytes
from ommx_prefect.instances._ommx_reader import read_ommx
from tests.instances.models import models, write_with_highs, write_with_scip

# Which models a writer can write, and in which format: SCIP's LP writer splits a row in two.
WRITTEN = [
    ("highs-mps", write_with_highs, ".mps", {"integers": True, "ranges": True}, "highs+"),
    ("highs-lp", write_with_highs, ".lp", {"integers": True}, "highs+scip"),
    ("highs-qp-mps", write_with_highs, ".mps", {"squares": True}, "highs+"),
    ("highs-qp-lp", write_with_highs, ".lp", {"squares": True}, "highs+scip"),
    ("scip-mps", write_with_scip, ".mps", {"integers": True, "ranges": True}, "highs+"),
    ("scip-lp", write_with_scip, ".lp", {"integers": True}, "highs+scip"),
    ("scip-qcp-mps", write_with_scip, ".mps", {"integers": True, "row_squares": True}, ""),
    ("scip-qcp-lp", write_with_scip, ".lp", {"integers": True, "row_squares": True}, ""),
]


@pytest.mark.server
@pytest.mark.parametrize(
    ("write", "suffix", "kinds", "readers"),
    [case[1:] for case in WRITTEN],
    ids=[case[0] for case in WRITTEN],
)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_written_model_is_read_as_it_was(tmp_path, write, suffix, kinds, readers, data):
    model = data.draw(models(**kinds))
    path = tmp_path / f"model{suffix}"
    write(model, path)
    loaded = load_instance(path)
    assert first_difference(model, read_ommx(loaded.instance)) is None
    assert loaded.readers.startswith(readers)


@pytest.mark.server
@settings(max_examples=60, deadline=None)
@given(models(integers=True, squares=True, ranges=True, row_squares=True))
def test_an_instance_holds_the_arrays_it_was_built_of(model):
    assert first_difference(model, read_ommx(build_instance(model))) is None
    assert first_difference(model, matrix_from_bytes(matrix_to_bytes(model))) is None
