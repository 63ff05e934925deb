"""A disk that takes nothing, because it is read-only or has no inodes left, loses no Run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.small_disk import small_disk
from tests.support.tiers import full

INODES = 300
SCRIPT = """
import json, os, pathlib, subprocess, sys, uuid
from dataclasses import replace
from ommx_prefect import load_experiment
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from ommx_prefect._sealing.seal import seal_flow_run
from ommx_prefect._stages.documents import FLOW_RECORD, End, write_document
from ommx_prefect._stages.local import LocalStage
from ommx_prefect.exceptions import OmmxPrefectError
from ommx_prefect.testing._scene import attempt_of, flow_record

disk = pathlib.Path(os.environ["DISK"])
flow_run_id = str(uuid.uuid4())
END = End("finished", "Completed", None)

def fill():
    for number in range(10_000):
        try:
            (disk / f"ballast-{number}").touch()
        except OSError:
            return

def free():
    for path in disk.glob("ballast-*"):
        path.unlink()

def remount(mode):
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)

def record(number):
    attempt = replace(attempt_of(flow_run_id, number), pid=os.getpid())
    with Recording(attempt, RecordingOptions(), {"number": number}) as recording:
        return recording.returned({"x": number})

night = replace(flow_record(flow_run_id), stage="local")
write_document(LocalStage(flow_run_id), FLOW_RECORD, night)
returned = [record(0)]
{break_it}
returned.append(record(1))
try:
    seal_flow_run(flow_run_id, end=END, pending_seconds=0)
    said = ""
except (OmmxPrefectError, OSError) as error:
    said = str(error)
{mend_it}
waited = unsealed_flow_runs()
sealed = seal_flow_run(flow_run_id, end=END, pending_seconds=0)
experiment = load_experiment(flow_run_id)
print(json.dumps({
    "returned": returned, "said": said, "waited": waited == [flow_run_id], "status": sealed.status,
    "runs": [run.status for run in experiment.runs], "waits": unsealed_flow_runs(),
    "outputs": ["output" in run.attachment_names for run in experiment.runs],
    "notes": [" ".join(run["notes"]) for run in experiment.get_json("ledger")["runs"]],
}))
"""


@pytest.mark.server  # a process each, which waits for a server in vain
@pytest.mark.parametrize(
    ("break_it", "mend_it", "reason"),
    [
        ("remount('ro')", "remount('rw')", "read-only"),
        *full(("fill()", "free()", "no inodes left")),
    ],
    ids=["read-only", "no inodes left"],
)
def test_an_attempt_on_a_disk_that_takes_nothing_is_sealed_when_it_takes_something(
    break_it, mend_it, reason, tmp_path
):
    script, folder = tmp_path / "script.py", tmp_path / "disk"
    script.write_text(SCRIPT.replace("{break_it}", break_it).replace("{mend_it}", mend_it))
    folder.mkdir()
    with small_disk(folder, f"nr_inodes={INODES}") as disk:
        env = {**os.environ, "DISK": str(disk), "OMMX_LOCAL_REGISTRY_ROOT": str(disk / "registry")}
        env |= {"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false", "PREFECT_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=300
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["returned"] == [{"x": 0}, {"x": 1}]  # what the task gives is untouched
    assert found["said"]  # nothing can be sealed there, and that is said
    assert found["waited"]  # `recover` finds it
    assert (found["status"], found["runs"]) == ("finished", ["finished", "finished"])
    assert found["outputs"] == [True, False]
    assert reason in found["notes"][1]
    assert found["waits"] == []
