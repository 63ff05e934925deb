"""A seal waits little for a temporary server of Prefect, and has every Run all the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ommx.experiment import Experiment

SCRIPT = """
from ommx_prefect import flow, task
from ommx_prefect._prefect import api

api.EPHEMERAL_SECONDS = 0.0  # as for a flow run of very many task runs

@task
def double(i: int) -> dict:
    return {"twice": 2 * i}

@flow(experiment="nights.local/quick:one")
def night() -> None:
    double.map(range(200)).wait()

night()
"""


@pytest.mark.full
@pytest.mark.server
def test_what_a_temporary_server_has_not_taken_in_is_in_the_experiment(tmp_path):
    script = tmp_path / "night.py"
    script.write_text(SCRIPT)
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"},
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "240",
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    subprocess.run([sys.executable, str(script)], env=environment, check=True, timeout=400)
    sealed = Experiment.load("nights.local/quick:one")
    assert sealed.status == "finished"
    assert sorted(sealed.run_parameters_df()["i"]) == list(range(200))
    assert {run.status for run in sealed.runs} == {"finished"}
