"""Whatever files are called, the benchmark solves them, and tells them apart in all it shows."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ommx.experiment import Experiment
from rich.console import Console

from ommx_prefect import flow
from tests.support.reading import run_flow

sys.path.append(str(Path(__file__).resolve().parents[2] / "flows"))
import benchmark_findings
import benchmark_inputs
import benchmark_rows
import benchmark_screen
import solver_benchmark

LINUX = sys.platform == "linux"
bytes_as_names = pytest.mark.skipif(not LINUX, reason="names there are Unicode")

# File -> the name that tells it from all others; its objective is twice its place here.
SOLVED: dict[bytes, str] = {
    b"folder/plain.mps": "plain",
    b"folder/sp ace [x].mps": "sp ace [x]",
    b"folder/[red].mps": "[red]",
    "folder/\u00fc\u65e5.mps".encode(): "\u00fc\u65e5",
    b"folder/p.mps": "folder/p.mps",
    b"folder/p.mps.gz": "p.mps.gz",
    b"a/p.mps": "a/p",
    b"b/p.mps": "b/p",
    b"[/red].mps": "[/red]",
    b"b/red].mps": "b/red]",
}
if LINUX:
    SOLVED |= {
        b"folder/bad\xff.mps": "bad\\udcff",
        b"folder/new\nline \x1b[31m.mps": "new\nline \x1b[31m",
        b"argument\xfe.mps": "argument\\udcfe",
        b"f\xfc/q.mps": "q",
    }
UNREADABLE: dict[bytes, str] = {
    b"folder/empty.mps": "empty.mps",
    b"folder/cut [bold].mps": "cut [bold].mps",
    b"missing.mps": "missing.mps",
    b"x" * 300 + b".mps": "x" * 300 + ".mps",
}
if LINUX:
    UNREADABLE |= {
        b"folder/empty\xff.mps": "empty\\udcff.mps",
        b"missing\xff.mps": "missing\\udcff.mps",
        b"nothing\xff": "nothing\\udcff",
    }


def model(bound: int) -> str:
    return f"NAME\nROWS\n N c\n G r\nCOLUMNS\n x c 2 r 1\nRHS\n rhs r {bound}\nENDATA\n"


@dataclass
class Night:
    """What a run of the script left."""

    exit_code: int
    output: str
    errors: str

    @property
    def experiment(self) -> Experiment:
        (name,) = re.findall(r"^Sealed (\S+)$", self.output, re.MULTILINE)
        return Experiment.load(name)

    def runs(self, *columns: str) -> list[tuple[Any, ...]]:
        return sorted(self.experiment.run_parameters_df()[list(columns)].itertuples(index=False))

    def rows(self, *keys: str) -> list[tuple[Any, ...]]:
        return sorted(
            tuple(row[key] for key in keys) for row in self.experiment.get_json("summary")
        )


def run_script(folder: Path, *arguments: bytes, **environment: str) -> Night:
    command = [sys.executable, solver_benchmark.__file__, "--adapter", "highs", *arguments]
    found = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, timeout=200
    )
    return Night(found.returncode, found.stdout.decode(), found.stderr.decode())


def write(folder: Path, files: dict[bytes, str]) -> None:
    for bound, name in enumerate(files):
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            text = model(bound).encode()
            file.write(gzip.compress(text) if name.endswith(b".gz") else text)


@pytest.fixture(scope="module")
def night(server: str, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The script over a folder and arguments of every kind of name."""
    folder = tmp_path_factory.mktemp("names")
    write(folder, SOLVED)
    for name in UNREADABLE:
        if name.startswith(b"folder/"):
            text = model(1)[:40] if b"cut" in name else ""
            Path(folder, os.fsdecode(name)).write_text(text)
    if LINUX:
        os.mkdir(os.path.join(os.fsencode(folder), b"nothing\xff"))
    arguments = [name for name in (*SOLVED, *UNREADABLE) if not name.startswith(b"folder/")]
    return run_script(folder, b"folder", *arguments)


def test_no_name_ends_the_benchmark(night):
    assert (night.exit_code, night.errors) == (0, "")


def test_every_file_is_solved_or_unreadable_under_a_name_of_its_own(night):
    expected = [(name, "optimal") for name in SOLVED.values()]
    expected += [(name, "unreadable") for name in UNREADABLE.values()]
    assert night.runs("instance", "outcome") == sorted(expected)
    assert night.rows("instance", "outcome") == sorted(expected)
    assert set(night.experiment.run_parameters_df()["prefect.state"]) == {"Completed"}


def test_a_name_belongs_to_the_objective_of_its_file(night):
    solved = night.experiment.run_parameters_df().query("outcome == 'optimal'")
    found = dict(zip(solved["instance"], solved["objective"], strict=True))
    expected = {name: pytest.approx(2.0 * bound) for bound, name in enumerate(SOLVED.values())}
    assert found == expected


def test_a_source_is_the_same_in_row_and_run(night):
    assert night.rows("source", "instance") == night.runs("source", "instance")


def test_every_name_stands_in_full_in_a_line_of_its_own(night):
    lines, _, tables = night.output.partition("\nRuns ")
    names = [name for name in (*SOLVED.values(), *UNREADABLE.values()) if len(name) < 100]
    for name in names:
        shown = name.replace("\n", "\\n").replace("\x1b", "\\x1b")
        assert any(line.startswith(f"{shown} ") for line in lines.splitlines()), name
        assert f" {shown} " in tables, name
    assert "\x1b" not in night.output


@bytes_as_names
def test_the_source_that_a_row_tells_can_be_given_again(server, tmp_path, monkeypatch):
    write(tmp_path, {b"bad\xff.mps": ""})
    monkeypatch.chdir(tmp_path)
    (instance,), unreadable = benchmark_inputs.read_all(["bad\\udcff.mps"])
    assert (instance.name, instance.source, unreadable) == ("bad\\udcff", "bad\\udcff.mps", [])


@bytes_as_names
def test_a_file_whose_name_looks_like_an_escape_is_itself(tmp_path, monkeypatch):
    write(tmp_path, {b"bad\xff.mps": "", b"bad\\udcff.mps": ""})
    monkeypatch.chdir(tmp_path)
    ((instance,), _) = benchmark_inputs.read_all(["bad\\udcff.mps"])
    assert Path(instance.source).read_text() == model(1)
    instances, _ = benchmark_inputs.read_all(["."])
    assert [each.name for each in instances] == ["bad\\udcff", "bad\\udcff (2)"]


def test_a_run_that_cannot_be_recorded_is_no_end_of_the_benchmark(server):
    shown: list[str] = []

    @flow
    def night() -> Any:
        for name in ("bad\udcff", "good"):
            found = benchmark_inputs.Unreadable(name, name, "it is empty")
            solver_benchmark.note_unreadable(found, lambda row, _: shown.append(row["outcome"]))
        return "ended"

    sealed = run_flow(night)
    assert sealed.state.is_completed()
    assert (sealed.statuses, sealed.column("instance")) == (["failed", "finished"], [None, "good"])
    assert shown == ["unreadable"] * 2


@pytest.mark.full
def test_a_screen_that_knows_ascii_only_shows_escapes(server, tmp_path):
    write(tmp_path, {"\u00fc\u65e5.mps".encode(): ""})
    night = run_script(tmp_path, b".", PYTHONIOENCODING="ascii")
    assert night.exit_code == 0
    assert "\\xfc\\u65e5" in night.output


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["p.mps", "q.mps"], ["p", "q"]),
        (["p.mps", "p.mps.gz"], ["p.mps", "p.mps.gz"]),
        (["a/p.mps", "b/p.mps"], ["a/p", "b/p"]),
        (["x/a/p.mps", "y/a/p.mps", "q.mps"], ["x/a/p", "y/a/p", "q"]),
        (["a/p.mps", "a/p.mps.gz", "b/p.mps"], ["a/p.mps", "p.mps.gz", "b/p"]),
        (["p.mps", "a/p.mps"], ["p.mps", "a/p"]),
        (["p.mps", "p.mps"], ["p", "p (2)"]),
        (["p.mps", "./p.mps", "p (2).mps"], ["p", "p (2)", "p (2) (2)"]),
    ],
)
def test_a_name_is_as_short_as_tells_its_file_from_the_others(
    tmp_path, monkeypatch, sources, names
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, dict.fromkeys(map(os.fsencode, sources), ""))
    instances, unreadable = benchmark_inputs.read_all(sources)
    assert ([each.name for each in instances], unreadable) == (names, [])
    if len(set(map(Path, sources))) == len(sources):
        again, _ = benchmark_inputs.read_all(sources[::-1])
        assert [each.name for each in again] == names[::-1]


def test_what_cannot_be_read_is_told_from_what_can(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {b"a/p.mps": ""})
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.mps").touch()
    instances, unreadable = benchmark_inputs.read_all(["a", "b", "c", "."])
    assert [each.name for each in instances] == ["p"]
    assert [each.name for each in unreadable] == ["b/p.mps", "c/p.mps", "."]


@pytest.mark.parametrize("name", ["sp ace [x]", "[/red]", "[red]x", "back\\", "\\[x]"])
def test_a_terminal_shows_a_name_that_looks_like_markup(name):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    row = benchmark_rows.row_of(name, f"{name}.mps", "highs", reason=f"in {name}")
    with benchmark_screen.progress(console, 2) as show:
        show(row, [benchmark_screen.label(row)])
    benchmark_screen.print_tables(console, [row], benchmark_findings.totals_of([row]), [])
    assert screen.getvalue().count(f"{name} highs") >= 2
    assert screen.getvalue().count(f"in {name}") == 2
