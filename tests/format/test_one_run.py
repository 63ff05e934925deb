"""The documents of an output are those that composing it gives."""

from __future__ import annotations

import pytest

from ommx_prefect._format.compose import compose
from ommx_prefect._format.encode import documents_of_output
from ommx_prefect._format.model import (
    PARAMETERS_MEDIA_TYPE,
    Attachments,
    Descriptor,
    ExperimentRecord,
    RunRecord,
    describe,
    sha256_digest,
)

JSON = describe("application/json", b"{}")
NOTED = Descriptor("a/b", sha256_digest(b"y"), 1, (("key", "value"),))
EMPTY_TABLE = b"\x81\xa7columns\x80"
CASES = {
    "nothing": Attachments(),
    "one": Attachments({"output": JSON}),
    "the same with other bytes": Attachments({"output": describe("application/json", b"[]")}),
    "another size": Attachments({"output": describe("application/json", b"[1]")}),
    "a name to be escaped": Attachments({'outp\u00fc"t\\\n': JSON}),
    "a name like a digest": Attachments({"sha256:" + "x" * 64: JSON}),
    "two": Attachments({"output.b": JSON, "output.a": describe("a/b", b"x")}),
    "a file": Attachments({"output": JSON}, {"output": "plan.json"}),
    "annotations": Attachments(
        {"output": Descriptor("a/b", sha256_digest(b"y"), 1, (("k", "v"),))}
    ),
    "like the table": Attachments({"output": describe(PARAMETERS_MEDIA_TYPE, EMPTY_TABLE)}),
    "bytes of the table": Attachments({"output": describe("a/b", EMPTY_TABLE)}),
}


@pytest.mark.parametrize("attachments", CASES.values(), ids=CASES)
def test_documents_of_an_output_are_those_that_composing_gives(attachments: Attachments) -> None:
    run = RunRecord("finished", attachments=attachments)
    wanted = compose(ExperimentRecord("finished", (run,))).documents
    for _ in range(2):  # the second time they are known
        assert documents_of_output(attachments) == wanted
