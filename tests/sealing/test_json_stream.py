"""A document that is written item by item is the text that `json.dumps` makes of the whole."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ommx_prefect._sealing.json_stream import written

texts = st.text(st.characters(exclude_categories=["Cs"]))
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(leaves, lambda x: st.lists(x, max_size=3) | st.dictionaries(texts, x))
items = st.lists(st.dictionaries(texts, values, min_size=1), max_size=3)


@given(st.dictionaries(texts, values, min_size=1), items)
def test_the_text_is_that_of_json(document, listed):
    whole = {**document, "listed": listed}
    streamed = {**document, "listed": iter(listed)}
    assert written(streamed).decode() == json.dumps(whole, ensure_ascii=False, indent=1)
