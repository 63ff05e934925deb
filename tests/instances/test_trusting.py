"""What load_instance believes, what it refuses, and what it leaves behind."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
import tempfile
import time
from pathlib import Path

import pytest
from ommx import Instance
from ommx.artifact import ArtifactDraft

from ommx_prefect.instances import (
    InstanceFileError,
    _plain_file,
    _reader_process,
    expand_sources,
    load_instance,
)
from ommx_prefect.instances._digest import instance_digest
from ommx_prefect.solvers._parameters import asked_of
from tests.support.instance_files import FOLDERS

ODD = Path(__file__).parent / "odd"
PLAIN = (ODD / "plain.mps").read_bytes()
LP = (ODD / "constant.lp").read_bytes()
# SCIP 10.0 reads beyond its memory at a row without a kind, and dies.
DEADLY = (
    b"\xef\xbb\xbfNAME h\nROWS\n N COST\n MNS\nx COST 1 R1 1\nRHS\n"
    b"\xef\xbb\xbfNAME h\n RHS RRHS1 2\nENDATA\n"
)
# HiGHS 1.16 does not end on what stands before ROWS here.
ENDLESS = (
    b"COLUMNS\n\n G R1\nRHS\nNAME h\nENDATA\n x COST 1 R1 1\n RHS R1 2\nROWS\n y R1= 1e-12\n N COST"
)


def reason_of(source, **options) -> str:
    with pytest.raises(InstanceFileError) as caught:
        load_instance(source, **options)
    return caught.value.reason


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def children_without(monkeypatch, folder: Path, package: str) -> None:
    """Let readers' processes, from now on, run where a package is not installed."""
    written(folder, f"{package}.py", b"raise ImportError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(_reader_process, "_CHILD", [])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "two-members.mps.gz",
            gzip.compress(PLAIN[:40], mtime=0) + gzip.compress(PLAIN[40:], mtime=0),
        ),
        ("packed-by-another-name.mps", gzip.compress(PLAIN, mtime=0)),
        ("not-packed.mps.gz", PLAIN),
        ("CAPITALS.MPS", PLAIN),
        ("dots.and spaces.mps", PLAIN),
    ],
)
def test_the_text_counts_however_it_is_packed(tmp_path, name, content):
    loaded = load_instance(written(tmp_path, name, content))
    assert (loaded.readers, loaded.warnings) == ("highs+ommx", ())
    assert instance_digest(loaded.instance) == instance_digest(
        load_instance(ODD / "plain.mps").instance
    )


def test_packed_lp_files_load(tmp_path):
    loaded = load_instance(written(tmp_path, "c.lp.gz", gzip.compress(LP)))
    assert (loaded.name, loaded.readers) == ("c", "highs+scip")
    assert loaded.instance.objective.constant_term == 5


def test_a_packed_file_that_grows_without_measure_is_refused_soon(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    zeros = gzip.compress(b"0" * 64 * 2**20)
    assert len(zeros) < 100_000
    start = time.process_time()
    assert "unpacks to more than 16 MiB" in reason_of(written(tmp_path, "bomb.mps.gz", zeros))
    assert time.process_time() - start < 2
    assert _plain_file.MAX_RATIO * 3e6 < 1e9
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfeN\x00", "UTF-16"),
        (b"", "empty"),
        (b" \n", "empty"),
        (bz2.compress(PLAIN), "packed with bzip2. Unpack it"),
        (lzma.compress(PLAIN), "packed with xz. Unpack it"),
        (gzip.compress(gzip.compress(PLAIN)), "packed twice"),
        (b"PK\x03\x04" + PLAIN, "a zip archive"),
        (b"\x28\xb5\x2f\xfd" + PLAIN, "packed with zstd"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
        (PLAIN.replace(b" x ", b" x\0 "), "zero bytes"),
    ],
    ids=range(10),  # what is packed has the time in it, and a test the same name each time
)
def test_what_is_no_text_is_refused_by_what_it_is(tmp_path, content, said):
    assert said in reason_of(written(tmp_path, "odd.mps", content))


def test_a_file_that_is_packed_otherwise_is_told_to_be_unpacked(tmp_path):
    path = written(tmp_path, "h.mps.bz2", bz2.compress(PLAIN))
    assert reason_of(path).endswith("qplib:NAME. Unpack it: h.mps is one")
    assert "Unpack" not in reason_of(written(tmp_path, "h.txt.bz2", b""))


def test_an_error_tells_no_path_of_a_copy(tmp_path):
    reason = reason_of(written(tmp_path, "h.mps.gz", gzip.compress(b"no model\n")))
    assert "highs: Parser error reading the file" in reason
    assert tempfile.gettempdir() not in reason


def test_memory_that_highs_prints_changes_no_reading():
    """In fixed form HiGHS 1.16 tells of a line by what is in its memory, which is often no text."""
    reasons = {reason_of(ODD / "unknown-row-in-columns.mps") for _ in range(10)}
    assert len(reasons) == 1
    assert "codec" not in reasons.pop()


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.mps")
    assert "no regular file" in reason_of(tmp_path / "pipe.mps")


def test_nothing_is_printed_and_nothing_stays(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("latin-1-column.mps", "quadobj.mps", "constant.lp", "semi-continuous.lp"):
        load_instance(ODD / name)
    for name in ("sos.mps", "no-endata.mps", "no-lp.lp"):
        reason_of(ODD / name)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.server
def test_a_reader_that_dies_is_a_reason_and_the_next_file_loads(tmp_path):
    assert "scip: it crashed on this file (SIG" in reason_of(written(tmp_path, "d.mps", DEADLY))
    assert load_instance(ODD / "constant.lp").readers == "highs+scip"


@pytest.mark.server  # it takes seconds
def test_a_reader_that_does_not_end_is_a_reason(tmp_path, monkeypatch):
    load_instance(ODD / "constant.lp")  # its process is there, so that only reading counts
    monkeypatch.setattr(_reader_process, "SECONDS", 3.0)
    assert "highs: it did not end in 3 s" in reason_of(written(tmp_path, "e.mps", ENDLESS))


def test_what_a_panic_says_is_said(tmp_path):
    content = (ODD / "bounds-without-set.mps").read_bytes().replace(b" UP x 4", b" UP x")
    assert "panicked: index out of bounds" in reason_of(written(tmp_path, "p.mps", content))


def test_a_process_that_was_idle_is_started_again():
    load_instance(ODD / "constant.lp")
    (child,) = _reader_process._CHILD
    child.process.stdin.close()
    child.process.wait()
    assert load_instance(ODD / "constant.lp").readers == "highs+scip"


def test_without_a_second_reader_an_mps_file_needs_our_word(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    children_without(monkeypatch, tmp_path, "pyscipopt")
    reason = reason_of(ODD / "plain.mps")
    assert "ommx alone reads it" in reason
    assert "pip install highspy pyscipopt; min_readers=1 believes ommx alone" in reason
    loaded = load_instance(ODD / "plain.mps", min_readers=1)
    assert loaded.readers == "ommx"
    assert "no other reader confirms it" in loaded.warnings[0]


def test_without_scip_a_doubtful_file_is_refused_with_the_difference(tmp_path, monkeypatch):
    children_without(monkeypatch, tmp_path, "pyscipopt")
    assert load_instance(ODD / "plain.mps").readers == "highs+ommx"
    reason = reason_of(ODD / "constant.mps")
    assert "objective constant: 7 (highs), 0 (ommx)" in reason
    assert reason.endswith("One more reader may decide: pip install pyscipopt")
    believed = load_instance(ODD / "constant.mps", min_readers=1)
    assert (believed.readers, believed.instance.objective.constant_term) == ("highs", 7)


def test_other_numbers_of_readers_are_no_choice():
    with pytest.raises(ValueError, match="1 or 2"):
        load_instance(ODD / "plain.mps", min_readers=3)


def test_the_readers_go_with_the_instance_into_the_run_and_not_into_the_digest(tmp_path):
    loaded = load_instance(ODD / "constant.mps")
    draft = ArtifactDraft.new_anonymous()
    draft.add_instance(loaded.instance)
    draft.commit().save(tmp_path / "kept.ommx")
    again = load_instance(tmp_path / "kept.ommx")
    assert loaded.readers == again.readers == "highs+scip"
    assert loaded.renamed("other").readers == "highs+scip"

    class Adapter: ...

    assert asked_of(Adapter, again.instance, "kept", "")["readers"] == "highs+scip"
    plain = Instance.from_v2_bytes(loaded.instance.to_v2_bytes())
    plain.replace_annotations({})
    assert "readers" not in asked_of(Adapter, plain, "plain", "")
    assert instance_digest(plain) == instance_digest(loaded.instance)


def test_an_archive_with_two_instances_is_refused_by_their_names(tmp_path):
    draft = ArtifactDraft.new_anonymous()
    for name in ("plain.mps", "constant.mps"):
        instance = load_instance(ODD / name).instance
        instance.title = name
        draft.add_instance(instance)
    draft.commit().save(tmp_path / "two.ommx")
    reason = reason_of(tmp_path / "two.ommx")
    assert "it holds 2 instances: plain.mps (sha256:" in reason
    assert "constant.mps (sha256:" in reason


@pytest.mark.server
def test_all_real_instances_are_confirmed_and_have_the_digests_of_ommx():
    here = [folder for folder in FOLDERS if folder.is_dir()]
    files = [file for file in expand_sources(here) if ".mps" in file]
    assert len(files) >= 10
    for file in files:
        loaded = load_instance(file)
        # OMMX drops the constants of their objectives.
        doubtful = Path(file).name in ("e226.mps.gz", "shifted40.mps.gz")
        assert loaded.readers == ("highs+scip" if doubtful else "highs+ommx")
        own = instance_digest(Instance.load_mps(file))
        assert (instance_digest(loaded.instance) == own) is not doubtful


@pytest.mark.parametrize("word", ["0" * 100_000 + "x", "y" * 1_000_000])
def test_a_word_without_end_is_told_from_a_number_at_once_and_shown_in_part(tmp_path, word):
    text = (ODD / "decimal-comma.mps").read_text().replace("1,5", word)
    start = time.process_time()
    reason = reason_of(written(tmp_path, "long.mps", text.encode()))
    assert f"{word[:100]!r} is no number (line 6)" in reason
    assert len(reason) < 1_000
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("name", "doubt"),
    [
        ("ranges-before-rhs.mps", "RANGES (line 7) stand before RHS"),
        ("decimal-comma.mps", "'1,5' is no number (line 6)"),
    ],
)
def test_what_two_readers_read_alike_and_wrong_needs_our_word(tmp_path, name, doubt):
    path = written(tmp_path, "crlf.mps", (ODD / name).read_bytes().replace(b"\n", b"\r\n"))
    assert doubt in reason_of(path)
    believed = load_instance(path, min_readers=1)
    assert believed.readers == "highs"
    assert any(doubt in warning for warning in believed.warnings)
