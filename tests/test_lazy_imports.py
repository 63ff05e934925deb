"""What is imported when: the package loads its names, and Prefect, when they are asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ommx_prefect
from tests.support.tiers import full

pytestmark = pytest.mark.server  # a process each, which imports everything
PACKAGE = Path(ommx_prefect.__file__)
WITHOUT_PREFECT = (
    "analysis",
    "codecs",
    "instances",
    "exceptions",
    "_registry.pull",
    "_shards.shard",
)
# How a process begins -> what it must then have.
BEGINNINGS = (
    "from ommx_prefect import flow, task",
    "from ommx_prefect import *",
    "import prefect; import ommx_prefect._decorators.wrap",
    "import ommx_prefect; import prefect; ommx_prefect.task",
    "import ommx_prefect._wrap",  # as what release 0.1 pickled names it
    "import importlib.util as u, ommx_prefect.solvers; u.find_spec('prefect.cache_policies')",
)
IS_WHOLE = """
from ommx import Instance
from ommx.adapter import SolverAdapter
from ommx.experiment import Run
from prefect.cache_policies import STABLE_TRANSFORMS
from ommx_prefect import instance_digest
from ommx_prefect._recording.current import note_here
from ommx_prefect._workarounds.notices import _listeners
assert STABLE_TRANSFORMS[Instance] is instance_digest
assert hasattr(Run.log_parameter, "__wrapped__")
assert hasattr(vars(SolverAdapter)["require_applicable"].__func__, "__wrapped__")
assert note_here in _listeners
"""


def python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_analysis_needs_no_prefect():
    imports = "\n".join(f"import ommx_prefect.{name}" for name in WITHOUT_PREFECT)
    told = python(f"{imports}\nimport sys; print(sorted(x for x in sys.modules if 'prefect' in x))")
    loaded = ast.literal_eval(told)
    assert "ommx_prefect.analysis._solves" in loaded
    assert [name for name in loaded if not name.startswith("ommx_prefect")] == []


LOOKING = """
import sys
from ommx.experiment import Experiment
from ommx_prefect.cli import app
experiment = Experiment(image_name="localhost/night:one")
with experiment.run() as run:
    run.log_parameter("objective", 1.0)
experiment.commit()
for line in sys.argv[1:]:
    try:
        app(line.split())
    except SystemExit as ended:
        assert not ended.code, line
    assert "prefect" not in sys.modules, line
"""
LINES = (
    "list",
    "show localhost/night:one",
    "show localhost/night:one --run 0",
    "compare localhost/night:one localhost/night:one",
    "report localhost/night:one -o night.html",
    "find objective=1",
    "export localhost/night:one exported",
    "du",
)


def test_who_only_looks_does_not_wait_for_prefect(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMMX_LOCAL_REGISTRY_ROOT", str(tmp_path / "registry"))
    said = python(LOOKING, *LINES)
    assert said.count("localhost/night:one") >= 4
    assert (tmp_path / "night.html").exists()
    assert any((tmp_path / "exported").iterdir())


@pytest.mark.parametrize("beginning", [BEGINNINGS[0], *full(*BEGINNINGS[1:])])
def test_wherever_a_process_begins_it_is_prepared(beginning):
    python(f"{beginning}\n{IS_WHOLE}")


def test_instances_are_known_to_prefects_cache_though_prefect_comes_later():
    code = "import ommx_prefect.instances, prefect.cache_policies as p; print(p.STABLE_TRANSFORMS)"
    assert "instance_digest" in python(code)


def test_names_that_are_loaded_late_are_those_that_type_checkers_see():
    tree = ast.parse(PACKAGE.read_text())
    [block] = [
        x for x in tree.body if isinstance(x, ast.If) and ast.unparse(x.test) == "TYPE_CHECKING"
    ]
    seen = {
        alias.name: each.module.removeprefix("ommx_prefect").lstrip(".")
        for each in block.body
        for alias in each.names
    }
    modules = {name for name, module in seen.items() if not module}
    assert modules == ommx_prefect._MODULES
    assert {name: module for name, module in seen.items() if module} == ommx_prefect._LAZY
    assert seen.keys() == set(ommx_prefect.__all__)
    for name in ommx_prefect.__all__:
        assert getattr(ommx_prefect, name) is not None
    assert set(ommx_prefect.__all__) <= set(dir(ommx_prefect))
    with pytest.raises(AttributeError, match="module 'ommx_prefect' has no attribute 'flwo'"):
        ommx_prefect.flwo  # noqa: B018


def test_the_help_of_the_command_line_needs_neither_prefect_nor_pandas():
    ask = """
import sys
from ommx_prefect.cli import app
try:
    app(["--help"])
except SystemExit:
    print({"prefect", "pandas", "ommx_prefect.solvers"} & set(sys.modules))
"""
    assert python(ask).splitlines()[-1] == "set()"
