"""What a registry has under a name now, read on a second machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ommx_prefect import exceptions, pull_experiment
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
from ommx.experiment import Experiment
from ommx_prefect import pull_experiment
from ommx_prefect.exceptions import RegistryError

name = sys.argv[1]
print(Experiment.load(name).get_json("night"))
try:
    print(pull_experiment(name).get_json("night"))
except RegistryError:
    print("away")
print(Experiment.load(name).get_json("night"))
"""


def on_machine(root: Path, script: str, *arguments: str) -> list[str]:
    """Run a script on a machine, which is a process with a Local Registry of its own."""
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(root)}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.check_output(command, env=env, text=True, timeout=60).split()


@pytest.mark.server
@pytest.mark.usefixtures("no_credentials")
def test_pull_experiment_asks_the_registry_each_time(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    with running_registry(tmp_path / "registry") as server:
        name = f"{server.host}/acme/night:latest"
        on_machine(there, PUBLISH, name, "first")
        assert on_machine(here, READ, name) == ["first"] * 3
        on_machine(there, PUBLISH, name, "second")
        assert on_machine(here, READ, name) == ["first", "second", "first"]
    # The registry is away: the local name is as it was.
    assert on_machine(here, READ, name) == ["first", "away", "first"]


@pytest.mark.usefixtures("no_credentials")
def test_a_name_that_is_not_in_the_registry_is_said_to_be_missing(registry):
    with pytest.raises(exceptions.NotInRegistryError, match="it has no tag 'never'"):
        pull_experiment(f"{registry.host}/acme/nothing:never")
    with pytest.raises(exceptions.InvalidImageNameError):
        pull_experiment("no name at all")


@pytest.mark.usefixtures("no_credentials")
def test_a_tag_that_is_not_there_is_answered_with_those_that_are(registry, tmp_path):
    for tag in ("20261129", "20261130"):
        on_machine(tmp_path, PUBLISH, f"{registry.host}/acme/night:{tag}", "a note")
    with pytest.raises(exceptions.NotInRegistryError, match="but 20261130, 20261129"):
        pull_experiment(f"{registry.host}/acme/night:latest")
