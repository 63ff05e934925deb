"""Kill the process that seals at every point of sealing, and let a fresh one seal again.

    python crash_sealing.py <registry> <flow run id> <status> <point | count | seal>

A point is the moment before and the moment after each call of what sealing consists of. `count`
seals and prints how many points there are; a number kills this process there (SIGKILL); `seal`
just seals. `count` and `seal` print what was sealed, as JSON.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from pathlib import Path

os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = sys.argv[1]

from ommx.artifact import list_artifacts

from ommx_prefect import _home, _publication, _publish, _registry, _seal, load_experiment
from ommx_prefect._seal import End, seal_flow_run
from ommx_prefect._stage import LocalStage
from ommx_prefect._survey import waiting_owners

STEPS = (
    (_seal, ("read_stage", "compose", "repin", "publish")),
    (_home, ("import_and_verify", "publish_names")),
    (_publish, ("import_layout", "move_names", "drop_name")),
    (_registry, ("remove_image", "restore_image")),
    (_publication, ("write_sealed", "drop_name")),
    (LocalStage, ("write", "remove", "discard", "discard_starts", "pin", "add_blob")),
    (os, ("replace", "link")),
    (Path, ("unlink",)),
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
    names = [ref.image_name for ref in list_artifacts(root=_registry.registry_root())]
    return {
        "points": points,
        "image_name": sealed.image_name,
        "runs": [(run["key"], run["state"]) for run in experiment.get_json("ledger")["runs"]],
        "statuses": [run.status for run in experiment.runs],
        "attachments": sorted(experiment.attachment_names),
        "names": sorted(names),
        "waits": waiting_owners(),
    }


if __name__ == "__main__":
    _, _, flow_run_id, status, what = sys.argv
    if what != "seal":
        _insert_points(None if what == "count" else int(what))
    print(json.dumps(seal_and_tell(flow_run_id, status)))
