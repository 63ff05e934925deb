"""Every block of code in README and docs runs as it stands, or says why it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ommx_prefect import codecs, load_experiment
from tests.documents.pages import NEEDS_REGISTRY, PAGES, Block, Page, page
from tests.support.instance_files import OWN

# Languages that are read and not run: output, trees, and files of other programs.
SHOWN = frozenset({"text", "json", "toml", "yaml"})
RUN = frozenset({"python", "sh"})
SHELL_SECONDS = 240


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a page is read, with the instances that every checkout has."""
    (tmp_path / "tests" / "data").mkdir(parents=True)
    (tmp_path / "tests" / "data" / "instances").symlink_to(OWN)
    monkeypatch.chdir(tmp_path)
    # A page may register a codec of its own, which is nobody else's.
    monkeypatch.setattr(codecs.registry, "_entries", codecs.registry.entries)
    return tmp_path


def run_page(read: Page, host: str = "") -> dict[str, Any]:
    """Run the blocks of a page in order, in one namespace; return the namespace."""
    scope: dict[str, Any] = {"__name__": "__page__"}
    for block in read.blocks:
        code = block.code.replace("ghcr.io", host) if host else block.code
        if block.not_run or block.language not in RUN:
            continue
        if block.language == "sh":
            run_shell(code, str(scope.get("flow_run_id", "")))
        else:
            # As many lines before it as on the page: a traceback, and inspect, find the code.
            lines = "\n" * (block.line - 1) + code
            exec(compile(lines, str(read.path), "exec", dont_inherit=True), scope)
    return scope


def run_shell(code: str, flow_run_id: str) -> None:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": programs, "FLOW_RUN_ID": flow_run_id}
    done = subprocess.run(
        ["bash", "-euc", code], env=env, capture_output=True, text=True, timeout=SHELL_SECONDS
    )
    assert done.returncode == 0, f"{code}{done.stdout}{done.stderr}"


@pytest.mark.usefixtures("server", "folder")
@pytest.mark.parametrize(
    "read",
    [x for x in PAGES if any(b.language in RUN and not b.not_run for b in x.blocks)],
    ids=lambda x: x.name,
)
def test_a_page_runs_from_its_first_block_to_its_last(read, request):
    needs = NEEDS_REGISTRY in read.text
    run_page(read, request.getfixturevalue("registry").host if needs else "")


@pytest.mark.usefixtures("server", "folder")
def test_the_readme_solves_real_files_and_the_next_morning_reads_them():
    scope = run_page(page("README.md"))
    night = scope["night"]
    solved = [run for run in night.runs if run.solves]
    assert {round(run.solves[0].output.objective) for run in solved} == {-465, -1264}
    assert sorted(night.run_parameters_df()["variables"].dropna()) == [32, 35]
    # Its flow goes on after a file that has no solution, and solves that once.
    files = [f"tests/data/instances/{name}" for name in ("klein1.mps", "afiro.mps")]
    state = scope["nightly"](files, return_state=True)
    found = load_experiment(state.state_details.flow_run_id)
    outcomes = found.run_parameters_df()["outcome"].dropna().tolist()
    assert (state.name, outcomes) == ("Completed", ["infeasible", "optimal"])


@pytest.mark.parametrize("read", PAGES, ids=lambda x: x.name)
def test_every_block_says_what_it_is(read):
    def is_known(block: Block) -> bool:
        return block.language in RUN | SHOWN

    assert [block for block in read.blocks if not is_known(block)] == []
    # What is only shown needs no excuse.
    assert [block for block in read.blocks if block.not_run and block.language in SHOWN] == []
    assert read.text.count("<!-- not run:") == sum(bool(block.not_run) for block in read.blocks)
