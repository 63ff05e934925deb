"""A registry in which nothing else waits, and a flow run whose script was killed."""

from __future__ import annotations

import shutil

import pytest

from ommx_prefect._stages.roots import stage_root
from tests.recovery.scene import start


@pytest.fixture(scope="module", autouse=True)
def _nothing_else_waits():
    """What other tests left unsealed would be found, and fail, here."""
    shutil.rmtree(stage_root(), ignore_errors=True)


@pytest.fixture
def killed(tmp_path):
    """The id of a flow run whose script was killed, and the script's process."""
    process, flow_run_id = start(tmp_path)
    process.kill()
    process.wait(240)
    return flow_run_id, process.pid
