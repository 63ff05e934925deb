"""A document that is written item by item is the text that `json.dumps` makes of the whole."""

from __future__ import annotations

import json

import pytest

from ommx_prefect._sealing.json_stream import written

VALUES = ["", 'a"\\\n\t\u2028é😀', 0, -7, 2**70, 1.5, 1e300, True, None, [], {}, [1, [{}]]]
ITEM = {f"{number} {value!r}": value for number, value in enumerate(VALUES)}


@pytest.mark.parametrize("items", [[], [ITEM], [ITEM, {"notes": ["a\nb"]}, ITEM]])
def test_the_text_is_that_of_json(items):
    whole = {"first": ITEM, **ITEM, "listed": items, "last": {"nested": [ITEM, []]}}
    streamed = {**whole, "listed": iter(items)}
    assert written(streamed).decode() == json.dumps(whole, ensure_ascii=False, indent=1)
