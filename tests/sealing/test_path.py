"""How many files one reads to follow a return value from the task's decorator to the manifest."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import ommx_prefect
from ommx_prefect import flow, task
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")

PACKAGE = Path(ommx_prefect.__file__).parent
# The calls in which the value takes another form, in the order in which it takes them.
WAYPOINTS = (
    ("codecs/_json.py", "encode"),  # bytes
    ("_shards/shard.py", "to_bytes"),  # a shard, about to be written
    ("_shards/shard.py", "from_bytes"),  # read by the seal
    ("_sealing/records.py", "entry_of"),  # a Run
    ("_format/encode.py", "encode"),  # a layer of the flow run's Experiment
    ("_registry/intake.py", "import_layout"),  # stored
    ("_registry/names.py", "move_names"),  # published
)
MOST_FILES = 25


def file_of(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    return path.relative_to(PACKAGE).as_posix() if PACKAGE in path.parents else str(path)


def stack_of(frame: FrameType | None) -> Iterator[str]:
    """The files of this package that are being executed, up to the code of this test."""
    while frame is not None and frame.f_code.co_filename != __file__:
        name = file_of(frame)
        if not name.startswith("/"):
            yield name
        frame = frame.f_back


@contextmanager
def watching() -> Iterator[dict[tuple[str, str], set[str]]]:
    """Collect the files through which each waypoint is reached, in any thread."""
    found: dict[tuple[str, str], set[str]] = {}

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name in {name for _, name in WAYPOINTS}:
            point = (file_of(frame), frame.f_code.co_name)
            if point in WAYPOINTS:
                found.setdefault(point, set()).update(stack_of(frame))

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def test_a_return_value_reaches_the_manifest_through_few_files():
    @task
    def one():
        return {"x": "a value"}

    @flow
    def night():
        one()

    with watching() as found:
        sealed = run_flow(night)
    assert sealed.runs[0].get_json("output") == {"x": "a value"}
    assert found.keys() == set(WAYPOINTS)
    files = sorted(set().union(*found.values()))
    assert len(files) < MOST_FILES, "\n".join(files)
