"""What would be JSON without end is skipped in a moment, and what is beside it is stored."""

from __future__ import annotations

import dataclasses
import json
import resource
import time
from typing import Any

import numpy as np
import pydantic
import pytest

from ommx_prefect import codecs
from ommx_prefect.codecs import JsonCodec, _size
from ommx_prefect.codecs._size import MOST_VALUES, TooManyValuesError
from tests.support.codec_values import committed

REASON = "too large to be JSON"


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


class Model(pydantic.BaseModel):
    left: Any
    right: Any


class Leaf(pydantic.BaseModel):
    number: int = 1


MAKERS = {
    "tuples": lambda x: (x, x),
    "lists": lambda x: [x, x],
    "dicts": lambda x: {"a": x, "b": x},
    "dicts with other keys": lambda x: {1: x, 2: x},
    "dataclass instances": lambda x: Pair(x, x),
    "models": lambda x: Model(left=x, right=x),
    "models of a dataclass": lambda x: Model(left=Pair(x, x), right=None),
}


def shared(make: Any, levels: int, value: Any = 1) -> Any:
    for _ in range(levels):
        value = make(value)
    return value


@pytest.fixture
def moderate():
    """Assert that a test took little time and memory."""
    began = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - began < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("leaf", [1, np.float64(1), Leaf()], ids=["plain", "numpy", "model"])
def test_a_value_with_shared_parts_is_refused_before_it_is_written(make, leaf, moderate):
    levels = 14 if "of a" in make.__qualname__ else 15
    with pytest.raises(TooManyValuesError, match=REASON):
        JsonCodec.encode(shared(make, 2 * levels, (leaf,)))


@pytest.mark.server
@pytest.mark.parametrize("make", [MAKERS["tuples"], MAKERS["lists"]])
def test_an_output_with_shared_parts_is_skipped_and_says_why(make, moderate):
    value = {"big": shared(make, 30), "x": np.ones(2), "in": {"big": shared(make, 30), "y": 2}}
    _, logged = committed(value)
    assert logged.names == ("v.x", "v.in.y")
    assert [x.name for x in logged.skipped] == ["v.big", "v.in.big"]
    assert all(x.reason.startswith(REASON) for x in logged.skipped)


def test_what_a_function_returns_is_split_where_a_part_is_too_large(moderate):
    _, logged = committed((shared(MAKERS["tuples"], 30), np.ones(2), 3))
    assert logged.names == ("v.1", "v.2")
    assert [x.name for x in logged.skipped] == ["v.0"]
    flat = [0] * (MOST_VALUES + 1)
    _, logged = committed(flat)
    assert [x.reason for x in logged.skipped] == [f"{REASON}: more than {MOST_VALUES:,} values"]


def test_arrays_that_are_shared_come_to_an_end(monkeypatch):
    monkeypatch.setattr(codecs, "MAX_PARTS", 50)
    _, logged = committed(shared(MAKERS["tuples"], 16, np.ones(1)))
    assert 0 < len(logged.names) <= 50
    assert "more than 50 parts in all" in {x.reason for x in logged.skipped}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("leaf", [1, np.float64(1)], ids=["plain", "numpy"])
def test_shared_parts_are_written_wherever_they_are(make, leaf, monkeypatch):
    monkeypatch.setattr(_size, "WORTH_KEEPING", 2)
    value = shared(make, 5, [leaf, {"k": leaf}])
    apart = eval(repr(value), {**vars(np), **globals(), "np": np})  # the same, nothing shared
    assert JsonCodec.encode(value) == JsonCodec.encode(apart)
    assert json.loads(JsonCodec.encode(value))


def test_a_part_at_several_depths_is_refused_where_it_is_too_deep():
    part = shared(lambda x: [x], 20, [np.float64(1)] * 100)
    assert JsonCodec.encode([part, [part]])
    with pytest.raises(ValueError, match="deeper than 32"):
        JsonCodec.encode([part, shared(lambda x: [x], 15, part)])
