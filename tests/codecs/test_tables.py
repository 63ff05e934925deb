"""Arrays, frames, series and tables come back with their types, or are refused by name."""

import io
import pickle
import sys

import hypothesis.extra.numpy as hnp
import hypothesis.extra.pandas as hpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given, settings

from ommx_prefect.codecs import (
    ArrowTableCodec,
    DataFrameCodec,
    NumpyCodec,
    SeriesCodec,
    _tables,
)
from tests.support.codec_values import MOMENT, SECRET, committed, reason_of

ARRAYS = [
    np.arange(6, dtype=">i2").reshape(2, 3),
    np.asfortranarray(np.ones((2, 3), dtype=np.float32)),
    np.array(5),
    np.zeros((0, 3)),
    np.array(["a", "bc"]),
    np.array([1j]),
    np.array(["2024-01-02"], dtype="M8[D]"),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_an_array_keeps_dtype_shape_and_order(array):
    sealed, logged = committed(array)
    assert logged.skipped == ()
    assert sealed.attachment_media_type("v") == "application/vnd.numpy"
    again = sealed.get_with_codec(NumpyCodec, "v")
    np.testing.assert_array_equal(again, array)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.flags.f_contiguous == array.flags.f_contiguous


LARGE = [
    *ARRAYS,
    np.arange(24.0).reshape(2, 3, 4).T,
    np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    np.arange(24)[::2],
    np.broadcast_to(np.array(1.0), (5,)),
    np.array([b"x"], dtype="V3"),
    np.array([""]),
]


@pytest.mark.parametrize("array", LARGE, ids=str)
def test_a_large_array_is_written_as_numpy_writes_it(array, monkeypatch):
    monkeypatch.setattr(_tables, "LARGE_ARRAY_BYTES", 0)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    assert NumpyCodec.encode(array) == buffer.getvalue()


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, min_side=0)))
def test_any_array_survives(array):
    again = NumpyCodec.decode(NumpyCodec.encode(array))
    assert (again.dtype, again.shape, again.tobytes()) == (
        array.dtype,
        array.shape,
        array.tobytes(),
    )


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.array([(None,)], dtype=[("a", object)])], ids=["O", "struct"]
)
def test_an_array_of_objects_is_refused_as_it_would_be_pickled(array):
    assert "needs pickle" in reason_of(array)


def test_a_masked_array_is_refused_as_its_mask_would_be_lost():
    assert "mask" in reason_of(np.ma.array([1, 2], mask=[True, False]))


def test_a_stored_pickle_is_never_loaded():
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    for data in (buffer.getvalue(), pickle.dumps([1])):
        with pytest.raises(ValueError):
            NumpyCodec.decode(data)


PAIRS = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["p", None])

FRAMES = {
    "plain": pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    "named index": pd.DataFrame({"a": [1, 2]}, index=pd.Index([4, 5], name="a")),
    "multi index": pd.DataFrame({"a": [1, 2]}, index=PAIRS),
    "multi columns": pd.DataFrame([[1, 2]], columns=PAIRS),
    "int labels": pd.DataFrame([[1, 2]], columns=[0, 1]),
    "range": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(3, 7, 2, name="r")),
    "category, zone": pd.DataFrame({"a": pd.Categorical(["x"]), "b": [pd.Timestamp(MOMENT)]}),
    "nullable": pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
    "empty": pd.DataFrame(),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_frame_keeps_columns_dtypes_and_index(frame):
    sealed, logged = committed(frame)
    assert logged.skipped == ()
    assert sealed.attachment_media_type("v") == "application/vnd.apache.parquet"
    pd.testing.assert_frame_equal(sealed.get_with_codec(DataFrameCodec, "v"), frame)


@pytest.mark.server
@settings(deadline=None, max_examples=25)
@given(
    hpd.data_frames(
        [hpd.column("a", dtype=int), hpd.column("b", dtype=float), hpd.column("c", dtype=bool)],
        index=hpd.range_indexes() | hpd.indexes(dtype=int),
    )
)
def test_any_frame_survives(frame):
    pd.testing.assert_frame_equal(DataFrameCodec.decode(DataFrameCodec.encode(frame)), frame)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "twice: ['a']"),
        (pd.DataFrame([[1, 2]], columns=[0, "a"]), "change the column labels"),
        (pd.DataFrame([[1, 2]], columns=[True, False]), "change the column labels"),
        (pd.DataFrame({"a": [1]}, index=pd.Index([1], name=5)), "names of index levels"),
        (pd.DataFrame({"a": [1j]}), "complex"),
        (pd.DataFrame({"a": [pydantic.SecretStr(SECRET)]}), "codec DataFrameCodec raised"),
    ],
    ids=["repeated", "mixed", "bool", "int name", "complex", "secret"],
)
def test_a_frame_that_parquet_would_change_is_refused(frame, reason):
    assert reason in reason_of(frame)


SERIES = {
    "named": pd.Series([1, 2], name="s"),
    "no name": pd.Series([0.5, None]),
    "int name": pd.Series([1], name=3),
    "tuple name": pd.Series([1], name=("a", 1)),
    "index called value": pd.Series([1, 2], index=pd.Index([7, 8], name="value"), name="value"),
    "multi index": pd.Series(["x", "y"], index=PAIRS),
}


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
def test_a_series_keeps_name_dtype_and_index(series):
    sealed, logged = committed(series)
    assert logged.skipped == ()
    again = sealed.get_with_codec(SeriesCodec, "v")
    pd.testing.assert_series_equal(again, series)
    assert again.name == series.name


@settings(deadline=None, max_examples=25)
@given(hpd.series(dtype=float, index=hpd.indexes(dtype=int)))
def test_any_series_survives(series):
    pd.testing.assert_series_equal(SeriesCodec.decode(SeriesCodec.encode(series)), series)


def test_a_series_whose_name_json_would_change_is_refused():
    assert "rename" in reason_of(pd.Series([1], name=pd.Timestamp(MOMENT)))


def test_tables_without_pyarrow_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for value in (pd.DataFrame({"a": [1]}), pd.Series([1])):
        assert "pip install pyarrow" in reason_of(value)


def test_an_arrow_table_keeps_its_schema():
    table = pa.table({"a": pa.array([1, None], pa.int8()), "b": [["x"], []]})
    sealed, _ = committed(table)
    assert sealed.get_with_codec(ArrowTableCodec, "v").equals(table)
