"""What people see: each text shows itself alone, in bounds, whatever an exception or name does."""

from __future__ import annotations

import json
import sys
import time
import tracemalloc

import pytest

from ommx_prefect._flowrun.image_name import _split
from ommx_prefect._format.model import ExperimentRecord, RunRecord
from ommx_prefect._prefect.states import outcome_of_exception
from ommx_prefect._sealing.runs_table import MOST_BYTES, MOST_ROWS, runs_table, table_text
from ommx_prefect._values.error_texts import describe_error
from tests.support.cases import each

EVIL = "\x1b[2J\x1b]0;title\x07a\nb\r\u202egnirts\u2066\x00\x9b31m"
HARMLESS = "\\x1b[2J\\x1b]0;title\\x07a\\nb\\r\\u202egnirts\\u2066\\x00\\x9b31m"


class Raises(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


class Exits(Exception):
    def __str__(self) -> str:
        sys.exit(3)


class NoText(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


class Recurses(Exception):
    def __str__(self) -> str:
        return str(self)


class Text(str):
    def split(self, *_: object) -> list[str]:  # type: ignore[override]
        raise RuntimeError("not this way")

    def __getitem__(self, _: object) -> str:
        raise RuntimeError("nor this")

    def __format__(self, _: str) -> str:
        raise RuntimeError("nor that")


class Odd(Exception):
    def __str__(self) -> str:
        return Text("said")


@each("error", [Raises(), Exits(), NoText(), Recurses()])
def test_an_exception_that_cannot_be_shown_is_one_like_others(error):
    outcome = outcome_of_exception(error, 0.0, None)
    assert (outcome.status, outcome.state) == ("failed", "Failed")
    assert describe_error(error) == f"{type(error).__name__}: (its message cannot be shown)"


def test_a_message_of_an_odd_type_is_shown():
    assert describe_error(Odd()) == "Odd: said"


def test_a_message_without_end_is_cut_before_anything_is_done_with_it():
    error = ValueError("x y " * 50_000_000)
    tracemalloc.start()
    began = time.process_time()
    assert len(describe_error(error)) <= 1_000
    assert len(outcome_of_exception(error, 0.0, None).reason or "") < 200_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
    assert time.process_time() - began < 2


def test_cells_and_titles_of_the_table_show_only_themselves():
    run = RunRecord("failed", EVIL, parameters={EVIL: EVIL, "prefect.task": EVIL})
    (row,) = runs_table(ExperimentRecord("failed", (run,)))
    assert row["reason"] == row["task"] == row[HARMLESS] == HARMLESS
    assert "".join([*row, *map(str, row.values())]).isprintable()


def test_the_table_of_two_thousand_runs_is_bounded_in_bytes_and_memory():
    names = {f"parameter-{number}": "x" * 900 for number in range(20)}
    runs = tuple(RunRecord("finished", "y" * 10_000, parameters=names) for _ in range(2_000))
    tracemalloc.start()
    rows = runs_table(ExperimentRecord("finished", runs))
    text, fitting = table_text(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(text) <= MOST_BYTES
    assert 0 < fitting == len(json.loads(text)) <= MOST_ROWS
    assert peak < 50_000_000


@pytest.mark.parametrize("text", ["{" * 16_000 + "}" * 16_000, "{" * 32_000, "{}:/" * 8_000])
def test_a_template_of_an_image_name_is_read_in_one_go(text):
    began = time.process_time()
    _split(text)
    assert time.process_time() - began < 1
