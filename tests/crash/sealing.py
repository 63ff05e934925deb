"""Kill the process that seals at every point of sealing, and let a fresh one seal again.

    python tests/crash/sealing.py

reads requests, one JSON list a line: registry, flow run id, status, and what to do. A process is
forked for each, for the imports take longer than the seal; no registry was opened before. A point
is the moment before and the moment after each call of what sealing consists of. `count` seals and
tells how many points there are; a number kills the process there (SIGKILL); `seal` just seals.

It answers with a line too: the exit code, and what was printed: of `count` and `seal`, what was
sealed, as JSON.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import tempfile
import traceback

from ommx.artifact import list_artifacts

from ommx_prefect import load_experiment
from ommx_prefect._registry import names as _registry
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._sealing import load as _load
from ommx_prefect._sealing import plan as _plan
from ommx_prefect._sealing import publish as _publish
from ommx_prefect._sealing import seal as _seal
from ommx_prefect._sealing.seal import seal_flow_run
from ommx_prefect._stages.documents import End
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from ommx_prefect._targets import local as local_target

STEPS = (
    (_load, ("read_staged", "read_contents")),
    (_plan, ("compose", "fitted")),
    (_seal, ("store", "publish")),
    (
        local_target,
        ("import_and_verify", "publish_names", "import_layout", "move_names", "drop_name"),
    ),
    (_registry, ("remove_image", "point")),
    (_publish, ("carry_out", "write_sealed", "drop_name")),
    (LocalStage, ("write", "remove", "discard", "discard_starts", "pin", "add_blob")),
    (os, ("replace", "link", "unlink")),
)
passed = 0


def _point(kill_at):
    global passed
    passed += 1
    if passed == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


def _with_points(function, kill_at):
    @functools.wraps(function)
    def call(*args, **kwargs):
        _point(kill_at)
        try:
            return function(*args, **kwargs)
        finally:
            _point(kill_at)

    return call


def _insert_points(kill_at):
    for place, names in STEPS:
        for name in names:
            setattr(place, name, _with_points(getattr(place, name), kill_at))


def seal_and_tell(flow_run_id, status):
    end = End(status, "Test", None if status == "finished" else "it was told so")
    sealed = seal_flow_run(flow_run_id, end=end)
    points = passed
    experiment = load_experiment(flow_run_id)
    names = [ref.image_name for ref in list_artifacts(root=registry_root())]
    return {
        "points": points,
        "image_name": sealed.image_name,
        "runs": [(run["key"], run["state"]) for run in experiment.get_json("ledger")["runs"]],
        "statuses": [run.status for run in experiment.runs],
        "attachments": sorted(experiment.attachment_names),
        "names": sorted(names),
        "waits": unsealed_flow_runs(),
    }


def _answer(registry, flow_run_id, status, what):
    """Do what is asked for in a process of its own; return its exit code and what it printed."""
    with tempfile.TemporaryFile("w+") as printed:
        pid = os.fork()
        if pid == 0:
            os._exit(_child(printed, registry, flow_run_id, status, what))
        _, ended = os.waitpid(pid, 0)
        printed.seek(0)
        return os.waitstatus_to_exitcode(ended), printed.read()


def _child(printed, registry, flow_run_id, status, what):
    try:
        os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = registry
        if what != "seal":
            _insert_points(None if what == "count" else what)
        json.dump(seal_and_tell(flow_run_id, status), printed)
    except BaseException:
        traceback.print_exc(file=printed)
        return 1
    finally:
        printed.flush()
    return 0


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_answer(*json.loads(line))), flush=True)
