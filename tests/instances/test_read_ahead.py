"""HiGHS reads a large file in another process, while OMMX's loader reads it here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from ommx_prefect.instances import (
    InstanceFileError,
    _reader_process,
    _readings,
    load_instance,
)
from ommx_prefect.instances._digest import instance_digest
from tests.instances.test_trusting import ENDLESS, written

ODD = Path(__file__).parent / "odd"


@pytest.fixture
def ahead(monkeypatch):
    """Every MPS file is a large one, and its process is a new one."""
    monkeypatch.setattr(_readings, "LARGE_BYTES", 0)
    monkeypatch.setattr(_reader_process, "_CHILD", [])
    yield
    while _reader_process._CHILD:
        _reader_process._CHILD.pop().end()


def large_model(columns: int) -> bytes:
    names = [f"a_column_with_a_long_name_{number:06}" for number in range(columns)]
    lines = [
        *("NAME large", "ROWS", " N COST", " L R1", " G R2", "COLUMNS"),
        *(f" {x} COST {k % 7 + 1} R1 {k % 5 + 1}\n {x} R2 0.25" for k, x in enumerate(names)),
        *("RHS", " RHS R1 100 R2 2", "BOUNDS", *(f" UP BND {x} 3" for x in names), "ENDATA"),
    ]
    return "\n".join(lines).encode()


@pytest.mark.server  # it takes seconds
def test_a_large_file_is_the_same_model_in_one_process_and_in_two(tmp_path, monkeypatch):
    path = written(tmp_path, "large.mps", large_model(16_000))
    assert path.stat().st_size > _readings.LARGE_BYTES
    loaded = load_instance(path)
    assert (loaded.readers, loaded.warnings) == ("highs+ommx", ())
    assert _reader_process._CHILD
    monkeypatch.setattr(_readings, "LARGE_BYTES", 10**9)
    assert instance_digest(load_instance(path).instance) == instance_digest(loaded.instance)


@pytest.mark.skipif(not hasattr(psutil.Process, "io_counters"), reason="bytes read are not counted")
def test_a_process_that_is_there_reads_smaller_files_too(ahead, tmp_path, monkeypatch):
    path = written(tmp_path, "medium.mps", large_model(2_000))
    size = path.stat().st_size
    assert _readings.WORTHWHILE_BYTES < size < 300_000
    load_instance(ODD / "plain.mps")
    monkeypatch.setattr(_readings, "LARGE_BYTES", 2_000_000)
    reader = psutil.Process(_reader_process._CHILD[0].process.pid)
    before = reader.io_counters().read_chars
    load_instance(ODD / "plain.mps")
    assert reader.io_counters().read_chars == before
    assert load_instance(path).readers == "highs+ommx"
    assert reader.io_counters().read_chars > before + size


@pytest.mark.server  # it takes seconds
def test_what_odd_files_are_does_not_depend_on_it(ahead, monkeypatch):
    def told(path: Path) -> tuple:
        try:
            loaded = load_instance(path)
        except InstanceFileError as error:
            return (error.reason,)
        return loaded.readers, loaded.warnings, instance_digest(loaded.instance)

    files = sorted(ODD.glob("*.mps"))
    assert len(files) > 50
    in_two = [told(path) for path in files]
    monkeypatch.setattr(_readings, "LARGE_BYTES", 10**9)
    assert [told(path) for path in files] == in_two


@pytest.mark.server  # it takes seconds
def test_a_reader_that_does_not_end_holds_up_no_other_file(ahead, tmp_path, monkeypatch):
    load_instance(ODD / "plain.mps")  # its process is there, so that only reading counts
    monkeypatch.setattr(_reader_process, "SECONDS", 3.0)
    with pytest.raises(InstanceFileError, match="highs: it did not end in 3 s"):
        load_instance(written(tmp_path, "e.mps", ENDLESS))
    assert load_instance(ODD / "plain.mps").readers == "highs+ommx"


def test_an_answer_that_nobody_waited_for_answers_no_other_question(ahead, monkeypatch):
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_readings, "load_mps", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_instance(ODD / "plain.mps")
    # SCIP decides on this one, in the same process as HiGHS.
    loaded = load_instance(ODD / "constant.mps")
    assert (loaded.readers, loaded.instance.objective.constant_term) == ("highs+scip", 7)


def test_threads_that_load_at_once_share_the_process(ahead):
    names = ["plain.mps", "constant.mps", "quadobj.mps", "plain.mps"] * 3
    with ThreadPoolExecutor(4) as threads:
        loaded = list(threads.map(lambda name: load_instance(ODD / name), names))
    alone = {name: instance_digest(load_instance(ODD / name).instance) for name in set(names)}
    assert [instance_digest(each.instance) for each in loaded] == [alone[name] for name in names]
