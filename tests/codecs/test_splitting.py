"""Containers are split by key and index; names that collide and endless values lose nothing."""

import numpy as np
import pytest
from ommx.experiment import Experiment

from ommx_prefect.codecs import (
    NumpyCodec,
    log_value,
)
from tests.support.codec_values import Point, committed, reason_of
from tests.support.models import knapsack


def test_a_container_that_is_not_json_is_split_by_key_and_index():
    value = {"a": np.ones(2), "b": [knapsack(), {"c": b"x", "n": None}], "d": {"deep": [1]}}
    sealed, logged = committed(value)
    assert logged.names == ("v.a", "v.b.0", "v.b.1.c", "v.b.1.n", "v.d")
    assert sealed.get_json("v.d") == {"deep": [1]}
    assert sealed.get_json("v.b.1.n") is None


def test_fields_of_a_dataclass_are_split_too():
    _, logged = committed(Point(1, knapsack()))
    assert logged.names == ("v.x", "v.y")


def test_a_dict_with_other_keys_is_not_split():
    assert "codec JsonCodec raised TypeError" in reason_of({1: np.ones(1)})


def test_names_that_collide_are_all_kept():
    value = {"a.b": np.zeros(1), "a": {"b": np.ones(1)}, "a.b~2": np.full(1, 2.0)}
    sealed, logged = committed(value)
    found = [float(sealed.get_with_codec(NumpyCodec, name)[0]) for name in logged.names]
    assert found == [0.0, 1.0, 2.0]
    assert logged.names[:2] == ("v.a.b", "v.a.b~2")


@pytest.mark.parametrize("value", [1, knapsack()], ids=["json", "instance"])
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


def test_a_key_that_is_no_utf8_loses_nothing():
    value = {"\ud800x": np.zeros(2), "good": np.ones(3), "\udcff": object(), "\\ud800x": b"again"}
    sealed, logged = committed(value)
    assert logged.names == ("v.\\ud800x", "v.good", "v.\\ud800x~2")
    assert [x.name for x in logged.skipped] == ["v.\\udcff"]
    assert sealed.get_blob("v.\\ud800x~2") == b"again"


def test_an_odd_file_name_and_an_odd_secret_lose_nothing(tmp_path):
    odd = tmp_path / "\udcff-of-bytes.txt"
    odd.write_text("text")
    secret = "\udcffsecret"
    sealed, logged = committed({"file": odd, f"{secret}-name": b"x"}, forbidden=[secret])
    assert logged.names == ("v.**redacted**-name",)
    assert "no UTF-8; rename it" in logged.skipped[0].reason
    assert sealed.get_blob("v.**redacted**-name") == b"x"
