"""Values go into a committed experiment by their codec and come back out of it."""

import copy
import dataclasses
import datetime as dt
import enum
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import uuid
from decimal import Decimal

import hypothesis.extra.numpy as hnp
import hypothesis.extra.pandas as hpd
import hypothesis.strategies as st
import numpy as np
import ommx
import pandas as pd
import plotly.graph_objects as go
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given, settings
from matplotlib.figure import Figure
from ommx.experiment import Experiment
from prefect.blocks.core import Block
from prefect.blocks.system import Secret as PrefectSecret
from prefect.states import Failed

from ommx_prefect import codecs
from ommx_prefect.codecs import (
    REDACTED,
    ArrowTableCodec,
    BytesCodec,
    DataFrameCodec,
    JsonCodec,
    MatplotlibCodec,
    NumpyCodec,
    PlotlyCodec,
    PrefectStateCodec,
    SeriesCodec,
    StateCodec,
    log_value,
    register_codec,
    registry,
)

SECRET = "hunter2-not-to-be-seen"


def committed(value, **options):
    """Log a value as `v`, commit, and give the Run read back and what was reported."""
    experiment = Experiment.with_temp_local_registry()
    with experiment.run() as run:
        logged = log_value(run, "v", value, **options)
    experiment.commit()
    sealed = experiment.runs[0]
    assert sorted(sealed.attachment_names) == sorted(logged.names)
    return sealed, logged


def json_of(value, **options):
    sealed, logged = committed(value, **options)
    assert logged.names == ("v",)
    return sealed.get_json("v")


def reason_of(value):
    _, logged = committed(value)
    assert logged.names == ()
    (skipped,) = logged.skipped
    return skipped.reason


def stored_bytes(value, **options):
    sealed, _ = committed(value, **options)
    return b"".join(sealed.get_blob(name) for name in sealed.attachment_names)


def instance():
    x = [ommx.DecisionVariable.binary(i) for i in range(3)]
    made = ommx.Instance.from_components(
        decision_variables=x,
        objective=x[0] + 2 * x[1],
        constraints={0: sum(x) == 1},
        sense=ommx.Sense.Maximize,
    )
    made.title = "knapsack"
    return made


@pytest.fixture
def own_registry(monkeypatch):
    """Forget at the end what a test registers."""
    monkeypatch.setattr(registry, "_entries", registry.entries)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


class Model(pydantic.BaseModel):
    name: str = "m"
    at: dt.date = dt.date(2024, 1, 2)
    numbers: list[int] = [1, 2]


class Root(pydantic.RootModel[list[pydantic.SecretStr]]):
    pass


class Leaky(pydantic.BaseModel):
    """A model whose serializers reveal what it should hide."""

    password: pydantic.SecretStr = pydantic.SecretStr(SECRET)
    hidden: pydantic.SecretStr = pydantic.Field(pydantic.SecretStr(SECRET), exclude=True)

    @pydantic.field_serializer("password")
    def reveal(self, value):
        return value.get_secret_value()

    @pydantic.computed_field
    @property
    def url(self) -> str:
        return f"postgres://u:{self.hidden.get_secret_value()}@h"


class HiddenOnly(pydantic.BaseModel):
    hidden: pydantic.SecretStr = pydantic.Field(pydantic.SecretStr(SECRET), exclude=True)

    @pydantic.computed_field
    @property
    def url(self) -> str:
        return f"postgres://u:{self.hidden.get_secret_value()}@h"


class Database(Block):
    host: str = SECRET
    password: pydantic.SecretStr = pydantic.SecretStr(SECRET)


class HoldsBlock(pydantic.BaseModel):
    database: Database = pydantic.Field(default_factory=Database)


MOMENT = dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.timezone.utc)
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
        (frozenset({"b", 1}), ["b", 1]),
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
    assert skipped.reason == f"no codec takes {skipped.type_name}"


def test_none_attaches_nothing_and_skips_nothing():
    _, logged = committed(None)
    assert logged == codecs.LoggedValue((), ())


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
    made = instance()
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


SECRETS = {
    "SecretStr": pydantic.SecretStr(SECRET),
    "SecretBytes": pydantic.SecretBytes(SECRET.encode()),
    "Secret": pydantic.Secret[str](SECRET),
    "prefect Secret": PrefectSecret(value=SECRET),
    "Block": Database(),
    "revealing model": Leaky(),
    "excluded field": HiddenOnly(),
    "model with a Block": HoldsBlock(),
    "root model": Root([pydantic.SecretStr(SECRET)]),
    "dataclass": Point(1, pydantic.SecretStr(SECRET)),
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize(
    "wrap",
    [lambda s: s, lambda s: {"a": [s]}, lambda s: {"a": s, "b": np.ones(1)}],
    ids=["alone", "in JSON", "split"],
)
def test_a_secret_is_never_stored(secret, wrap):
    assert SECRET.encode() not in stored_bytes(wrap(secret))


def test_a_secret_leaves_its_placeholder():
    assert json_of(SECRETS["Block"]) == REDACTED
    assert json_of({"a": SECRETS["SecretStr"]}) == {"a": REDACTED}
    assert json_of(Leaky()) == {"password": REDACTED}


@pytest.mark.usefixtures("own_registry")
def test_a_codec_for_everything_does_not_get_secrets():
    register_codec(Shout, accepts=lambda value: True)
    assert json_of(SECRETS["SecretStr"]) == REDACTED


def test_forbidden_texts_are_cut_out_of_json_and_names():
    secret = 'p"é'
    value = {f"k{secret}": [f"url {secret}", 1], "n": 2}
    assert json_of(value, forbidden=[secret]) == {f"k{REDACTED}": [f"url {REDACTED}", 1], "n": 2}
    _, logged = committed({secret: np.ones(1)}, forbidden=[secret, ""])
    assert logged.names == (f"v.{REDACTED}",)


def test_keys_that_redaction_makes_equal_stay_apart():
    value = {"abcd": 1, "efgh": 2}
    found = json_of(value, forbidden=["abcd", "efgh"])
    assert found == {REDACTED: 1, f"{REDACTED}~2": 2}


def test_bytes_that_show_a_forbidden_text_are_skipped():
    _, logged = committed({"a": SECRET.encode(), "b": b"fine"}, forbidden=[SECRET])
    assert logged.names == ("v.b",)
    assert logged.skipped[0].reason == "its bytes show a secret"


class Shout:
    media_type = "application/vnd.test.shout"

    @staticmethod
    def encode(value):
        return str(value).upper().encode()

    @staticmethod
    def decode(data):
        return data.decode()


class Broken(Shout):
    @staticmethod
    def encode(value):
        raise ValueError("no ink left")


class NoBytes(Shout):
    @staticmethod
    def encode(value):
        return "text"


@pytest.mark.usefixtures("own_registry")
def test_the_codec_registered_last_wins():
    assert registry.find("a").codec is JsonCodec
    assert register_codec(Broken, accepts=str) is Broken
    register_codec(accepts=(str, int))(Shout)
    assert registry.find("a").codec is Shout
    sealed, _ = committed({"a": object(), "b": "loud"})
    assert sealed.get_with_codec(Shout, "v.b") == "LOUD"


@pytest.mark.usefixtures("own_registry")
def test_a_user_codec_comes_before_ommx():
    register_codec(Shout, accepts=ommx.Instance)
    sealed, _ = committed(instance())
    assert sealed.attachment_media_type("v") == Shout.media_type


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        (Broken, "raised ValueError: no ink left"),
        (NoBytes, "raised TypeError: encode returned str"),
    ],
)
@pytest.mark.usefixtures("own_registry")
def test_a_codec_that_raises_skips_its_value_only(codec, reason):
    register_codec(codec, accepts=Point)
    sealed, logged = committed([Point(1), 2])
    assert logged.names == ("v.1",)
    assert sealed.get_json("v.1") == 2
    assert reason in logged.skipped[0].reason
    assert logged.skipped[0].name == "v.0"


@pytest.mark.usefixtures("own_registry")
def test_a_predicate_that_raises_takes_nothing():
    register_codec(Shout, accepts=lambda value: value.volume > 3)
    assert json_of({"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("codec", "accepts", "message"),
    [
        (Shout(), str, "needs a class"),
        (object, str, "needs a class"),
        (type("NoType", (Shout,), {"media_type": None}), str, "media_type"),
        (type("BadType", (Shout,), {"media_type": "text/plain; a=b"}), str, "media_type"),
        (Shout, "str", "accepts must be"),
        (Shout, (), "accepts must be"),
    ],
)
def test_a_wrong_registration_is_refused(codec, accepts, message):
    before = registry.entries
    with pytest.raises(TypeError, match=message):
        register_codec(codec, accepts=accepts)
    assert registry.entries == before


@pytest.mark.usefixtures("own_registry")
def test_registering_from_many_threads_loses_nothing():
    before = len(registry.entries)

    def register():
        for _ in range(100):
            register_codec(Shout, accepts=Point)

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry.entries) == before + 800


def test_every_built_in_codec_is_listed_with_its_media_type():
    listed = {entry.codec: entry.media_type for entry in registry.entries if entry.codec}
    built_in = [getattr(codecs, n) for n in codecs.__all__ if n.endswith("Codec")]
    assert listed == {codec: codec.media_type for codec in built_in}
    assert len({*listed.values()}) == len(built_in)


def test_a_container_that_is_not_json_is_split_by_key_and_index():
    value = {"a": np.ones(2), "b": [instance(), {"c": b"x", "n": None}], "d": {"deep": [1]}}
    sealed, logged = committed(value)
    assert logged.names == ("v.a", "v.b.0", "v.b.1.c", "v.b.1.n", "v.d")
    assert sealed.get_json("v.d") == {"deep": [1]}
    assert sealed.get_json("v.b.1.n") is None


def test_fields_of_a_dataclass_are_split_too():
    _, logged = committed(Point(1, instance()))
    assert logged.names == ("v.x", "v.y")


def test_a_dict_with_other_keys_is_not_split():
    assert "codec JsonCodec raised TypeError" in reason_of({1: np.ones(1)})


def test_names_that_collide_are_all_kept():
    value = {"a.b": np.zeros(1), "a": {"b": np.ones(1)}, "a.b~2": np.full(1, 2.0)}
    sealed, logged = committed(value)
    found = [float(sealed.get_with_codec(NumpyCodec, name)[0]) for name in logged.names]
    assert found == [0.0, 1.0, 2.0]
    assert logged.names[:2] == ("v.a.b", "v.a.b~2")


@pytest.mark.parametrize("value", [1, instance()], ids=["json", "instance"])
def test_a_name_that_the_user_took_is_kept(value, tmp_path):
    experiment = Experiment.with_temp_local_registry()
    with experiment.run() as run:
        run.log_json("v", "mine")
        assert log_value(run, "v", value).names == ("v~2",)
        (tmp_path / "f").write_text("x")
        assert log_value(run, "v", tmp_path / "f").names == ("v~3",)
    experiment.log_json("v", "mine")
    assert log_value(experiment, "v", 2).names == ("v~2",)
    experiment.commit()
    assert experiment.runs[0].get_json("v") == experiment.get_json("v") == "mine"
    assert experiment.get_json("v~2") == 2


def test_a_value_that_contains_itself_is_skipped():
    loop = {"x": 1}
    loop["self"] = loop
    _, logged = committed(loop)
    assert logged.names == ("v.x",)
    assert logged.skipped[0].reason == "a dict contains itself"
    endless = []
    endless.append(endless)
    assert committed(endless)[1].skipped[0].name == "v.0"


@pytest.mark.parametrize("depth", [33, 5000])
def test_absurd_depth_is_skipped(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    _, logged = committed(value)
    assert logged.names in ((), ("v.0",))
    if depth > 100:
        assert "deeper than 32" in logged.skipped[0].reason


def test_too_many_items_are_one_skipped_value():
    assert "more than 4096" in reason_of([b""] * 5000)


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


def test_bytes_do_not_depend_on_the_process():
    assert run_python(PRINT_BYTES, PYTHONHASHSEED="1") == run_python(
        PRINT_BYTES, PYTHONHASHSEED="2"
    )


def test_importing_the_package_imports_no_optional_library():
    code = """
import sys, ommx_prefect
ommx_prefect.codecs.registry.find(object())
optional = ("pyarrow", "matplotlib", "plotly", "highspy", "pyscipopt", "openjij", "mip")
print([name for name in optional if name in sys.modules])
"""
    assert run_python(code).strip() == "[]"
