"""Values go into a committed experiment by their codec and come back out of it."""

import copy
import datetime as dt
import enum
import json
import os
import subprocess
import sys
import uuid
from decimal import Decimal

import hypothesis.strategies as st
import numpy as np
import ommx
import pandas as pd
import plotly.graph_objects as go
import pydantic
import pytest
from hypothesis import given, settings
from matplotlib.figure import Figure
from ommx.experiment import Experiment
from prefect.states import Failed

from ommx_prefect import codecs
from ommx_prefect.codecs import (
    BytesCodec,
    JsonCodec,
    MatplotlibCodec,
    PlotlyCodec,
    PrefectStateCodec,
    SeriesCodec,
    StateCodec,
    log_value,
    registry,
)
from tests.support.codec_values import MOMENT, SECRET, Leaky, Point, committed, json_of, reason_of
from tests.support.models import knapsack


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Model(pydantic.BaseModel):
    name: str = "m"
    at: dt.date = dt.date(2024, 1, 2)
    numbers: list[int] = [1, 2]


A_UUID = uuid.UUID(int=7)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (3, 3),
        (2**80, 2**80),
        ("é\ud800", "é\ud800"),
        (True, True),
        ([], []),
        ({"a": [1, (2, None)]}, {"a": [1, [2, None]]}),
        ({2: "a", None: "b", True: "c", 0.5: "d"}, None),
        (float("inf"), float("inf")),
        (MOMENT, "2024-01-02T03:04:00+00:00"),
        (dt.date(2024, 1, 2), "2024-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (dt.timedelta(minutes=1), 60.0),
        (A_UUID, str(A_UUID)),
        (Decimal("1.10"), "1.10"),
        (Colour.RED, "red"),
        ({Level.HIGH: Level.HIGH}, {"3": 3}),
        ({3, 1, 2}, [1, 2, 3]),
        pytest.param(frozenset({"b", 1}), ["b", 1], id="frozenset"),  # its order is of the process
        (np.int64(4), 4),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        ({np.int64(1): np.int8(2)}, {"1": 2}),
        (np.timedelta64(1500, "ms"), 1.5),
        (np.datetime64("2024-01-02"), "2024-01-02"),
        (pd.Timestamp(MOMENT), "2024-01-02T03:04:00+00:00"),
        (ommx.Sense.Maximize, "Maximize"),
        ([ommx.Optimality.Optimal], ["Optimal"]),
        (Point(1, Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
        (Model(), {"name": "m", "at": "2024-01-02", "numbers": [1, 2]}),
        ([Failed(message="no")], [{"type": "FAILED", "name": "Failed", "message": "no"}]),
    ],
    ids=repr,
)
def test_a_value_is_stored_as_json(value, stored):
    expected = json.loads(json.dumps(value)) if stored is None else stored
    assert json_of(value) == expected


def test_nan_is_read_back_by_plain_ommx():
    assert np.isnan(json_of([float("nan")])[0])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.server
@settings(deadline=None, max_examples=60)
@given(JSON)
def test_any_json_keeps_its_value_and_has_the_bytes_of_json_dumps(value):
    data = JsonCodec.encode(value)
    assert JsonCodec.decode(data) == value
    assert data == json.dumps(value).encode()


@settings(deadline=None, max_examples=10)
@given(JSON.filter(lambda value: value is not None))
def test_any_json_survives_an_experiment(value):
    assert json_of(value) == value


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, {None: 1, "null": 2}, {True: 1, "true": 2}])
def test_keys_that_become_one_are_refused(value):
    assert "both become" in reason_of(value)


@pytest.mark.parametrize("value", [object(), np.complex128(1j), 1j, range(3), Point])
def test_a_value_that_no_codec_takes_is_skipped_by_name(value):
    sealed, logged = committed({"good": 1, "bad": value})
    assert sealed.get_json("v.good") == 1
    (skipped,) = logged.skipped
    assert skipped.name == "v.bad"
    assert skipped.reason == f"no codec takes {skipped.type_name}; register_codec adds one"


def test_none_attaches_nothing_and_skips_nothing():
    _, logged = committed(None)
    assert logged == codecs.LoggedValue((), ())


@pytest.mark.parametrize("value", [b"\x00\xff", bytearray(b"ab"), memoryview(b"abcd")[::2], b""])
def test_bytes_are_stored_as_they_are(value):
    sealed, _ = committed(value)
    assert sealed.get_attachment("v") == bytes(value)
    assert sealed.get_with_codec(BytesCodec, "v") == bytes(value)


def test_a_matplotlib_figure_becomes_a_picture_without_pyplot():
    figure = Figure()
    figure.subplots().plot([1, 2])
    sealed, _ = committed(figure)
    assert sealed.get_with_codec(MatplotlibCodec, "v").startswith(b"\x89PNG")
    assert MatplotlibCodec.encode(figure) == MatplotlibCodec.encode(figure)


def test_a_plotly_figure_comes_back_as_one():
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
    sealed, _ = committed(figure)
    assert sealed.get_with_codec(PlotlyCodec, "v") == figure


def test_ommx_values_keep_their_annotations():
    made = knapsack()
    solution = made.evaluate({0: 1, 1: 0, 2: 0})
    solution.add_user_annotation("by", "hand")
    samples = made.evaluate_samples({0: {0: 1, 1: 0, 2: 0}})
    parametric = ommx.ParametricInstance.from_components(
        decision_variables=[ommx.DecisionVariable.binary(0)],
        parameters=[],
        objective=ommx.Function(0),
        constraints={},
        sense=ommx.Sense.Minimize,
    )
    sealed, logged = committed({"i": made, "s": solution, "ss": samples, "p": parametric})
    assert logged.skipped == ()
    assert sealed.get_instance("v.i").title == "knapsack"
    assert sealed.get_solution("v.s").get_user_annotation("by") == "hand"
    assert sealed.get_sample_set("v.ss").sample_ids() == {0}
    assert sealed.get_parametric_instance("v.p").to_v2_bytes() == parametric.to_v2_bytes()
    listed = {entry.name: entry.media_type for entry in registry.entries}
    for name, kind in (("v.i", "Instance"), ("v.s", "Solution"), ("v.ss", "SampleSet")):
        assert sealed.attachment_media_type(name) == listed[kind]


def test_an_ommx_state_keeps_ids_and_exact_values():
    entries = {7: 0.1, 0: 0.0, 2**40: -1e300}
    sealed, _ = committed(ommx.State(entries))
    assert sealed.get_with_codec(StateCodec, "v").entries == entries
    assert ommx.State.from_v1_bytes(sealed.get_blob("v")).entries == entries


def test_equal_ommx_states_give_the_same_bytes():
    entries = {i: float(i) for i in range(50)}
    backwards = dict(reversed(entries.items()))
    assert StateCodec.encode(ommx.State(entries)) == StateCodec.encode(ommx.State(backwards))


def test_a_prefect_state_is_stored_without_its_data():
    sealed, _ = committed(Failed(message="no", data=SECRET))
    expected = {"type": "FAILED", "name": "Failed", "message": "no"}
    assert sealed.get_with_codec(PrefectStateCodec, "v") == expected
    assert SECRET.encode() not in sealed.get_blob("v")


def test_a_path_to_a_file_is_logged_as_a_file(tmp_path):
    path = tmp_path / "solver.log"
    path.write_text("done")
    sealed, _ = committed(path)
    assert sealed.get_blob("v") == b"done"
    assert sealed.write_attachment("v", tmp_path / "out").read_text() == "done"


def test_a_path_to_no_file_is_skipped(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        assert "is not an existing file" in reason_of(path)


def test_an_error_of_the_registry_propagates():
    experiment = Experiment.with_temp_local_registry()
    run = experiment.run()
    with run:
        pass
    with pytest.raises(RuntimeError):
        log_value(run, "v", 1)


def test_encoding_does_not_change_the_value():
    value = {"m": Leaky(), "l": [{3, 1}], "p": Point(1, [2])}
    before = copy.deepcopy(value)
    committed(value)
    assert value == before
    series = pd.Series([1], name="s")
    series.attrs = {"unit": "m"}
    SeriesCodec.encode(series)
    assert (series.name, series.attrs) == ("s", {"unit": "m"})


PRINT_BYTES = """
import pydantic
from ommx_prefect.codecs import JsonCodec
class M(pydantic.BaseModel):
    tags: set[str] = set("abcdefgh")
print(JsonCodec.encode({"s": set("abcdefgh"), "mixed": {1, "a", (2, "b")}, "m": M()}))
"""


def run_python(code, **environment):
    command = [sys.executable, "-c", code]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


@pytest.mark.server
def test_bytes_do_not_depend_on_the_process():
    assert run_python(PRINT_BYTES, PYTHONHASHSEED="1") == run_python(
        PRINT_BYTES, PYTHONHASHSEED="2"
    )


@pytest.mark.server
def test_importing_the_package_imports_no_library_that_few_need():
    code = """
import sys, ommx.experiment, prefect
before = set(sys.modules)
import ommx_prefect
from ommx_prefect import *
ommx_prefect.codecs.registry.find(object())
libraries = "pandas", "pyarrow", "matplotlib", "plotly", "highspy", "pyscipopt", "openjij", "mip"
print([name for name in libraries if name in sys.modules.keys() - before])
"""
    assert run_python(code).strip() == "[]"
