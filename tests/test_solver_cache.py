"""A solve is found in Prefect's cache by the content of its instance, and recorded like a solve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ommx_highs_adapter import OMMXHighsAdapter
from prefect.cache_policies import INPUTS

from ommx_prefect.instances import load_instance

CACHED = """
import sys
from prefect import flow
from prefect.cache_policies import INPUTS
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers import solve

@flow
def once():
    kept = solve.with_options(cache_policy=INPUTS, persist_result=True)
    state = kept("highs", load_instance(sys.argv[1]).instance, seed=5, return_state=True)
    print(state.name, state.result().objective)

once()
"""


@pytest.mark.usefixtures("server")
def test_another_process_finds_the_solve_of_the_same_file(open_instances, tmp_path):
    def said(path: Path) -> list[str]:
        command = [sys.executable, "-c", CACHED, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-2:]  # HiGHS 1.16 says hello first

    moved = tmp_path / "flugpl.mps"
    moved.write_bytes((open_instances / "flugpl.mps").read_bytes())
    assert said(open_instances / "flugpl.mps") == ["Completed", "1201500.0"]
    assert said(moved) == ["Cached", "1201500.0"]


def test_the_key_of_the_inputs_policy_follows_every_argument(open_instances):
    def key(file: str = "flugpl.mps", **changes: Any) -> str | None:
        instance = load_instance(open_instances / file).instance
        inputs = {"adapter": OMMXHighsAdapter, "instance": instance, "seed": 1, **changes}
        return INPUTS.compute_key(None, inputs, {})

    assert key() == key()
    assert len({key(), key("afiro.mps"), key(seed=2), key(adapter="highs")}) == 4
