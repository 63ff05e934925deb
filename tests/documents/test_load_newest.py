"""What the guide to registries gives to ask a registry is what asks it, on a second machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.pages import page
from tests.support.registry_server import running_registry

PUBLISH = """
import sys
from ommx.artifact import remove_image
from ommx.experiment import Experiment

name, value = sys.argv[1:]
remove_image(name)
experiment = Experiment(name)
experiment.log_json("night", value)
experiment.commit()
experiment.push()
"""
READ = """
import sys
from ommx.artifact import RemoteArtifactError
from ommx.experiment import Experiment

{load_newest}
name = sys.argv[1]
print(Experiment.load(name).get_json("night"))
try:
    print(load_newest(name).get_json("night"))
except RemoteArtifactError:
    print("away")
print(Experiment.load(name).get_json("night"))
"""


@pytest.fixture
def load_newest() -> str:
    """The function as it stands on the page."""
    blocks = page("docs/guides/registries.md").blocks
    (code,) = (block.code for block in blocks if "def load_newest" in block.code)
    return code.partition("\nnewest =")[0]


def on_machine(root: Path, script: str, *arguments: str) -> list[str]:
    """Run a script on a machine, which is a process with a Local Registry of its own."""
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(root)}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.check_output(command, env=env, text=True, timeout=60).split()


@pytest.mark.server
@pytest.mark.usefixtures("no_credentials")
def test_load_newest_asks_the_registry_each_time(tmp_path, load_newest):
    here, there = tmp_path / "here", tmp_path / "there"
    read = READ.format(load_newest=load_newest)
    with running_registry(tmp_path / "registry") as server:
        name = f"{server.host}/acme/night:latest"
        on_machine(there, PUBLISH, name, "first")
        assert on_machine(here, read, name) == ["first"] * 3
        on_machine(there, PUBLISH, name, "second")
        assert on_machine(here, read, name) == ["first", "second", "second"]
        on_machine(there, PUBLISH, name, "third")
    # The registry is away: the local name is as it was.
    assert on_machine(here, read, name) == ["second", "away", "second"]
