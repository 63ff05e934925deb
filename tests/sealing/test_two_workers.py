"""Two workers that start in the same minute, each on a host of its own, seal at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest

from ommx_prefect._sealing.result import SealedExperiment
from tests.sealing.test_lineage import BASE, play
from tests.sealing.test_night_before import descriptor_of, nights_at, page_of, subject_of

pytestmark = pytest.mark.usefixtures("server", "no_credentials")

WORKER = """
import sys
from datetime import datetime

from prefect import get_client
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from ommx_prefect import flow, seal
from ommx_prefect.solvers import solve
from tests.support.models import knapsack

name, repository, stage, when = sys.argv[1:]


@flow(name=name, experiment=repository, stage=stage, lineage="previous", aliases=["latest"])
def night():
    solve("highs", knapsack())


with get_client(sync_client=True) as client:
    state = Scheduled(scheduled_time=datetime.fromisoformat(when))
    flow_run = client.create_flow_run(night, state=state)
print("ready", flush=True)
sys.stdin.readline()
run_flow(night, flow_run, return_type="state")
sealed = seal(flow_run.id)
print(json.dumps([sealed.flow_run_id, sealed.image_name, sealed.manifest_digest]))
"""


def test_two_workers_that_start_in_the_same_minute_follow_the_same_night(place, tmp_path):
    night = nights_at(place, aliases=["latest"])
    first = play(night, 1)
    repository, when = place.experiment.rpartition(":")[0], (BASE + timedelta(2)).isoformat()
    workers = []
    for number in range(2):  # each a host of its own, which knows no night
        registry = {"OMMX_LOCAL_REGISTRY_ROOT": str(tmp_path / str(number))}
        code = [sys.executable, "-c", f"import json{WORKER}"]
        workers.append(
            subprocess.Popen(
                [*code, night.name, repository, place.stage, when],
                env={**os.environ, **registry},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    assert [each.stdout.readline() for each in workers] == ["ready\n"] * 2
    for each in workers:
        each.stdin.write("go\n")
        each.stdin.flush()
    found = [json.loads(each.communicate(timeout=240)[0].splitlines()[-1]) for each in workers]
    two = [SealedExperiment(id_, name, digest, "finished", {}) for id_, name, digest in found]
    assert len({each.image_name for each in two}) == 2
    for each in two:
        assert subject_of(place, each) == descriptor_of(place, first)
        assert f"1 same, against `{first.image_name}`" in page_of(each).data
    third = play(night, 3)
    assert subject_of(place, third)["digest"] in {each.manifest_digest for each in two}
