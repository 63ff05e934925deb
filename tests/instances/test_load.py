"""What loads is whole; what is broken is an error that says how."""

from __future__ import annotations

import gzip
import os
import pickle
import sys
from pathlib import Path

import pytest
from ommx.artifact import ArtifactDraft
from ommx.experiment import Experiment

from ommx_prefect.instances import InstanceFileError, expand_sources, load_instance
from ommx_prefect.instances._name import instance_name
from tests.support.instance_files import FOLDERS, are_here, instance_file, reference
from tests.support.places import require

bytes_as_names = pytest.mark.skipif(sys.platform != "linux", reason="names there are Unicode")

MPS = """NAME          SMALL
ROWS
 N  COST
 L  LIM1
COLUMNS
    X1        COST         1.0   LIM1         1.0
    X2        COST         2.0   LIM1         1.0
RHS
    RHS       LIM1         4.0   COST        -7.5
BOUNDS
 UP BND       X1           0.0
 UP BND       X2           1.0
ENDATA
"""


def reason_of(source) -> str:
    with pytest.raises(InstanceFileError) as caught:
        load_instance(source)
    error = caught.value
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == f"{source}: {error.reason}"
    return error.reason


def test_every_good_file_loads_with_the_size_the_reference_tells():
    rows = [row for row in reference().values() if not row["file"].startswith("malformed/")]
    for row in rows:
        loaded = load_instance(instance_file(row["file"]))
        assert len(loaded.instance.decision_variables) == int(row["variables"])
        assert len(loaded.instance.constraints) == int(row["constraints"])
        assert row["file"].startswith(f"{loaded.name}.")
    assert len(rows) >= 11


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_malformed_file_is_an_error(folder):
    files = expand_sources([folder / "malformed"])
    assert len(files) == 5
    for file in files:
        reason_of(file)


def test_the_error_of_a_malformed_file_says_what_is_wrong(open_instances):
    assert "gzip" in reason_of(open_instances / "malformed/packing35-truncated.mps.gz")
    assert "empty" in reason_of(open_instances / "malformed/bad-mps-15.mps")
    assert "NaN" in reason_of(open_instances / "malformed/nan0.mps")


def test_the_instance_keeps_the_files_name_and_its_own_title(open_instances):
    afiro = load_instance(str(open_instances / "afiro.mps"))
    assert afiro.name == "afiro" == instance_name(afiro.instance)
    assert afiro.instance.title.startswith("AFIRO ")
    assert afiro.source == str(open_instances / "afiro.mps")


@pytest.mark.parametrize(
    ("file", "constant"),
    [each for each in (("shifted40.mps.gz", 7), ("e226.mps.gz", 7.113)) if are_here(each[0])],
)
def test_an_objective_constant_that_ommx_drops_is_kept_and_the_difference_is_told(file, constant):
    loaded = load_instance(instance_file(file))
    assert loaded.instance.objective.constant_term == constant
    assert loaded.readers == "highs+scip"
    (warning,) = loaded.warnings
    assert f"objective constant: {constant:g} (highs, scip), 0 (ommx)" in warning


def test_files_that_readers_agree_on_have_no_warning():
    assert load_instance(instance_file("packing35.mps.gz")).warnings == ()


@pytest.mark.parametrize("line", ["", " LO BND       X1           0.0\n"])
def test_upper_bounds_of_zero_keep_the_lower_bound(tmp_path, line):
    path = tmp_path / "small.mps"
    path.write_text(MPS.replace(" UP BND       X1 ", f"{line} UP BND       X1 "))
    loaded = load_instance(path)
    assert loaded.instance.objective.constant_term == 7.5
    x1 = loaded.instance.decision_variables[0]
    assert (x1.bound.lower, x1.bound.upper) == (0.0, 0.0)


def test_bounds_whose_set_has_a_name_in_some_lines_only_are_refused(tmp_path):
    path = tmp_path / "nameless.mps"
    path.write_text(MPS.replace(" UP BND       X1 ", " UP X1 "))
    assert "column X2, upper bound: 1 (highs), inf (scip)" in reason_of(path)


@pytest.mark.parametrize("lines", [3, 6, 9, 12])
def test_a_file_without_its_end_is_an_error(tmp_path, lines):
    path = tmp_path / "cut.mps.gz"
    path.write_bytes(gzip.compress("\n".join(MPS.splitlines()[:lines]).encode()))
    assert "ENDATA" in reason_of(path)


def test_an_error_whose_cause_is_a_panic_is_pickled_as_dask_does_it(open_instances, tmp_path):
    require("distributed")
    import distributed  # noqa: F401  (it has the causes of exceptions pickled with them)

    path = tmp_path / "cut.qplib"
    path.write_bytes((open_instances / "QPLIB_3506.qplib").read_bytes()[:9000])
    with pytest.raises(InstanceFileError, match="panicked") as caught:
        load_instance(path)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.path) == (str(caught.value), str(path))


def test_a_model_without_variables_is_an_error(tmp_path):
    path = tmp_path / "none.mps"
    path.write_text("NAME none\nROWS\n N COST\nCOLUMNS\nRHS\nENDATA\n")
    assert "no variables" in reason_of(path)


def test_an_infinite_coefficient_is_an_error(tmp_path):
    path = tmp_path / "infinite.mps"
    path.write_text(MPS.replace("COST         1.0", "COST         inf"))
    assert "finite" in reason_of(path)


@pytest.mark.parametrize("size", [0, 60, 119, 126, 9000, 14618])
def test_a_truncated_qplib_file_is_an_ordinary_error(open_instances, tmp_path, size):
    path = tmp_path / "cut.qplib"
    path.write_bytes((open_instances / "QPLIB_3506.qplib").read_bytes()[:size])
    assert reason_of(path)


def test_an_archive_gives_its_instance_under_its_files_name(open_instances, tmp_path):
    draft = ArtifactDraft.new_anonymous()
    draft.add_instance(load_instance(open_instances / "flugpl.mps").instance)
    draft.commit().save(tmp_path / "night.ommx")
    loaded = load_instance(tmp_path / "night.ommx")
    assert (loaded.name, len(loaded.instance.decision_variables)) == ("night", 18)


def test_archives_without_an_instance_are_errors_that_say_what_they_are(tmp_path):
    experiment = Experiment.with_temp_local_registry()
    experiment.commit().save(tmp_path / "experiment.ommx")
    assert "an Experiment" in reason_of(tmp_path / "experiment.ommx")
    draft = ArtifactDraft.new_anonymous()
    draft.add_json({"a": 1})
    draft.commit().save(tmp_path / "json.ommx")
    assert "application/json" in reason_of(tmp_path / "json.ommx")
    (tmp_path / "broken.ommx").write_bytes(b"no archive")
    assert "cannot be read" in reason_of(tmp_path / "broken.ommx")


def test_a_wrong_dataset_name_is_told_its_neighbours():
    assert "did you mean air05" in reason_of("miplib2017:air5")
    assert "qplib has no instance 'nothing'" in reason_of("qplib:nothing")


def odd(folder, name: bytes) -> Path:
    """A path whose name is no UTF-8."""
    return Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))


@bytes_as_names
@pytest.mark.parametrize("kind", [b".mps", b".mps.gz", b".MPS", b".ommx"])
def test_a_file_whose_name_is_not_utf8_loads_under_an_escaped_name(tmp_path, kind):
    folder = odd(tmp_path, b"f\xfe")
    folder.mkdir()
    path = odd(folder, b"bad\xff" + kind)
    path.write_bytes(gzip.compress(MPS.encode()) if kind == b".mps.gz" else MPS.encode())
    if kind == b".ommx":
        (tmp_path / "plain.mps").write_text(MPS)
        draft = ArtifactDraft.new_anonymous()
        draft.add_instance(load_instance(tmp_path / "plain.mps").instance)
        draft.commit().save(tmp_path / "plain.ommx")
        (tmp_path / "plain.ommx").rename(path)
    loaded = load_instance(path)
    assert loaded.name == "bad\\udcff" == instance_name(loaded.instance)
    assert loaded.source == f"{tmp_path}/f\\udcfe/bad\\udcff{kind.decode()}"
    assert len(loaded.instance.decision_variables) == 2


@bytes_as_names
def test_a_broken_file_whose_name_is_not_utf8_says_what_is_wrong_with_it(tmp_path, open_instances):
    path = odd(tmp_path, b"bad\xff.qplib")
    whole = (open_instances / "QPLIB_3506.qplib").read_bytes()
    path.write_bytes(whole)
    assert load_instance(path).name == "bad\\udcff"
    path.write_bytes(whole[:9000])
    assert "codec" not in reason_of(path)


def test_a_file_that_is_all_suffix_has_a_name(tmp_path):
    path = tmp_path / ".mps"
    path.write_text(MPS)
    assert load_instance(path).name == ".mps"


def test_a_renamed_instance_is_recorded_under_its_new_name(tmp_path):
    path = tmp_path / "p.mps"
    path.write_text(MPS)
    renamed = load_instance(path).renamed("a/p")
    assert renamed.name == "a/p" == instance_name(renamed.instance)
    assert renamed.source == str(path)


@pytest.mark.parametrize("ask", [load_instance, lambda source: expand_sources([source])])
def test_a_path_the_system_refuses_is_an_error_that_says_so(ask):
    with pytest.raises(InstanceFileError, match="too long"):
        ask("x" * 300 + ".mps")


def test_sources_that_are_nothing_are_errors(tmp_path):
    assert "no such file" in reason_of(tmp_path / "gone.mps")
    assert "a dataset: miplib2017:NAME" in reason_of(tmp_path / "gone")
    (tmp_path / "notes.txt").write_text("")
    assert ".mps.gz" in reason_of(tmp_path / "notes.txt")
    assert "expand_sources" in reason_of(tmp_path)


def test_folders_become_their_instance_files_in_order(tmp_path):
    for name in ("b.mps", "a.MPS.gz", "c.qplib", "d.ommx", "notes.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper/e.mps").write_text("")
    found = expand_sources(["miplib2017:air05", tmp_path, "one.mps"])
    files = [str(tmp_path / name) for name in ("a.MPS.gz", "b.mps", "c.qplib", "d.ommx")]
    assert found == ["miplib2017:air05", *files, "one.mps"]


def test_one_source_is_no_list_of_them(tmp_path):
    for source in ("instances", tmp_path):
        with pytest.raises(TypeError, match=r"expand_sources\(\["):
            expand_sources(source)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InstanceFileError, match=r"no instance file in this folder.*\.qplib"):
        expand_sources([tmp_path])
