"""JSON that is refused, however it is written, and JSON that is read alike in two ways."""

from __future__ import annotations

import json

import pytest

from ommx_prefect._format.strict_json import strict_json
from ommx_prefect.exceptions import DocumentError

VALUE = {"a": [1, -2.5, 1e300, "ü\n\ud83d", None, True], "b": {"a": {}, "c": []}}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_document_is_read_as_it_is_however_it_is_written(separators, ascii_only):
    value = json.loads(json.dumps(VALUE)) if ascii_only else {**VALUE, "a": [1, "ü"]}
    text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
    assert strict_json(text.encode(), "document") == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a":1,"a":1}', "stands twice"),
        ('{"b":[{"a":1,"c":2,"a":3}]}', "stands twice"),
        ('{"a":1,"\\u0061":1}', "stands twice"),
        ('{"a":NaN}', "no number of JSON"),
        ('{"a":-Infinity}', "no number of JSON"),
        ('{"a":1}x', "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    ],
)
def test_what_readers_would_take_differently_is_refused(text, said):
    with pytest.raises(DocumentError, match=said):
        strict_json(text.encode(), "document")


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(DocumentError, match="not JSON"):
        strict_json(b'{"a":"\xff"}', "document")


def test_numbers_beyond_all_bounds_are_read_where_they_are_allowed():
    assert strict_json(b'{"a":Infinity}', "document", non_finite=True) == {"a": float("inf")}
